//! What is Mesa's own in its `gbm.h`: who serves a node, a list of modifiers without flags, and the size of a pixel.

use crate::backend;
use std::ffi::{c_int, c_uint};
use std::ptr::null_mut;
use virgbm::{Format, FormatClass, Modifier};
use virgbm_gbm_api::device::character_device;
use virgbm_gbm_api::{create, surface};
use virgbm_gbm_core::abi::{Bo, Device, Flags, Surface};
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::exported;

exported! {
    /// Makes a device of a descriptor, which stays the caller's and must stay open. Null with EINVAL for what is no character
    /// device, ENODEV when no backend serves it.
    fn gbm_create_device(fd: c_int) -> *mut Device, or null_mut(), {
        let device = backend::create(character_device(fd)?)?;
        // SAFETY: a backend has just made it, and nobody else has it yet.
        unsafe { (*device.as_ptr()).dummy = Some(gbm_create_device) };
        Ok(device.as_ptr())
    }
}

exported! {
    /// Makes a buffer that can be shown, with one of the listed modifiers; ENOSYS when none of them is offered.
    fn gbm_bo_create_with_modifiers(
        gbm: Given<Device>, width: u32, height: u32, format: Format, modifiers: *const Modifier, count: c_uint
    ) -> *mut Bo, or null_mut(), {
        create::create(&gbm, (width, height), format, Flags::SCANOUT, (modifiers, count))
    }
}

exported! {
    /// Makes a surface whose buffers can be shown and have one of the listed modifiers.
    fn gbm_surface_create_with_modifiers(
        gbm: Given<Device>, width: u32, height: u32, format: Format, modifiers: *const Modifier, count: c_uint
    ) -> *mut Surface, or null_mut(), {
        surface::create(&gbm, (width, height), format, Flags::SCANOUT, (modifiers, count))
    }
}

exported! {
    /// Bits of a pixel; 0 for what has none in one place, such as YUV.
    fn gbm_bo_get_bpp(bo: Given<Bo>) -> u32, or 0, {
        let info = bo.format.info().filter(|info| matches!(info.class, FormatClass::Rgb | FormatClass::RgbFloat));
        Ok(info.and_then(|info| info.planes.first()).map_or(0, |plane| u32::from(plane.block_bytes) * 8))
    }
}
