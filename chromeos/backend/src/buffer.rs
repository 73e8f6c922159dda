//! Buffers: made, imported, exported and given back.

use crate::abi::{Import, Request, Told};
use crate::device::Device;
use std::ffi::c_int;
use std::os::fd::IntoRawFd;
use std::ptr::NonNull;
use virgbm::Usage;
use virgbm::guest::BufferObject;
use virgbm::usage::Dialect;
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

/// What an imported buffer was made for. Who says nothing, or in words that are not known, may mean anything.
fn made_for(use_flags: u64) -> Usage {
    let told = Usage::from_dialect(Dialect::Minigbm, use_flags).ok();
    told.filter(|usage| !usage.is_empty()).unwrap_or(Usage::all())
}

exported! {
    /// Makes a buffer of somebody's descriptors.
    fn virgbm_import(
        device: Given<Device>, import: Given<Import>, cached: NonNull<bool>, handle: NonNull<u32>, buffer: NonNull<*mut Buffer>
    ) -> c_int, or -errno, {
        let Import { width, height, format, modifier, use_flags, num_planes, fds, strides, offsets } = *import;
        let (found, expected) = (num_planes as usize, format.planes().len());
        if found > fds.len() {
            return Err(Failure::ImportPlanes { format, modifier, found, expected });
        }
        let planes = fds.into_iter().zip(strides).zip(offsets).take(found);
        let planes = planes.map(|((fd, stride), offset)| (fd, stride, offset));
        // SAFETY: virgbm_minigbm.h says that the caller keeps them.
        let claim = unsafe { Claim::new(format, (width, height), modifier, planes) }?;
        let object = claim.import(&device.state, made_for(use_flags))?;
        // SAFETY: it is not null, and virgbm_minigbm.h says that a bool is there.
        unsafe { cached.write(device.state.is_cached(&object)) };
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

#[cfg(test)]
#[cfg(feature = "loopback")]
mod tests {
    use super::*;
    use crate::test_rig::Machine;
    use std::os::fd::AsRawFd;
    use std::ptr::{from_ref, null_mut};
    use virgbm::guest::Access;

    /// `BO_USE_TEXTURE` and `BO_USE_SW_*_OFTEN`.
    const CPUS: u64 = 1 << 5 | 1 << 9 | 1 << 11;

    /// Transfers of a read of a buffer that is said to be made for a usage, and whether its import is told to be cached.
    fn read_of_import(use_flags: u64) -> (u64, bool) {
        let machine = Machine::new();
        let object = machine.create(CPUS);
        let fd = object.export().unwrap();
        let layout = object.layout();
        let import = Import {
            width: layout.width,
            height: layout.height,
            format: layout.format,
            modifier: layout.modifier,
            use_flags,
            num_planes: 1,
            fds: [fd.as_raw_fd(), -1, -1, -1],
            strides: [layout.planes.first().unwrap().stride_bytes, 0, 0, 0],
            offsets: [0; 4],
        };
        let (mut cached, mut handle, mut buffer) = (false, 0, null_mut());
        let device = from_ref(&machine.device).cast_mut();
        let import = from_ref(&import).cast_mut();
        // SAFETY: all of it lives here.
        let code = unsafe { virgbm_import(device, import, &raw mut cached, &raw mut handle, &raw mut buffer) };
        assert_eq!(code, 0);
        // SAFETY: the import has succeeded.
        let imported = unsafe { &*buffer };
        drop(imported.object.map(imported.object.layout().whole(), Access::READ).unwrap());
        // SAFETY: it is this function's.
        unsafe { virgbm_release(buffer) };
        (machine.transfers().1, cached)
    }

    #[test]
    fn an_import_costs_what_its_buffer_was_made_for() {
        assert_eq!(read_of_import(CPUS), (0, true));
        assert_eq!(read_of_import(CPUS | 1 << 2), (1, true));
    }

    #[test]
    fn an_import_of_which_nothing_is_known_may_have_been_drawn() {
        assert_eq!(read_of_import(0), (1, true));
        assert_eq!(read_of_import(CPUS | 1 << 20), (1, true));
    }
}
