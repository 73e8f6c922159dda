//! What a buffer tells of itself, its user data, and the CPU's access.

use std::ffi::{c_int, c_void};
use std::ptr::{NonNull, null_mut};
use virgbm::{Format, Modifier};
use virgbm_gbm_core::Failure;
use virgbm_gbm_core::abi::{Bo, BoHandle, DestroyUserData, Device, Flags};
use virgbm_gbm_core::door::{FromC, Given};
use virgbm_gbm_core::exported;

/// The device that a buffer is of.
pub fn device_of(bo: &Bo) -> Result<Given<Device>, Failure> {
    // SAFETY: a backend has set the field, and the device outlives its buffers.
    unsafe { Given::from_c(bo.gbm, "the buffer's device") }
}

exported! {
    /// In pixels.
    fn gbm_bo_get_width(bo: Given<Bo>) -> u32, or 0, {
        Ok(bo.width)
    }
}

exported! {
    /// In pixels.
    fn gbm_bo_get_height(bo: Given<Bo>) -> u32, or 0, {
        Ok(bo.height)
    }
}

exported! {
    /// The fourcc, also when the buffer was made with one of the two old names.
    fn gbm_bo_get_format(bo: Given<Bo>) -> Format, or Format::from_fourcc(0), {
        Ok(bo.format)
    }
}

exported! {
    /// The device that the buffer is of.
    fn gbm_bo_get_device(bo: Given<Bo>) -> *mut Device, or null_mut(), {
        Ok(bo.gbm)
    }
}

exported! {
    /// The kernel's handle, valid in the device's file while the buffer lives; not the caller's to close.
    fn gbm_bo_get_handle(bo: Given<Bo>) -> BoHandle, or BoHandle::NONE, {
        Ok(bo.handle)
    }
}

exported! {
    /// The modifier: the real one, INVALID where nobody says.
    fn gbm_bo_get_modifier(bo: Given<Bo>) -> Modifier, or Modifier::INVALID, {
        Ok(dispatch!(device_of(&bo)?, bo_get_modifier(bo.as_ptr())).value)
    }
}

exported! {
    /// A new descriptor of the buffer, for reading and writing; -1 when it can't be exported.
    fn gbm_bo_get_fd(bo: Given<Bo>) -> c_int, or -1, {
        dispatch!(device_of(&bo)?, bo_get_fd(bo.as_ptr())).unless(|fd| *fd < 0)
    }
}

exported! {
    /// Maps a rectangle for the CPU; `map_data` is for `gbm_bo_unmap`. What is only written has undefined contents before.
    fn gbm_bo_map(
        bo: Given<Bo>, x: u32, y: u32, width: u32, height: u32, flags: Flags, stride: NonNull<u32>, map_data: NonNull<*mut c_void>
    ) -> *mut c_void, or null_mut(), {
        let (stride, map_data) = (stride.as_ptr(), map_data.as_ptr());
        let mapped = dispatch!(device_of(&bo)?, bo_map(bo.as_ptr(), x, y, width, height, flags, stride, map_data));
        mapped.unless(|address| address.is_null())
    }
}

exported! {
    /// Ends a mapping, and sends what was written.
    fn gbm_bo_unmap(bo: Given<Bo>, map_data: *mut c_void) -> (), or (), {
        dispatch!(device_of(&bo)?, bo_unmap(bo.as_ptr(), map_data));
        Ok(())
    }
}

exported! {
    /// Writes bytes into the buffer from its start; -1 when they are more than it has.
    fn gbm_bo_write(bo: Given<Bo>, buf: *const c_void, count: usize) -> c_int, or -1, {
        dispatch!(device_of(&bo)?, bo_write(bo.as_ptr(), buf, count)).unless(|result| *result != 0)
    }
}

exported! {
    /// Keeps a pointer for the caller, with what frees it when the buffer goes. What was kept before is not freed.
    fn gbm_bo_set_user_data(bo: NonNull<Bo>, data: *mut c_void, destroy_user_data: Option<DestroyUserData>) -> (), or (), {
        // SAFETY: it is not null, and gbm.h says that it is a buffer.
        unsafe { (*bo.as_ptr()).user_data = data };
        // SAFETY: the same.
        unsafe { (*bo.as_ptr()).destroy_user_data = destroy_user_data };
        Ok(())
    }
}

exported! {
    /// What was kept.
    fn gbm_bo_get_user_data(bo: Given<Bo>) -> *mut c_void, or null_mut(), {
        Ok(bo.user_data)
    }
}
