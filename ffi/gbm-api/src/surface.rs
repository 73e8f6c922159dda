//! Surfaces: what an EGL draws to. The native backend has none that draws, and says so.

use crate::create::check;
use std::ffi::{c_int, c_uint};
use std::ptr::{null, null_mut};
use virgbm::{Format, Modifier};
use virgbm_gbm_core::abi::{Bo, Device, Flags, Surface};
use virgbm_gbm_core::door::{FromC, Given};
use virgbm_gbm_core::{Failure, exported};

/// The device that a surface is of.
fn device_of(surface: &Surface) -> Result<Given<Device>, Failure> {
    // SAFETY: a backend has set the field, and the device outlives its surfaces.
    unsafe { Given::from_c(surface.gbm, "the surface's device") }
}

/// Makes a surface, when there is nothing wrong with it that any backend would refuse.
///
/// # Errors
/// [`Failure`], as the backend has it.
pub fn create(
    gbm: &Given<Device>,
    (width, height): (u32, u32),
    format: Format,
    flags: Flags,
    (modifiers, count): (*const Modifier, c_uint),
) -> Result<*mut Surface, Failure> {
    check(flags, modifiers, count)?;
    let surface = dispatch!(gbm, surface_create(gbm.as_ptr(), width, height, format, flags, modifiers, count));
    surface.unless(|surface| surface.is_null())
}

exported! {
    /// Makes a surface whose buffers have a modifier that the host chooses.
    fn gbm_surface_create(
        gbm: Given<Device>, width: u32, height: u32, format: Format, flags: Flags
    ) -> *mut Surface, or null_mut(), {
        create(&gbm, (width, height), format, flags, (null(), 0))
    }
}

exported! {
    /// Makes a surface whose buffers are for these flags and have one of the listed modifiers.
    fn gbm_surface_create_with_modifiers2(
        gbm: Given<Device>, width: u32, height: u32, format: Format, modifiers: *const Modifier, count: c_uint, flags: Flags
    ) -> *mut Surface, or null_mut(), {
        create(&gbm, (width, height), format, flags, (modifiers, count))
    }
}

exported! {
    /// Frees a surface.
    fn gbm_surface_destroy(surface: Given<Surface>) -> (), or (), {
        dispatch!(device_of(&surface)?, surface_destroy(surface.as_ptr()));
        Ok(())
    }
}

exported! {
    /// The buffer that was drawn last, locked until it is released; null when nothing was drawn.
    fn gbm_surface_lock_front_buffer(surface: Given<Surface>) -> *mut Bo, or null_mut(), {
        dispatch!(device_of(&surface)?, surface_lock_front_buffer(surface.as_ptr())).unless(|bo| bo.is_null())
    }
}

exported! {
    /// Gives a locked buffer back to be drawn to.
    fn gbm_surface_release_buffer(surface: Given<Surface>, bo: *mut Bo) -> (), or (), {
        dispatch!(device_of(&surface)?, surface_release_buffer(surface.as_ptr(), bo));
        Ok(())
    }
}

exported! {
    /// Whether a buffer can be drawn to.
    fn gbm_surface_has_free_buffers(surface: Given<Surface>) -> c_int, or 0, {
        Ok(dispatch!(device_of(&surface)?, surface_has_free_buffers(surface.as_ptr())).value)
    }
}
