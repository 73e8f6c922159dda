//! Buffers: made, imported, exported and given back.

use crate::abi::{Import, Request, Told};
use crate::device::Device;
use std::ffi::c_int;
use std::os::fd::IntoRawFd;
use std::ptr::NonNull;
use virgbm::guest::BufferObject;
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::native::Claim;
use virgbm_gbm_core::{Failure, exported};

/// `struct virgbm_buffer`.
pub struct Buffer {
    pub object: BufferObject,
    /// Whether the CPU sees rows in it.
    pub in_rows: bool,
}

virgbm_gbm_core::public!(Buffer);

/// Gives a buffer to C.
///
/// # Safety
/// Both pointers are to what `virgbm_minigbm.h` says.
unsafe fn hand_over(device: &Device, object: BufferObject, handle: NonNull<u32>, buffer: NonNull<*mut Buffer>) {
    let in_rows = device.state.lies_in_rows(object.layout().modifier);
    // SAFETY: the caller promises it.
    unsafe { handle.write(object.bo_handle()) };
    // SAFETY: the same.
    unsafe { buffer.write(Box::into_raw(Box::new(Buffer { object, in_rows }))) };
}

exported! {
    /// Makes a buffer.
    fn virgbm_create(
        device: Given<Device>, request: Given<Request>, layout: NonNull<Told>, handle: NonNull<u32>, buffer: NonNull<*mut Buffer>
    ) -> c_int, or -errno, {
        let object = device.state.guest.create(&device.request(&request)?)?;
        let told = Told::new(object.layout(), object.size_bytes(), device.state.is_cached(&object))?;
        // SAFETY: it is not null, and virgbm_minigbm.h says that the structure is there.
        unsafe { layout.write(told) };
        // SAFETY: they are not null, and virgbm_minigbm.h says that words are there.
        unsafe { hand_over(&device, object, handle, buffer) };
        Ok(0)
    }
}

exported! {
    /// Makes a buffer of somebody's descriptors.
    fn virgbm_import(
        device: Given<Device>, import: Given<Import>, handle: NonNull<u32>, buffer: NonNull<*mut Buffer>
    ) -> c_int, or -errno, {
        let Import { width, height, format, modifier, num_planes, fds, strides, offsets } = *import;
        let (found, expected) = (num_planes as usize, format.planes().len());
        if found > fds.len() {
            return Err(Failure::ImportPlanes { format, modifier, found, expected });
        }
        let planes = fds.into_iter().zip(strides).zip(offsets).take(found);
        let planes = planes.map(|((fd, stride), offset)| (fd, stride, offset));
        // SAFETY: virgbm_minigbm.h says that the caller keeps them.
        let claim = unsafe { Claim::new(format, (width, height), modifier, planes) }?;
        let object = claim.import(&device.state)?;
        // SAFETY: they are not null, and virgbm_minigbm.h says that words are there.
        unsafe { hand_over(&device, object, handle, buffer) };
        Ok(0)
    }
}

exported! {
    /// Gives a buffer back; what is mapped stays mapped.
    fn virgbm_release(buffer: Given<Buffer>) -> (), or (), {
        // SAFETY: it came from `Box::into_raw` in `hand_over`, and the caller gives it back.
        drop(unsafe { Box::from_raw(buffer.as_ptr()) });
        Ok(())
    }
}

exported! {
    /// A new descriptor.
    fn virgbm_export(buffer: Given<Buffer>) -> c_int, or -errno, {
        Ok(buffer.object.export()?.into_raw_fd())
    }
}
