//! What a buffer tells of itself, and the CPU's access: of whoever has made it, checked where Mesa does not check.

use super::{Buffer, Side};
use std::ffi::{c_int, c_void};
use std::os::fd::IntoRawFd;
use std::ptr::{NonNull, null_mut};
use virgbm::Modifier;
use virgbm::guest::Error;
use virgbm_gbm_core::abi::{Bo, BoHandle, Flags};
use virgbm_gbm_core::{Failure, dispatch, door};

door! {
    /// The modifier: the real one, INVALID where nobody says.
    pub fn bo_get_modifier(bo: Buffer) -> Modifier, or Modifier::INVALID, {
        let told = dispatch!(bo.target(), bo_get_modifier(bo.bo.as_ptr())).value;
        // virgl does not know how the host has laid out a buffer, and says zero.
        let is_a_guess = told == Modifier::LINEAR && bo.gbm.caller.has_virgl && bo.gbm.is_implicit(bo.bo.as_ptr());
        Ok(if is_a_guess { Modifier::INVALID } else { told })
    }
}

door! {
    /// A new descriptor, for reading and writing; -1 when it can't be exported.
    pub fn bo_get_fd(bo: Buffer) -> c_int, or -1, {
        if let Some(fd) = bo.export(bo.bo.handle) {
            return Ok(fd);
        }
        dispatch!(bo.target(), bo_get_fd(bo.bo.as_ptr())).unless(|fd| *fd < 0)
    }
}

door! {
    /// The same, of the buffer that a plane is in.
    pub fn bo_get_plane_fd(bo: Buffer, plane: c_int) -> c_int, or -1, {
        bo.check_plane(plane)?;
        let handle = dispatch!(bo.target(), bo_get_handle(bo.bo.as_ptr(), plane)).value;
        if let Some(fd) = bo.export(handle) {
            return Ok(fd);
        }
        dispatch!(bo.target(), bo_get_plane_fd(bo.bo.as_ptr(), plane)).unless(|fd| *fd < 0)
    }
}

impl Buffer {
    /// Exports a buffer of Mesa's by its handle: Mesa itself does it for reading only. Of one of the guest library's it is noted.
    fn export(&self, handle: BoHandle) -> Option<c_int> {
        if self.side == Side::Native {
            self.gbm.is_exported(self.bo.as_ptr());
            return None;
        }
        // SAFETY: every member begins with these 32 bits, and any bits are a number.
        let handle = unsafe { handle.u32 };
        self.gbm.caller.export(handle).map(IntoRawFd::into_raw_fd)
    }
}

door! {
    /// How many planes it has.
    pub fn bo_get_planes(bo: Buffer) -> c_int, or -1, {
        dispatch!(bo.target(), bo_get_planes(bo.bo.as_ptr())).unless(|count| *count < 0)
    }
}

door! {
    /// The handle in the caller's file of the buffer that a plane is in; -1 for a plane that is not there.
    pub fn bo_get_handle(bo: Buffer, plane: c_int) -> BoHandle, or BoHandle::NONE, {
        bo.check_plane(plane)?;
        match bo.side {
            Side::Native => Ok(bo.bo.handle),
            Side::Mesa => Ok(dispatch!(bo.target(), bo_get_handle(bo.bo.as_ptr(), plane)).value),
        }
    }
}

door! {
    /// From row to row of a plane, in bytes; 0 for one that is not there.
    pub fn bo_get_stride(bo: Buffer, plane: c_int) -> u32, or 0, {
        bo.check_plane(plane)?;
        Ok(dispatch!(bo.target(), bo_get_stride(bo.bo.as_ptr(), plane)).value)
    }
}

door! {
    /// From the start of the buffer to a plane, in bytes; 0 for one that is not there.
    pub fn bo_get_offset(bo: Buffer, plane: c_int) -> u32, or 0, {
        bo.check_plane(plane)?;
        Ok(dispatch!(bo.target(), bo_get_offset(bo.bo.as_ptr(), plane)).value)
    }
}

door! {
    /// Maps a rectangle that lies in the buffer.
    pub fn bo_map(
        bo: Buffer, x: u32, y: u32, width: u32, height: u32, flags: Flags, stride: NonNull<u32>, map_data: NonNull<*mut c_void>
    ) -> *mut c_void, or null_mut(), {
        let Bo { width: buffer_width, height: buffer_height, .. } = *bo.bo;
        let fits = |start: u32, length: u32, end: u32| length > 0 && start.checked_add(length).is_some_and(|last| last <= end);
        if !fits(x, width, buffer_width) || !fits(y, height, buffer_height) {
            return Err(Error::Region { x, y, width, height, buffer_width, buffer_height }.into());
        }
        let (stride, map_data) = (stride.as_ptr(), map_data.as_ptr());
        let mapped = dispatch!(bo.target(), bo_map(bo.bo.as_ptr(), x, y, width, height, flags, stride, map_data));
        mapped.unless(|address| address.is_null())
    }
}

door! {
    /// Ends a mapping.
    pub fn bo_unmap(bo: Buffer, map_data: *mut c_void) -> (), or (), {
        dispatch!(bo.target(), bo_unmap(bo.bo.as_ptr(), map_data));
        Ok(())
    }
}

door! {
    /// Writes bytes that fit into the buffer from its start. Mesa does not count them.
    pub fn bo_write(bo: Buffer, buf: *const c_void, count: usize) -> c_int, or -1, {
        let size_bytes = u64::from(bo.bo.stride) * u64::from(bo.bo.height);
        if bo.side == Side::Mesa && count as u64 > size_bytes {
            return Err(Failure::TooLong { count, size_bytes });
        }
        if buf.is_null() && count > 0 {
            return Err(Failure::Null("buf"));
        }
        dispatch!(bo.target(), bo_write(bo.bo.as_ptr(), buf, count)).unless(|result| *result != 0)
    }
}

door! {
    /// Frees a buffer, with the handle in the caller's file where that is ours to close.
    pub fn bo_destroy(bo: Buffer) -> (), or (), {
        NonNull::new(bo.bo.as_ptr()).map_or(Ok(()), |raw| bo.gbm.free(raw))
    }
}
