//! What is known of the buffers of a device: those of the guest library with their handles in the caller's file, and what Mesa does
//! not tell of its own.

use super::caller::identity;
use super::{Filter, Filtered, Side};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{MutexGuard, PoisonError};
use virgbm::guest;
use virgbm_gbm_core::abi::{Bo, BoHandle};
use virgbm_gbm_core::{Failure, dispatch};

/// The device and inode of a dma-buf.
pub type Identity = (u64, u64);

/// By the address of the buffer.
#[derive(Default)]
pub struct Buffers {
    native: BTreeMap<NonNull<Bo>, Native>,
    mesa: BTreeMap<NonNull<Bo>, Mesa>,
}

struct Native {
    identity: Option<Identity>,
    /// In the caller's file, whose lock is that of these tables: nobody closes it between the kernel's answer and the entry.
    handle: Option<u32>,
    /// Whether the caller has got a descriptor.
    exported: bool,
}

/// What Mesa does not tell of a buffer.
#[derive(Default)]
pub struct Mesa {
    /// Whether the caller has left it to Mesa how it lies.
    pub implicit: bool,
    /// The guest library's buffer of which it is an import.
    pub import_of: Option<Identity>,
}

impl Buffers {
    /// Whether one of the guest library's buffers is this dma-buf.
    pub fn is_native(&self, identity: Identity) -> bool {
        self.native.values().any(|native| native.identity == Some(identity))
    }
}

impl Filter {
    pub fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filtered {
    /// Who has made a buffer.
    pub fn side_of(&self, bo: *mut Bo) -> Side {
        let known = NonNull::new(bo).is_some_and(|bo| self.buffers().native.contains_key(&bo));
        if known { Side::Native } else { Side::Mesa }
    }

    /// Makes a buffer of the guest library's one of this device, or frees it.
    pub fn keep_native(&self, bo: NonNull<Bo>) -> Result<(), Failure> {
        let kept = self.export(bo).and_then(|fd| {
            let mut buffers = self.buffers();
            let handle = self.lend(bo, &fd)?;
            buffers.native.insert(bo, Native { identity: identity(&fd), handle, exported: false });
            // SAFETY: the buffer is alive, and the caller does not have it yet.
            unsafe { (*bo.as_ptr()).gbm = self.device.as_ptr() };
            Ok(())
        });
        if kept.is_err() {
            dispatch!(self.native, bo_destroy(bo.as_ptr()));
        }
        kept
    }

    /// Remembers what Mesa does not tell of a buffer.
    pub fn keep_mesa(&self, bo: NonNull<Bo>, mesa: Mesa) {
        self.buffers().mesa.insert(bo, mesa);
    }

    pub fn is_implicit(&self, bo: *mut Bo) -> bool {
        NonNull::new(bo).is_some_and(|bo| self.buffers().mesa.get(&bo).is_some_and(|mesa| mesa.implicit))
    }

    /// Remembers that the caller has a descriptor of a buffer of the guest library.
    pub fn is_exported(&self, bo: *mut Bo) {
        let Some(bo) = NonNull::new(bo) else { return };
        if let Some(native) = self.buffers().native.get_mut(&bo) {
            native.exported = true;
        }
    }

    /// Frees a buffer.
    pub fn free(&self, bo: NonNull<Bo>) -> Result<(), Failure> {
        let mut buffers = self.buffers();
        let Some(native) = buffers.native.remove(&bo) else {
            let mesa = buffers.mesa.remove(&bo).unwrap_or_default();
            drop(buffers);
            dispatch!(self.mesa, bo_destroy(bo.as_ptr()));
            return mesa.import_of.map_or(Ok(()), |identity| self.lend_again(identity));
        };
        let imported = native.identity.is_some() && buffers.mesa.values().any(|mesa| mesa.import_of == native.identity);
        let is_mesas_too = imported || (native.exported && self.egl_is_on());
        let is_others_too = buffers.native.values().any(|other| other.handle == native.handle);
        if let Some(handle) = native.handle.filter(|_| !is_mesas_too && !is_others_too) {
            self.caller.take_back(handle);
        }
        dispatch!(self.native, bo_destroy(bo.as_ptr()));
        Ok(())
    }

    /// Mesa has closed the handle of an import with the import: the buffers of the guest library that had the same get one again.
    fn lend_again(&self, identity: Identity) -> Result<(), Failure> {
        let mut buffers = self.buffers();
        for (bo, native) in &mut buffers.native {
            if native.identity == Some(identity) {
                native.handle = self.lend(*bo, &self.export(*bo)?)?;
            }
        }
        Ok(())
    }

    /// Gives a buffer of the guest library a handle in the caller's file. Where there is none, it keeps its own.
    fn lend(&self, bo: NonNull<Bo>, fd: &OwnedFd) -> Result<Option<u32>, Failure> {
        let handle = self.caller.lend(fd.as_fd()).map_err(|error| Failure::Guest(guest::Error::Node(error)))?;
        if let Some(handle) = handle {
            // SAFETY: the buffer is alive, and the field is read by whoever asks for the handle.
            unsafe { (*bo.as_ptr()).handle = BoHandle::gem(handle) };
        }
        Ok(handle)
    }

    fn export(&self, bo: NonNull<Bo>) -> Result<OwnedFd, Failure> {
        let fd = dispatch!(self.native, bo_get_fd(bo.as_ptr())).unless(|fd| *fd < 0)?;
        // SAFETY: the native device has just made the descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
