//! Devices and formats.

use rustix::fs::{FileType, fstat};
use std::ffi::{c_char, c_int};
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null, null_mut};
use virgbm::{Format, Modifier};
use virgbm_gbm_core::Failure;
use virgbm_gbm_core::abi::{self, Device, Flags, FormatNameDesc};
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::exported;
use virgbm_gbm_core::loader;

/// The descriptor that a device is to be made of.
///
/// # Errors
/// [`Failure::NoDevice`] for what is no character device.
pub fn character_device<'a>(number: c_int) -> Result<BorrowedFd<'a>, Failure> {
    if number < 0 {
        return Err(Failure::NoDevice(number));
    }
    // SAFETY: it is not -1, and gbm.h says that the caller keeps it open; fstat finds one that is closed.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let is_device = fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice);
    if is_device { Ok(fd) } else { Err(Failure::NoDevice(number)) }
}

exported! {
    /// Frees a device. Its buffers and surfaces must be gone.
    fn gbm_device_destroy(gbm: Given<Device>) -> (), or (), {
        let library = loader::library(&gbm);
        dispatch!(gbm, destroy(gbm.as_ptr()));
        // The backend's code is needed until here.
        drop(library);
        Ok(())
    }
}

exported! {
    /// The descriptor that the device was made of; -1 with EINVAL without a device.
    fn gbm_device_get_fd(gbm: Given<Device>) -> c_int, or -1, {
        Ok(gbm.v0.fd)
    }
}

exported! {
    /// The name of the backend, which lives as long as the device.
    fn gbm_device_get_backend_name(gbm: Given<Device>) -> *const c_char, or null(), {
        Ok(gbm.v0.name)
    }
}

exported! {
    /// 1 when a buffer of the format can be made with these `GBM_BO_USE_*` flags, else 0.
    fn gbm_device_is_format_supported(gbm: Given<Device>, format: Format, flags: Flags) -> c_int, or 0, {
        Ok(dispatch!(gbm, is_format_supported(gbm.as_ptr(), format, flags)).value)
    }
}

exported! {
    /// How many planes a format has with a modifier; -1 when the device does not know.
    fn gbm_device_get_format_modifier_plane_count(gbm: Given<Device>, format: Format, modifier: Modifier) -> c_int, or -1, {
        dispatch!(gbm, get_format_modifier_plane_count(gbm.as_ptr(), format, modifier)).unless(|count| *count < 0)
    }
}

exported! {
    /// Writes a format's fourcc as a string into `desc`, and gives that string.
    fn gbm_format_get_name(format: Format, desc: NonNull<FormatNameDesc>) -> *mut c_char, or null_mut(), {
        let [a, b, c, d] = abi::canonical(format).fourcc().to_le_bytes().map(|byte| byte as c_char);
        // SAFETY: it is not null, and gbm.h says that there are five bytes.
        unsafe { desc.write(FormatNameDesc { name: [a, b, c, d, 0] }) };
        Ok(desc.as_ptr().cast())
    }
}
