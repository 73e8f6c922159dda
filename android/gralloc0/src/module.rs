//! The module: what hardware libraries look up, and its functions but for the device's.

#![allow(unsafe_code)]

use crate::doors::{BUFFERS, buffer, enter, put};
use crate::failure::Failure;
use crate::{device, perform, ycbcr};
use std::ffi::{c_int, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::AtomicPtr;
use virgbm_android_abi::BufferHandle;
use virgbm_android_abi::gralloc::{CROS_NAME, Gralloc, MODULE_API_0_3, MODULE_ID, MODULE_TAG, Methods, Module, YCbCr};
use virgbm_android_handle::registry::Released;
use virgbm_android_handle::sys::native_handle::{self, DATA_INTS};
use virgbm_android_handle::usage::CPU_MASK;
use virgbm_android_handle::{HalFormat, Imported, LockError, Rect};

static METHODS: Methods = Methods { open: device::open };

/// `HAL_MODULE_INFO_SYM`. It must be writable: whoever loads it keeps its handle there.
#[unsafe(no_mangle)]
pub static HMI: Gralloc = Gralloc {
    common: Module {
        tag: MODULE_TAG,
        module_api_version: MODULE_API_0_3,
        hal_api_version: 0,
        id: MODULE_ID.as_ptr(),
        name: CROS_NAME.as_ptr(),
        author: c"virgbm".as_ptr(),
        methods: &METHODS,
        dso: AtomicPtr::new(null_mut()),
        reserved: [0; 25],
    },
    register_buffer,
    unregister_buffer,
    lock,
    unlock,
    perform: perform::perform,
    lock_ycbcr,
    lock_async,
    unlock_async,
    lock_async_ycbcr,
    get_transport_size,
    validate_buffer_size,
    reserved_proc: [0; 1],
};

unsafe extern "C" fn register_buffer(_: *const Gralloc, handle: BufferHandle) -> c_int {
    enter("registerBuffer", || {
        if BUFFERS.add_again(handle.addr()) {
            return Ok(());
        }
        // SAFETY: gralloc.h says that it is a handle.
        let numbers = unsafe { native_handle::read(handle) };
        let (imported, _) = BUFFERS.import(numbers)?;
        BUFFERS.add(handle.addr(), imported);
        Ok(())
    })
}

unsafe extern "C" fn unregister_buffer(_: *const Gralloc, handle: BufferHandle) -> c_int {
    enter("unregisterBuffer", || match BUFFERS.release(handle.addr()) {
        Released::Unknown => Err(Failure::NotRegistered(handle.addr())),
        Released::Kept | Released::Gone(_) => Ok(()),
    })
}

/// Locks a rectangle of a left and an upper edge, a width and a height; the fence is this function's, whatever it does.
///
/// # Safety
/// Nobody else owns the fence.
unsafe fn lock_rectangle(
    buffer: impl FnOnce() -> Result<Arc<Imported>, Failure>,
    usage: c_int,
    [left, top, width, height]: [c_int; 4],
    fence: c_int,
) -> Result<(Arc<Imported>, *mut u8), Failure> {
    // SAFETY: the caller promises it.
    let acquire_fence = unsafe { native_handle::take(fence) };
    if fence >= 0 && acquire_fence.is_none() {
        return Err(LockError::Fence.into());
    }
    let buffer = buffer()?;
    let (right, bottom) = (left.saturating_add(width), top.saturating_add(height));
    // Clients say here also what else they do with the buffer.
    let address = buffer.lock(u64::from(usage as u32) & CPU_MASK, Rect { left, top, right, bottom }, acquire_fence)?;
    Ok((buffer, address))
}

unsafe extern "C" fn lock(
    module: *const Gralloc,
    handle: BufferHandle,
    usage: c_int,
    left: c_int,
    top: c_int,
    width: c_int,
    height: c_int,
    address: *mut *mut c_void,
) -> c_int {
    // SAFETY: it is this function's promise.
    unsafe { lock_async(module, handle, usage, left, top, width, height, address, -1) }
}

unsafe extern "C" fn lock_async(
    _: *const Gralloc,
    handle: BufferHandle,
    usage: c_int,
    left: c_int,
    top: c_int,
    width: c_int,
    height: c_int,
    address: *mut *mut c_void,
    fence: c_int,
) -> c_int {
    enter("lockAsync", || {
        let plain = || match buffer(handle)? {
            flexible if flexible.description().hal_format == HalFormat::YCBCR_420_888 => Err(Failure::Flexible),
            _ if address.is_null() => Err(Failure::Null("vaddr")),
            buffer => Ok(buffer),
        };
        // SAFETY: gralloc.h says that the fence is this function's.
        let (_, locked) = unsafe { lock_rectangle(plain, usage, [left, top, width, height], fence) }?;
        // SAFETY: gralloc.h says that the address goes there.
        unsafe { put(address, locked.cast(), "vaddr") }
    })
}

unsafe extern "C" fn lock_ycbcr(
    module: *const Gralloc,
    handle: BufferHandle,
    usage: c_int,
    left: c_int,
    top: c_int,
    width: c_int,
    height: c_int,
    planes: *mut YCbCr,
) -> c_int {
    // SAFETY: it is this function's promise.
    unsafe { lock_async_ycbcr(module, handle, usage, left, top, width, height, planes, -1) }
}

unsafe extern "C" fn lock_async_ycbcr(
    _: *const Gralloc,
    handle: BufferHandle,
    usage: c_int,
    left: c_int,
    top: c_int,
    width: c_int,
    height: c_int,
    planes: *mut YCbCr,
    fence: c_int,
) -> c_int {
    enter("lockAsync_ycbcr", || {
        let described = || {
            let buffer = buffer(handle)?;
            // Before it is locked: what can't be described stays unlocked.
            ycbcr::describe(&buffer, null_mut())?;
            if planes.is_null() { Err(Failure::Null("ycbcr")) } else { Ok(buffer) }
        };
        if usage as u32 & CPU_MASK as u32 == 0 {
            // SAFETY: gralloc.h says that the fence is this function's.
            drop(unsafe { native_handle::take(fence) });
            // Without the CPU only the offsets are wanted, and unlock follows as ever.
            let buffer = described()?;
            buffer.lock_nothing();
            // SAFETY: gralloc.h says that the structure goes there.
            return unsafe { put(planes, ycbcr::describe(&buffer, null_mut())?, "ycbcr") };
        }
        // SAFETY: gralloc.h says that the fence is this function's.
        let (buffer, address) = unsafe { lock_rectangle(described, usage, [left, top, width, height], fence) }?;
        // SAFETY: gralloc.h says that the structure goes there.
        unsafe { put(planes, ycbcr::describe(&buffer, address)?, "ycbcr") }
    })
}

unsafe extern "C" fn unlock(_: *const Gralloc, handle: BufferHandle) -> c_int {
    enter("unlock", || {
        let buffer = buffer(handle)?;
        if let Some(fence) = buffer.unlock()? {
            Imported::wait(fence)?;
        }
        Ok(())
    })
}

unsafe extern "C" fn unlock_async(_: *const Gralloc, handle: BufferHandle, fence: *mut c_int) -> c_int {
    enter("unlockAsync", || {
        let buffer = buffer(handle)?;
        let out = NonNull::new(fence).ok_or(Failure::Null("fenceFd"))?;
        let fence = buffer.unlock()?.map_or(-1, std::os::fd::IntoRawFd::into_raw_fd);
        // SAFETY: it is not null, and gralloc.h says that the fence goes there.
        unsafe { out.write(fence) };
        Ok(())
    })
}

unsafe extern "C" fn get_transport_size(_: *const Gralloc, handle: BufferHandle, num_fds: *mut u32, num_ints: *mut u32) -> i32 {
    enter("getTransportSize", || {
        let fds = buffer(handle)?.description().layout.planes.len() + 1;
        // SAFETY: gralloc.h says that the numbers go there.
        unsafe { put(num_fds, fds as u32, "outNumFds") }?;
        // SAFETY: the same.
        unsafe { put(num_ints, (DATA_INTS - fds) as u32, "outNumInts") }
    })
}

unsafe extern "C" fn validate_buffer_size(
    _: *const Gralloc,
    handle: BufferHandle,
    width: u32,
    height: u32,
    format: i32,
    usage: c_int,
    stride: u32,
) -> i32 {
    enter("validateBufferSize", || {
        let buffer = buffer(handle)?;
        let about = buffer.description();
        let cpu = u64::from(usage as u32) & CPU_MASK;
        let holds = width <= about.width && height <= about.height && format == about.hal_format && stride <= about.pixel_stride;
        if holds && (cpu == 0 || about.usage & CPU_MASK != 0) {
            return Ok(());
        }
        let found = format!("{}x{} in rows of {}, format {:#x}", about.width, about.height, about.pixel_stride, about.hal_format);
        let claimed = format!("{width}x{height} in rows of {stride}, format {format:#x}, usage {usage:#x}");
        Err(Failure::Validate { found, claimed })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn mesa_knows_the_module_by_its_name_and_version() {
        // SAFETY: they are strings of the program's.
        let text = [HMI.common.name, HMI.common.id].map(|text| unsafe { CStr::from_ptr(text) });
        assert_eq!(text, [c"CrOS Gralloc", c"gralloc"]);
        assert_eq!((HMI.common.tag, HMI.common.module_api_version, HMI.common.hal_api_version), (0x4857_4d54, 0x0003, 0));
    }
}
