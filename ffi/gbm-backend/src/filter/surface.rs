//! Surfaces before an EGL is there, when Mesa's device has no functions for them: every call says so. EGL puts its own over these.

use super::Filtered;
use std::ffi::c_int;
use std::ptr::null_mut;
use virgbm_gbm_core::abi::{Bo, Surface};
use virgbm_gbm_core::door::{FromC, Given};
use virgbm_gbm_core::{Failure, dispatch, door};

/// The device of a surface, when Mesa's has functions for it.
fn device_of(surface: &Surface) -> Result<Filtered, Failure> {
    // SAFETY: Mesa has set the field, and the device outlives its surfaces.
    let gbm = unsafe { Filtered::from_c(surface.gbm, "the surface's device") }?;
    if gbm.mesa.v0.surface_lock_front_buffer.is_some() { Ok(gbm) } else { Err(Failure::NoFrame) }
}

door! {
    /// The buffer that was drawn last.
    pub fn surface_lock_front_buffer(surface: Given<Surface>) -> *mut Bo, or null_mut(), {
        dispatch!(device_of(&surface)?.mesa, surface_lock_front_buffer(surface.as_ptr())).unless(|bo| bo.is_null())
    }
}

door! {
    /// Gives a locked buffer back.
    pub fn surface_release_buffer(surface: Given<Surface>, bo: *mut Bo) -> (), or (), {
        dispatch!(device_of(&surface)?.mesa, surface_release_buffer(surface.as_ptr(), bo));
        Ok(())
    }
}

door! {
    /// Whether a buffer can be drawn to.
    pub fn surface_has_free_buffers(surface: Given<Surface>) -> c_int, or 0, {
        Ok(dispatch!(device_of(&surface)?.mesa, surface_has_free_buffers(surface.as_ptr())).value)
    }
}
