//! Devices: who serves a node, and on which one a device is made where the caller has none.

use std::ffi::{c_int, c_uint};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::ptr::{NonNull, null_mut};
use virgbm::{Format, Modifier};
use virgbm_gbm_api::device::character_device;
use virgbm_gbm_api::surface;
use virgbm_gbm_core::abi::{self, Device, Flags, Surface};
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::{Failure, Flavour, exported, native};

fn create(fd: BorrowedFd<'_>) -> Result<NonNull<Device>, Failure> {
    let state = native::open(fd, Flavour::Minigbm).map_err(|reason| Failure::NoBackend(reason.to_string()))?;
    let device = native::create(fd, abi::VERSION, state);
    // SAFETY: it has just been made, and nobody else has it yet.
    unsafe { (*device.as_ptr()).dummy = Some(gbm_create_device) };
    Ok(device)
}

exported! {
    /// Makes a device of a descriptor, which stays the caller's and must stay open. Null with EINVAL for what is no character
    /// device, ENODEV for what is no node of virtio-gpu.
    fn gbm_create_device(fd: c_int) -> *mut Device, or null_mut(), {
        Ok(create(character_device(fd)?)?.as_ptr())
    }
}

exported! {
    /// Makes a device on the first node of virtio-gpu, render nodes first. The descriptor in `out_fd` is the caller's.
    fn minigbm_create_default_device(out_fd: NonNull<c_int>) -> *mut Device, or null_mut(), {
        let node = native::open_first().map_err(|reason| Failure::NoBackend(reason.to_string()))?;
        let device = create(node.as_fd())?;
        // SAFETY: it is not null, and minigbm_helpers.h says that an int is there.
        unsafe { out_fd.write(node.into_raw_fd()) };
        Ok(device.as_ptr())
    }
}

exported! {
    /// Makes a surface whose buffers have one of the listed modifiers.
    fn gbm_surface_create_with_modifiers(
        gbm: Given<Device>, width: u32, height: u32, format: Format, modifiers: *const Modifier, count: c_uint
    ) -> *mut Surface, or null_mut(), {
        surface::create(&gbm, (width, height), format, Flags(0), (modifiers, count))
    }
}
