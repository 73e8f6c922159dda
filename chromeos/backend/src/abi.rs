//! The structures of `virgbm_minigbm.h`, with its names.

use std::ffi::c_int;
use virgbm::layout::MAX_PLANES;
use virgbm::{Format, Layout, LayoutError, Modifier, Plane};
use virgbm_gbm_core::Failure;

/// `struct virgbm_combination`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Combination {
    pub format: Format,
    pub modifier: Modifier,
    pub use_flags: u64,
}

/// `struct virgbm_request`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Request {
    pub width: u32,
    pub height: u32,
    pub format: Format,
    pub use_flags: u64,
    pub modifiers: *const Modifier,
    pub count: u32,
}

/// `struct virgbm_layout`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Told {
    pub num_planes: u32,
    pub strides: [u32; MAX_PLANES],
    pub offsets: [u32; MAX_PLANES],
    pub sizes: [u32; MAX_PLANES],
    pub modifier: Modifier,
    pub total_size: u64,
    pub cached: bool,
}

/// `struct virgbm_import`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Import {
    pub width: u32,
    pub height: u32,
    pub format: Format,
    pub modifier: Modifier,
    pub use_flags: u64,
    pub num_planes: u32,
    pub fds: [c_int; MAX_PLANES],
    pub strides: [u32; MAX_PLANES],
    pub offsets: [u32; MAX_PLANES],
}

virgbm_gbm_core::public!(Request, Import);

impl Told {
    /// A layout in minigbm's 32 bits.
    ///
    /// # Errors
    /// [`LayoutError::Overflow`] where it has not room in them.
    pub fn new(layout: &Layout, total_size: u64, cached: bool) -> Result<Self, Failure> {
        let Layout { format, width, height, layers, modifier, .. } = *layout;
        let word = |number: u64| u32::try_from(number).map_err(|_| LayoutError::Overflow { format, width, height, layers });
        let mut told = Self {
            num_planes: layout.planes.len() as u32,
            strides: [0; MAX_PLANES],
            offsets: [0; MAX_PLANES],
            sizes: [0; MAX_PLANES],
            modifier,
            total_size,
            cached,
        };
        let slots = told.strides.iter_mut().zip(&mut told.offsets).zip(&mut told.sizes);
        for (((stride, offset), size), plane) in slots.zip(layout.planes.iter()) {
            let Plane { stride_bytes, offset_bytes, size_bytes } = *plane;
            (*stride, *offset, *size) = (stride_bytes, word(offset_bytes)?, word(size_bytes)?);
        }
        Ok(told)
    }
}

/// The sizes and offsets of the header on 64-bit machines.
#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::offset_of;

    assert!(size_of::<Combination>() == 24);
    assert!(size_of::<Request>() == 40);
    assert!(offset_of!(Request, modifiers) == 24);
    assert!(size_of::<Told>() == 80);
    assert!(offset_of!(Told, modifier) == 56);
    assert!(offset_of!(Told, cached) == 72);
    assert!(size_of::<Import>() == 88);
    assert!(offset_of!(Import, modifier) == 16);
    assert!(offset_of!(Import, fds) == 36);
};
