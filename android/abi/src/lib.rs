//! The C structures of Android's graphics HALs, which both sides of them need. Sizes and places are pinned to those of the headers.

pub mod gralloc;
pub mod imapper;

use std::ffi::c_int;

/// `native_handle_t`, without the descriptors and integers that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct NativeHandle {
    /// The size of this structure.
    pub version: c_int,
    /// How many descriptors follow.
    pub num_fds: c_int,
    /// How many integers follow those.
    pub num_ints: c_int,
}

const _: () = assert!(size_of::<NativeHandle>() == 12 && align_of::<NativeHandle>() == 4);

/// `buffer_handle_t`.
pub type BufferHandle = *const NativeHandle;
