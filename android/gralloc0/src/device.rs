//! The allocation device, `gpu0`.

#![allow(unsafe_code)]

use crate::doors::{BUFFERS, enter};
use crate::failure::Failure;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int};
use std::fmt::Write;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use virgbm_android_abi::BufferHandle;
use virgbm_android_abi::gralloc::{AllocDevice, DEVICE_TAG, Device, FRONT_RENDERING, GPU0, Gralloc};
use virgbm_android_handle::sys::native_handle;
use virgbm_android_handle::usage::FRONT_BUFFER;
use virgbm_android_handle::{Allocator, Descriptor, HalFormat};

/// `GRALLOC_USAGE_FOREIGN_BUFFERS` is for queues alone.
const FOREIGN_BUFFERS: u32 = 1 << 21;

/// The handles that are freed here and not by their holders, and how many descriptors each has. The ABI hands out no object that could carry them.
static ALLOCATED: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

fn allocated() -> MutexGuard<'static, BTreeMap<usize, usize>> {
    ALLOCATED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A device, and what allocates for it.
#[repr(C)]
struct OpenDevice {
    public: AllocDevice,
    allocator: Allocator,
}

pub unsafe extern "C" fn open(module: *const Gralloc, name: *const c_char, out: *mut *mut Device) -> c_int {
    enter("open", || {
        let name = NonNull::new(name.cast_mut()).ok_or(Failure::Null("name"))?;
        let out = NonNull::new(out).ok_or(Failure::Null("device"))?;
        // SAFETY: it is not null, and hardware.h says that it is a string.
        if unsafe { CStr::from_ptr(name.as_ptr()) } != GPU0 {
            return Err(Failure::DeviceName);
        }
        let allocator = Allocator::on(BUFFERS.source()?)?;
        let common = Device { tag: DEVICE_TAG, version: 0, module, reserved: [0; 12], close };
        let public = AllocDevice { common, alloc, free, dump, reserved_proc: [0; 7] };
        let device = Box::into_raw(Box::new(OpenDevice { public, allocator }));
        // SAFETY: it is not null, and hardware.h says that the device goes there.
        unsafe { out.write(device.cast()) };
        Ok(())
    })
}

unsafe extern "C" fn close(device: *mut Device) -> c_int {
    enter("close", || {
        let device = NonNull::new(device).ok_or(Failure::Null("device"))?;
        // SAFETY: it came from a box in `open`, and the caller gives it back.
        drop(unsafe { Box::from_raw(device.as_ptr().cast::<OpenDevice>()) });
        Ok(())
    })
}

unsafe extern "C" fn alloc(
    device: *mut AllocDevice,
    width: c_int,
    height: c_int,
    format: c_int,
    usage: c_int,
    handle: *mut BufferHandle,
    stride: *mut c_int,
) -> c_int {
    enter("alloc", || {
        let device = NonNull::new(device).ok_or(Failure::Null("device"))?;
        let out = NonNull::new(handle).ok_or(Failure::Null("handle"))?;
        // Before anything is made: who gets an error frees nothing.
        let stride = NonNull::new(stride).ok_or(Failure::Null("stride"))?;
        // SAFETY: it came from `open`, and the caller has not closed it.
        let device = unsafe { device.cast::<OpenDevice>().as_ref() };
        let usage = usage as u32 & !FOREIGN_BUFFERS;
        let front = if usage & FRONT_RENDERING != 0 { FRONT_BUFFER } else { 0 };
        let descriptor = Descriptor::new(width, height, format, u64::from(usage) | front).with_name("gralloc0");
        let mut allocation = device.allocator.allocate(&descriptor, 1)?;
        let own = allocation.handles.pop().ok_or(Failure::Null("buffer"))?;
        let pixels = if format == HalFormat::YCBCR_420_888 { 0 } else { allocation.pixel_stride as c_int };
        let (imported, _) = BUFFERS.import(Some(own.numbers()))?;
        let fds = own.numbers().fds().len();
        let native = own.into_native()?;
        BUFFERS.insert(native.as_ptr().addr(), imported);
        allocated().insert(native.as_ptr().addr(), fds);
        // SAFETY: it is not null, and gralloc.h says that the handle goes there.
        unsafe { out.write(native.as_ptr()) };
        // SAFETY: the same of the stride.
        unsafe { stride.write(pixels) };
        Ok(())
    })
}

unsafe extern "C" fn free(_: *mut AllocDevice, handle: BufferHandle) -> c_int {
    enter("free", || {
        let address = handle.addr();
        let (Some(native), Some(fds)) = (NonNull::new(handle.cast_mut()), allocated().remove(&address)) else {
            return Err(Failure::NotAllocated(address));
        };
        // Whether it is still registered is its holder's business: who has unregistered it too often must free it all the same.
        BUFFERS.remove(address);
        // SAFETY: `alloc` made it with so many descriptors, and it was not freed until now.
        unsafe { native_handle::destroy(native, fds) };
        Ok(())
    })
}

unsafe extern "C" fn dump(_: *mut AllocDevice, text: *mut c_char, length: c_int) {
    enter("dump", || {
        let text = NonNull::new(text).ok_or(Failure::Null("buff"))?;
        let Some(room) = usize::try_from(length).ok().and_then(|length| length.checked_sub(1)) else { return Ok(()) };
        let mut lines = String::new();
        for buffer in BUFFERS.buffers() {
            let about = buffer.description();
            let _ = writeln!(
                lines,
                "{:016x} {} {}x{} {} {} bytes, usage {:#x}",
                about.id, about.name, about.width, about.height, about.layout.format, about.allocation_bytes, about.usage
            );
        }
        let shown = lines.as_bytes().get(..room).unwrap_or(lines.as_bytes());
        // SAFETY: gralloc.h says that there is room for `length` bytes, and one less is copied.
        unsafe { text.cast::<u8>().copy_from_nonoverlapping(NonNull::from(shown).cast(), shown.len()) };
        // SAFETY: there is room for one more.
        unsafe { text.as_ptr().wrapping_add(shown.len()).write(0) };
        Ok(())
    });
}
