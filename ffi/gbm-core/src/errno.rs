//! The calling thread's `errno`.

#![allow(unsafe_code)]

use std::ffi::c_int;

#[cfg(target_os = "android")]
use libc::__errno as location;
#[cfg(not(target_os = "android"))]
use libc::__errno_location as location;

/// Sets it.
pub fn set(number: c_int) {
    // SAFETY: libc gives the address of this thread's errno, which is always valid.
    let errno = unsafe { location() };
    // SAFETY: the address is valid, and no other thread writes there.
    unsafe { *errno = number };
}

/// What the last call that failed has left there; 0 after [`set`] to 0 when none has.
pub fn get() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
