//! The CPU's view of a buffer, as long as minigbm keeps it mapped; and each access of a rectangle, of which the host is told.

use crate::buffer::Buffer;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use virgbm::guest::{Access, BufferObject, Error, Mapping};
use virgbm::layout::Region;
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::{Failure, exported};

/// `struct virgbm_view`.
pub struct View {
    /// Keeps the buffer mapped; it is neither read nor sent by it.
    mapping: Mapping,
    access: Access,
    /// What is being written, so that whoever reads beside it does not fetch over it.
    written: Mutex<Vec<Mapping>>,
}

virgbm_gbm_core::public!(View);

impl View {
    fn new(object: &BufferObject, access: Access) -> Result<Self, Error> {
        let mapping = object.map(object.layout().whole(), Access::empty())?;
        Ok(Self { mapping, access, written: Mutex::default() })
    }

    /// Before an access of a region of a buffer, which need not be the one that the view was made of: minigbm has one view for all
    /// buffers of a handle, whatever their formats.
    fn begin(&self, object: &BufferObject, region: Region) -> Result<(), Error> {
        object.wait()?;
        // minigbm begins again where a rectangle is mapped again, and ends it any number of times.
        let again = self.written().iter().any(|mapping| is_of(mapping, object, region));
        let access = if again { self.access.difference(Access::WRITE) } else { self.access };
        if access.is_empty() {
            return Ok(());
        }
        // What only reads has brought the region, and there is nothing to send when it ends.
        let mapping = object.map(region, access)?;
        if access.contains(Access::WRITE) {
            self.written().push(mapping);
        }
        Ok(())
    }

    /// After an access: what was written is sent.
    fn end(&self, object: &BufferObject, region: Region, wait: bool) -> Result<(), Error> {
        if !self.access.contains(Access::WRITE) {
            return Ok(());
        }
        match self.take(object, region) {
            Some(mapping) => mapping.finish()?,
            None => object.map(region, Access::WRITE)?.finish()?,
        }
        if wait { object.wait() } else { Ok(()) }
    }

    fn take(&self, object: &BufferObject, region: Region) -> Option<Mapping> {
        let mut written = self.written();
        let position = written.iter().position(|mapping| is_of(mapping, object, region))?;
        Some(written.swap_remove(position))
    }

    fn written(&self) -> MutexGuard<'_, Vec<Mapping>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a mapping is of this region as the buffer has it.
fn is_of(mapping: &Mapping, object: &BufferObject, region: Region) -> bool {
    mapping.region() == region && mapping.layout() == object.layout()
}

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
        let made = View::new(object, access)?;
        let first = made.mapping.as_ptr();
        // SAFETY: it is not null, and virgbm_minigbm.h says that a word is there.
        unsafe { length.write(object.size_bytes() as usize) };
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
    fn virgbm_begin(view: Given<View>, buffer: Given<Buffer>, x: u32, y: u32, width: u32, height: u32) -> c_int, or -errno, {
        view.begin(&buffer.object, Region { x, y, width, height })?;
        Ok(0)
    }
}

exported! {
    /// After the CPU's access.
    fn virgbm_end(
        view: Given<View>, buffer: Given<Buffer>, x: u32, y: u32, width: u32, height: u32, wait: bool
    ) -> c_int, or -errno, {
        view.end(&buffer.object, Region { x, y, width, height }, wait)?;
        Ok(0)
    }
}

#[cfg(test)]
#[cfg(feature = "loopback")]
mod tests {
    use super::*;
    use crate::test_rig::Machine;
    use std::os::fd::AsFd;
    use virgbm::{Format, Usage};

    /// `BO_USE_RENDERING`, so that a read asks the host, and `BO_USE_SW_*_OFTEN`.
    const DRAWN: u64 = 1 << 2 | 1 << 9 | 1 << 11;

    const RECTANGLE: Region = Region { x: 8, y: 8, width: 16, height: 16 };
    const OVERLAPPING: Region = Region { x: 16, y: 0, width: 32, height: 64 };

    /// The pixel in the middle of both rectangles.
    fn pixel(view: &View) -> *mut u32 {
        view.mapping.as_ptr().wrapping_add(12 * 256 + 20 * 4).cast()
    }

    fn write(view: &View, value: u32) {
        // SAFETY: the view lives, and nobody else has the buffer.
        unsafe { pixel(view).write_volatile(value) };
    }

    fn read(view: &View) -> u32 {
        // SAFETY: the same.
        unsafe { pixel(view).read_volatile() }
    }

    #[test]
    fn a_read_through_another_lock_keeps_what_is_being_written() {
        let machine = Machine::new();
        let object = machine.create(DRAWN);
        let writer = View::new(&object, Access::WRITE).unwrap();
        let reader = View::new(&object, Access::READ).unwrap();
        writer.begin(&object, RECTANGLE).unwrap();
        write(&writer, 0x0055_aa77);
        reader.begin(&object, OVERLAPPING).unwrap();
        assert_eq!(read(&reader), 0x0055_aa77);
        writer.end(&object, RECTANGLE, true).unwrap();
        reader.end(&object, OVERLAPPING, false).unwrap();
        // The host has it, from which another read brings it.
        write(&writer, 0);
        reader.begin(&object, OVERLAPPING).unwrap();
        assert_eq!(read(&reader), 0x0055_aa77);
    }

    #[test]
    fn beginning_again_sends_nothing_twice() {
        let machine = Machine::new();
        let object = machine.create(DRAWN);
        let view = View::new(&object, Access::WRITE).unwrap();
        for _ in 0..3 {
            view.begin(&object, RECTANGLE).unwrap();
        }
        assert_eq!(machine.transfers(), (0, 0));
        view.end(&object, RECTANGLE, false).unwrap();
        drop(view);
        assert_eq!(machine.transfers(), (1, 0));
    }

    #[test]
    fn an_end_without_a_beginning_sends() {
        let machine = Machine::new();
        let object = machine.create(DRAWN);
        let view = View::new(&object, Access::WRITE).unwrap();
        view.begin(&object, RECTANGLE).unwrap();
        view.end(&object, RECTANGLE, false).unwrap();
        view.end(&object, RECTANGLE, false).unwrap();
        assert_eq!(machine.transfers(), (2, 0));
    }

    #[test]
    fn a_view_serves_a_buffer_of_another_shape() {
        let machine = Machine::new();
        let object = machine.create(DRAWN);
        let view = View::new(&object, Access::WRITE).unwrap();
        let mut layout = *object.layout();
        (layout.format, layout.height) = (Format::ARGB8888, 32);
        layout.planes =
            virgbm::Planes::new(&[virgbm::Plane { size_bytes: 32 * 256, ..*layout.planes.first().unwrap() }]).unwrap();
        let fd = object.export().unwrap();
        let other = machine.device.state.guest.import_made_for(fd.as_fd(), &layout, Usage::all()).unwrap();
        let below = Region { x: 0, y: 40, width: 8, height: 8 };
        view.begin(&object, below).unwrap();
        view.end(&object, below, false).unwrap();
        assert!(view.begin(&other, below).is_err());
        assert!(view.end(&other, below, false).is_err());
    }
}
