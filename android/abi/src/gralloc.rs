//! The structures of `hardware.h`, `gralloc.h` and `system/graphics.h`, and those of CrOS Gralloc's private calls.

use crate::BufferHandle;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::AtomicPtr;

/// `GRALLOC_HARDWARE_MODULE_ID`.
pub const MODULE_ID: &CStr = c"gralloc";
/// `GRALLOC_HARDWARE_GPU0`.
pub const GPU0: &CStr = c"gpu0";
/// The name by which Mesa and others know a module with the private calls.
pub const CROS_NAME: &CStr = c"CrOS Gralloc";
/// `GRALLOC_USAGE_PRIVATE_0`, which CrOS Gralloc takes for front rendering: the word has no bit 32.
pub const FRONT_RENDERING: u32 = 1 << 28;
/// `HARDWARE_MODULE_TAG`: 'HWMT' with the first letter in the highest byte.
pub const MODULE_TAG: u32 = u32::from_be_bytes(*b"HWMT");
/// `HARDWARE_DEVICE_TAG`.
pub const DEVICE_TAG: u32 = u32::from_be_bytes(*b"HWDT");
/// `GRALLOC_MODULE_API_VERSION_0_3`.
pub const MODULE_API_0_3: u16 = 0x0003;

/// `hw_module_methods_t`.
#[repr(C)]
#[allow(missing_docs)]
pub struct Methods {
    pub open: unsafe extern "C" fn(*const Gralloc, *const c_char, *mut *mut Device) -> c_int,
}

/// `hw_module_t`.
#[repr(C)]
#[allow(missing_docs)]
pub struct Module {
    pub tag: u32,
    pub module_api_version: u16,
    pub hal_api_version: u16,
    pub id: *const c_char,
    pub name: *const c_char,
    pub author: *const c_char,
    pub methods: &'static Methods,
    /// Whoever loads the module writes its handle there.
    pub dso: AtomicPtr<c_void>,
    /// `uint64_t` in 64-bit processes, else `uint32_t`.
    pub reserved: [usize; 25],
}

/// `hw_device_t`.
#[repr(C)]
#[allow(missing_docs)]
pub struct Device {
    pub tag: u32,
    pub version: u32,
    pub module: *const Gralloc,
    pub reserved: [usize; 12],
    pub close: unsafe extern "C" fn(*mut Device) -> c_int,
}

/// `gralloc_module_t`.
#[repr(C)]
#[allow(missing_docs)]
pub struct Gralloc {
    pub common: Module,
    pub register_buffer: unsafe extern "C" fn(*const Gralloc, BufferHandle) -> c_int,
    pub unregister_buffer: unsafe extern "C" fn(*const Gralloc, BufferHandle) -> c_int,
    pub lock: unsafe extern "C" fn(*const Gralloc, BufferHandle, c_int, c_int, c_int, c_int, c_int, *mut *mut c_void) -> c_int,
    pub unlock: unsafe extern "C" fn(*const Gralloc, BufferHandle) -> c_int,
    /// In C `int (*)(module, int operation, ...)`. The arguments are integers or pointers no wider than a register, at most three,
    /// which every ABI that Android has passes as it passes those of a plain function.
    pub perform: unsafe extern "C" fn(*const Gralloc, c_int, usize, usize, usize) -> c_int,
    pub lock_ycbcr: unsafe extern "C" fn(*const Gralloc, BufferHandle, c_int, c_int, c_int, c_int, c_int, *mut YCbCr) -> c_int,
    pub lock_async:
        unsafe extern "C" fn(*const Gralloc, BufferHandle, c_int, c_int, c_int, c_int, c_int, *mut *mut c_void, c_int) -> c_int,
    pub unlock_async: unsafe extern "C" fn(*const Gralloc, BufferHandle, *mut c_int) -> c_int,
    pub lock_async_ycbcr:
        unsafe extern "C" fn(*const Gralloc, BufferHandle, c_int, c_int, c_int, c_int, c_int, *mut YCbCr, c_int) -> c_int,
    pub get_transport_size: unsafe extern "C" fn(*const Gralloc, BufferHandle, *mut u32, *mut u32) -> i32,
    pub validate_buffer_size: unsafe extern "C" fn(*const Gralloc, BufferHandle, u32, u32, i32, c_int, u32) -> i32,
    pub reserved_proc: [usize; 1],
}

// SAFETY: the pointers in it are to constants, and what is written there is atomic.
#[allow(unsafe_code)]
unsafe impl Sync for Gralloc {}

/// `alloc_device_t`.
#[repr(C)]
#[allow(missing_docs)]
pub struct AllocDevice {
    pub common: Device,
    pub alloc: unsafe extern "C" fn(*mut AllocDevice, c_int, c_int, c_int, c_int, *mut BufferHandle, *mut c_int) -> c_int,
    pub free: unsafe extern "C" fn(*mut AllocDevice, BufferHandle) -> c_int,
    pub dump: unsafe extern "C" fn(*mut AllocDevice, *mut c_char, c_int),
    pub reserved_proc: [usize; 7],
}

/// `struct android_ycbcr`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)]
pub struct YCbCr {
    pub y: *mut c_void,
    pub cb: *mut c_void,
    pub cr: *mut c_void,
    pub ystride: usize,
    pub cstride: usize,
    pub chroma_step: usize,
    pub reserved: [u32; 8],
}

/// The operations of `perform`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Operation {
    /// (handle, `uint32_t *stride_pixels`)
    GetStride = 0,
    /// (handle, `int32_t *hal_format`)
    GetFormat = 1,
    /// (handle, `uint32_t *width`, `uint32_t *height`)
    GetDimensions = 2,
    /// (handle, `uint64_t *id`)
    GetBackingStore = 3,
    /// (handle, `struct cros_gralloc0_buffer_info *`)
    GetBufferInfo = 4,
    /// (`uint32_t wanted`, `uint32_t *usage`)
    GetUsage = 5,
}

/// `struct cros_gralloc0_buffer_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct BufferInfo {
    pub drm_fourcc: u32,
    pub num_fds: c_int,
    pub fds: [c_int; 4],
    pub modifier: u64,
    pub offset: [u32; 4],
    pub stride: [u32; 4],
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Module>() == 248 && offset_of!(Module, id) == 8 && offset_of!(Module, dso) == 40);
    assert!(size_of::<Device>() == 120 && offset_of!(Device, close) == 112);
    assert!(size_of::<Gralloc>() == 344 && offset_of!(Gralloc, perform) == 280);
    assert!(size_of::<AllocDevice>() == 200 && offset_of!(AllocDevice, alloc) == 120);
    assert!(size_of::<YCbCr>() == 80 && offset_of!(YCbCr, chroma_step) == 40);
};

#[cfg(target_pointer_width = "32")]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Module>() == 128 && offset_of!(Module, id) == 8 && offset_of!(Module, dso) == 24);
    assert!(size_of::<Device>() == 64 && offset_of!(Device, close) == 60);
    assert!(size_of::<Gralloc>() == 176 && offset_of!(Gralloc, perform) == 144);
    assert!(size_of::<AllocDevice>() == 104 && offset_of!(AllocDevice, alloc) == 64);
    assert!(size_of::<YCbCr>() == 56 && offset_of!(YCbCr, chroma_step) == 20);
};

const _: () = assert!(size_of::<BufferInfo>() == 64 && std::mem::offset_of!(BufferInfo, modifier) == 24);
