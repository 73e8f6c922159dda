//! Buffers: what only minigbm's `gbm.h` can ask of them, and what it asks in other words than Mesa's.

use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::IntoRawFd;
use std::ptr::{NonNull, null_mut};
use virgbm::layout::Region;
use virgbm::{Format, LayoutError, Modifier};
use virgbm_gbm_api::create;
use virgbm_gbm_core::abi::{Bo, Device, Flags};
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::exported;
use virgbm_gbm_core::native::own;

/// `GBM_BO_MAP_CACHE_CACHED`.
const CACHED: c_int = 1;

/// `GBM_BO_MAP_CACHE_WC`.
const WRITE_COMBINED: c_int = 3;

exported! {
    /// Makes a buffer with one of the listed modifiers, for the screen where the host has that; ENOSYS when none is offered.
    fn gbm_bo_create_with_modifiers(
        gbm: Given<Device>, width: u32, height: u32, format: Format, modifiers: *const Modifier, count: c_uint
    ) -> *mut Bo, or null_mut(), {
        create::create(&gbm, (width, height), format, Flags(0), (modifiers, count))
    }
}

exported! {
    /// Bytes of a pixel in plane 0.
    fn gbm_bo_get_bpp(bo: Given<Bo>) -> u32, or 0, {
        Ok(bo.format.planes().first().map_or(0, |plane| u32::from(plane.block_bytes / plane.block_width)))
    }
}

exported! {
    /// Bytes of a plane; 0 with EINVAL for one that is not there.
    fn gbm_bo_get_plane_size(bo: Given<Bo>, plane: usize) -> u32, or 0, {
        let bo = own(&bo)?;
        let (width, height, layers) = (bo.layout().width, bo.layout().height, bo.layout().layers);
        let overflow = LayoutError::Overflow { format: bo.layout().format, width, height, layers };
        Ok(u32::try_from(bo.plane(number(plane))?.size_bytes).map_err(|_| overflow)?)
    }
}

exported! {
    /// A new descriptor of the buffer that a plane is in; -1 with EINVAL for a plane that is not there.
    fn gbm_bo_get_plane_fd(bo: Given<Bo>, plane: usize) -> c_int, or -1, {
        let bo = own(&bo)?;
        bo.plane(number(plane))?;
        Ok(bo.buffer()?.export()?.into_raw_fd())
    }
}

exported! {
    /// Maps a rectangle, in pixels of the picture, and gives its first byte and the stride in a plane; `map_data` is for
    /// `gbm_bo_unmap`.
    fn gbm_bo_map2(
        bo: Given<Bo>, x: u32, y: u32, width: u32, height: u32, flags: Flags, stride: NonNull<u32>,
        map_data: NonNull<*mut c_void>, plane: c_int
    ) -> *mut c_void, or null_mut(), {
        let (first, stride_bytes, mapping) = own(&bo)?.map_plane(Region { x, y, width, height }, flags, plane)?;
        // SAFETY: it is not null, and gbm.h says that a word is there.
        unsafe { stride.write(stride_bytes) };
        // SAFETY: it is not null, and gbm.h says that a pointer is there.
        unsafe { map_data.write(mapping) };
        Ok(first)
    }
}

exported! {
    /// How the CPU sees a mapping: cached where that is known, else write-combined.
    fn gbm_bo_get_map_info(bo: Given<Bo>) -> c_int, or WRITE_COMBINED, {
        Ok(if own(&bo)?.is_cached() { CACHED } else { WRITE_COMBINED })
    }
}

/// A plane's number, as the rest of the API has it; one that is too large is no plane.
fn number(plane: usize) -> c_int {
    c_int::try_from(plane).unwrap_or(c_int::MAX)
}
