//! [`Failure`]: why a function of the mapper failed, and the number that says it (`AIMapper_Error`).

use thiserror::Error;
use virgbm_android_abi::imapper::Error as Code;
use virgbm_android_handle::{BadHandle, LockError, door, metadata};

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("{0} is null")]
    Null(&'static str),
    #[error("the handle at {0:#x} is not one that this mapper has imported")]
    NotImported(usize),
    #[error(transparent)]
    Handle(#[from] BadHandle),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("metadata type {name} {value} is not supported")]
    MetadataType { name: String, value: i64 },
    #[error("metadata {0} never changes")]
    Constant(&'static str),
    #[error("metadata {0} can't be set")]
    NotSettable(&'static str),
    #[error("metadata {name}: {bytes} bytes are not a value of it")]
    Malformed { name: &'static str, bytes: usize },
    #[error("metadata {name}: {bytes} bytes where {most} have room")]
    TooLong { name: &'static str, bytes: usize, most: usize },
    #[error(transparent)]
    Contended(#[from] metadata::Contended),
    #[error("a panic: {0}")]
    Panic(String),
}

impl door::Failure for Failure {
    fn number(&self) -> i32 {
        let error = match self {
            Self::Handle(bad) if bad.is_lack() => Code::NoResources,
            Self::NotImported(_) | Self::Handle(_) => Code::BadBuffer,
            Self::Lock(error) => of_lock(error),
            Self::Null(_) | Self::Constant(_) => Code::BadValue,
            Self::MetadataType { .. } | Self::NotSettable(_) | Self::Malformed { .. } => Code::Unsupported,
            Self::TooLong { .. } | Self::Contended(_) | Self::Panic(_) => Code::NoResources,
        };
        error as i32
    }

    fn panicked(message: String) -> Self {
        Self::Panic(message)
    }
}

fn of_lock(error: &LockError) -> Code {
    match error {
        LockError::Usage(_) | LockError::NotForCpu(_) | LockError::Region { .. } | LockError::Fence => Code::BadValue,
        // Its maker has asked for no mapping, whatever its handle says.
        LockError::NotLocked | LockError::Guest(virgbm::guest::Error::NotMappable) => Code::BadBuffer,
        LockError::FenceLate(_) | LockError::Guest(_) => Code::NoResources,
    }
}
