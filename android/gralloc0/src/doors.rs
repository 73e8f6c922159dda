//! What every function of the module stands on: the door by which it is entered, and the buffers of this process.

#![allow(unsafe_code)]

use crate::failure::Failure;
use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::Arc;
use virgbm_android_abi::BufferHandle;
use virgbm_android_handle::registry::Registry;
use virgbm_android_handle::{Imported, door};

/// The buffers of this process. The ABI hands out no object that could carry them.
pub static BUFFERS: Registry = Registry::new();

/// Goes through a door: gives 0, or a negative errno.
pub fn enter(name: &str, body: impl FnOnce() -> Result<(), Failure>) -> c_int {
    door::enter(name, body)
}

/// Writes an answer.
///
/// # Safety
/// The pointer is null, or may be written to.
pub unsafe fn put<T>(to: *mut T, value: T, name: &'static str) -> Result<(), Failure> {
    let to = NonNull::new(to).ok_or(Failure::Null(name))?;
    // SAFETY: it is not null, and the caller promises that it may be written to.
    unsafe { to.write(value) };
    Ok(())
}

/// The buffer of a handle that is registered.
pub fn buffer(handle: BufferHandle) -> Result<Arc<Imported>, Failure> {
    BUFFERS.get(handle.addr()).ok_or(Failure::NotRegistered(handle.addr()))
}
