//! The CPU's view of a buffer, as long as minigbm keeps it mapped; and each access of a rectangle, of which the host is told.

use crate::buffer::Buffer;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use virgbm::guest::{Access, BufferObject, Mapping};
use virgbm::layout::Region;
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::{Failure, exported};

/// `struct virgbm_view`.
pub struct View {
    /// Keeps the buffer mapped; it is neither read nor sent by it.
    _mapping: Mapping,
    object: BufferObject,
    access: Access,
}

virgbm_gbm_core::public!(View);

exported! {
    /// Maps a buffer: its first byte.
    fn virgbm_map(
        buffer: Given<Buffer>, access: u32, length: NonNull<usize>, view: NonNull<*mut View>
    ) -> *mut c_void, or libc::MAP_FAILED, {
        let known = u8::try_from(access).ok().and_then(Access::from_bits).filter(|access| !access.is_empty());
        let access = known.ok_or(Failure::Transfer(access))?;
        let object = &buffer.object;
        if !buffer.in_rows {
            return Err(Failure::Tiled(object.layout().modifier));
        }
        let mapping = object.map(object.layout().whole(), Access::empty())?;
        let first = mapping.as_ptr();
        // SAFETY: it is not null, and virgbm_minigbm.h says that a word is there.
        unsafe { length.write(object.size_bytes() as usize) };
        let made = View { _mapping: mapping, object: object.clone(), access };
        // SAFETY: it is not null, and virgbm_minigbm.h says that a pointer is there.
        unsafe { view.write(Box::into_raw(Box::new(made))) };
        Ok(first.cast())
    }
}

exported! {
    /// Ends a view.
    fn virgbm_unmap(view: Given<View>) -> c_int, or -errno, {
        // SAFETY: it came from `Box::into_raw` in `virgbm_map`, and the caller gives it back.
        drop(unsafe { Box::from_raw(view.as_ptr()) });
        Ok(0)
    }
}

exported! {
    /// Before the CPU's access.
    fn virgbm_begin(view: Given<View>, x: u32, y: u32, width: u32, height: u32) -> c_int, or -errno, {
        view.object.wait()?;
        if view.access.contains(Access::READ) {
            // Brings the region; there is nothing to send when it ends.
            drop(view.object.map(Region { x, y, width, height }, Access::READ)?);
        }
        Ok(0)
    }
}

exported! {
    /// After the CPU's access.
    fn virgbm_end(view: Given<View>, x: u32, y: u32, width: u32, height: u32, wait: bool) -> c_int, or -errno, {
        if view.access.contains(Access::WRITE) {
            view.object.map(Region { x, y, width, height }, Access::WRITE)?.finish()?;
            if wait {
                view.object.wait()?;
            }
        }
        Ok(0)
    }
}
