//! What a buffer tells of its planes.

use crate::bo::device_of;
use std::ffi::c_int;
use virgbm_gbm_core::abi::{Bo, BoHandle};
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::exported;

exported! {
    /// How many planes it has.
    fn gbm_bo_get_plane_count(bo: Given<Bo>) -> c_int, or -1, {
        dispatch!(device_of(&bo)?, bo_get_planes(bo.as_ptr())).unless(|count| *count < 0)
    }
}

exported! {
    /// From row to row of plane 0, in bytes.
    fn gbm_bo_get_stride(bo: Given<Bo>) -> u32, or 0, {
        Ok(dispatch!(device_of(&bo)?, bo_get_stride(bo.as_ptr(), 0)).value)
    }
}

exported! {
    /// From row to row of a plane, in bytes; 0 with EINVAL for a plane that is not there.
    fn gbm_bo_get_stride_for_plane(bo: Given<Bo>, plane: c_int) -> u32, or 0, {
        Ok(dispatch!(device_of(&bo)?, bo_get_stride(bo.as_ptr(), plane)).value)
    }
}

exported! {
    /// From the start of the buffer to a plane, in bytes; 0 with EINVAL for a plane that is not there.
    fn gbm_bo_get_offset(bo: Given<Bo>, plane: c_int) -> u32, or 0, {
        Ok(dispatch!(device_of(&bo)?, bo_get_offset(bo.as_ptr(), plane)).value)
    }
}

exported! {
    /// The kernel's handle of the buffer that a plane is in; -1 with EINVAL for a plane that is not there.
    fn gbm_bo_get_handle_for_plane(bo: Given<Bo>, plane: c_int) -> BoHandle, or BoHandle::NONE, {
        Ok(dispatch!(device_of(&bo)?, bo_get_handle(bo.as_ptr(), plane)).value)
    }
}

exported! {
    /// A new descriptor of the buffer that a plane is in; -1 with EINVAL for a plane that is not there.
    fn gbm_bo_get_fd_for_plane(bo: Given<Bo>, plane: c_int) -> c_int, or -1, {
        dispatch!(device_of(&bo)?, bo_get_plane_fd(bo.as_ptr(), plane)).unless(|fd| *fd < 0)
    }
}
