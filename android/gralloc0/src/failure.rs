//! [`Failure`]: why a function of the module failed, and the errno that says it.

use thiserror::Error;
use virgbm_android_handle::allocate::AllocationError;
use virgbm_android_handle::device::NoDevice;
use virgbm_android_handle::{BadHandle, LockError, Refusal, door};

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("{0} is null")]
    Null(&'static str),
    #[error("there is no device of that name: gralloc's is gpu0")]
    DeviceName,
    #[error("the handle at {0:#x} is not registered")]
    NotRegistered(usize),
    #[error("the handle at {0:#x} was not allocated here")]
    NotAllocated(usize),
    #[error("operation {0} is not known")]
    Operation(i32),
    #[error("YCbCr_420_888 is locked with lock_ycbcr: it has several planes")]
    Flexible,
    #[error("format {0:#x} has no luma and chroma that android_ycbcr can describe")]
    NoYCbCr(i32),
    #[error("a buffer of {found} is not one of {claimed}")]
    Validate { found: String, claimed: String },
    #[error(transparent)]
    NoDevice(#[from] NoDevice),
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error(transparent)]
    Handle(#[from] BadHandle),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("a panic: {0}")]
    Panic(String),
}

impl door::Failure for Failure {
    fn number(&self) -> i32 {
        -match self {
            Self::NoDevice(_) => libc::ENODEV,
            Self::Refusal(refusal) if refusal.error() == AllocationError::NoResources => libc::ENOMEM,
            Self::Handle(bad) if bad.is_lack() => libc::ENOMEM,
            Self::Lock(LockError::FenceLate(_)) => libc::ETIMEDOUT,
            Self::Lock(LockError::Guest(_)) => libc::EIO,
            Self::Panic(_) => libc::EIO,
            _ => libc::EINVAL,
        }
    }

    fn panicked(message: String) -> Self {
        Self::Panic(message)
    }
}
