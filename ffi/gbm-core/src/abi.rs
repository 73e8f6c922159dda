//! Mesa's libgbm backend ABI, version 1 (`gbm_backend_abi.h`): the structures that a loader and its backends share.
//!
//! Fields carry the header's names. Function pointers are optional: one that a foreign backend leaves out is not called.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt;
use virgbm::{Format, Modifier};

/// `GBM_BACKEND_ABI_VERSION`.
pub const VERSION: u32 = 1;

/// `GBM_MAX_PLANES`.
pub const MAX_PLANES: usize = 4;

/// A word of bits, `GBM_BO_USE_*` or `GBM_BO_TRANSFER_*`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flags(pub u32);

impl Flags {
    /// `GBM_BO_USE_SCANOUT`.
    pub const SCANOUT: Self = Self(1);
    /// `GBM_BO_USE_CURSOR`.
    pub const CURSOR: Self = Self(1 << 1);
    /// `GBM_BO_USE_RENDERING`.
    pub const RENDERING: Self = Self(1 << 2);
    /// `GBM_BO_USE_WRITE`.
    pub const WRITE: Self = Self(1 << 3);
    /// `GBM_BO_USE_LINEAR`.
    pub const LINEAR: Self = Self(1 << 4);

    /// Whether all bits of `other` are in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// `union gbm_bo_handle`.
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub union BoHandle {
    pub ptr: *mut c_void,
    pub s32: i32,
    pub u32: u32,
    pub s64: i64,
    pub u64: u64,
}

impl BoHandle {
    /// What stands for no handle: -1 in every member.
    pub const NONE: Self = Self { s64: -1 };

    /// A handle of the kernel.
    pub const fn gem(handle: u32) -> Self {
        Self { u64: handle as u64 }
    }
}

impl fmt::Debug for BoHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: every member begins with these 32 bits, and any bits are a number.
        fmt::Debug::fmt(&unsafe { self.s32 }, f)
    }
}

/// `struct gbm_device`.
#[repr(C)]
#[allow(missing_docs)]
pub struct Device {
    /// The address of the exported `gbm_create_device`, by which EGL knows a device; the loader sets it.
    pub dummy: Option<unsafe extern "C" fn(c_int) -> *mut Device>,
    pub v0: DeviceV0,
}

/// `struct gbm_device_v0`.
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct DeviceV0 {
    /// The loader's own, null until it sets it.
    pub backend_desc: *mut c_void,
    pub backend_version: u32,
    pub fd: c_int,
    pub name: *const c_char,
    pub destroy: Option<unsafe extern "C" fn(*mut Device)>,
    pub is_format_supported: Option<unsafe extern "C" fn(*mut Device, Format, Flags) -> c_int>,
    pub get_format_modifier_plane_count: Option<unsafe extern "C" fn(*mut Device, Format, Modifier) -> c_int>,
    pub bo_create: Option<unsafe extern "C" fn(*mut Device, u32, u32, Format, Flags, *const Modifier, c_uint) -> *mut Bo>,
    pub bo_import: Option<unsafe extern "C" fn(*mut Device, u32, *mut c_void, Flags) -> *mut Bo>,
    pub bo_map: Option<unsafe extern "C" fn(*mut Bo, u32, u32, u32, u32, Flags, *mut u32, *mut *mut c_void) -> *mut c_void>,
    pub bo_unmap: Option<unsafe extern "C" fn(*mut Bo, *mut c_void)>,
    pub bo_write: Option<unsafe extern "C" fn(*mut Bo, *const c_void, usize) -> c_int>,
    pub bo_get_fd: Option<unsafe extern "C" fn(*mut Bo) -> c_int>,
    pub bo_get_planes: Option<unsafe extern "C" fn(*mut Bo) -> c_int>,
    pub bo_get_handle: Option<unsafe extern "C" fn(*mut Bo, c_int) -> BoHandle>,
    pub bo_get_plane_fd: Option<unsafe extern "C" fn(*mut Bo, c_int) -> c_int>,
    pub bo_get_stride: Option<unsafe extern "C" fn(*mut Bo, c_int) -> u32>,
    pub bo_get_offset: Option<unsafe extern "C" fn(*mut Bo, c_int) -> u32>,
    pub bo_get_modifier: Option<unsafe extern "C" fn(*mut Bo) -> Modifier>,
    pub bo_destroy: Option<unsafe extern "C" fn(*mut Bo)>,
    pub surface_create:
        Option<unsafe extern "C" fn(*mut Device, u32, u32, Format, Flags, *const Modifier, c_uint) -> *mut Surface>,
    pub surface_lock_front_buffer: Option<unsafe extern "C" fn(*mut Surface) -> *mut Bo>,
    pub surface_release_buffer: Option<unsafe extern "C" fn(*mut Surface, *mut Bo)>,
    pub surface_has_free_buffers: Option<unsafe extern "C" fn(*mut Surface) -> c_int>,
    pub surface_destroy: Option<unsafe extern "C" fn(*mut Surface)>,
}

/// The destructor of a buffer's user data.
pub type DestroyUserData = unsafe extern "C" fn(*mut Bo, *mut c_void);

/// `struct gbm_bo`, with the fields of `struct gbm_bo_v0`.
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Bo {
    pub gbm: *mut Device,
    pub width: u32,
    pub height: u32,
    /// In bytes, of plane 0.
    pub stride: u32,
    pub format: Format,
    pub handle: BoHandle,
    pub user_data: *mut c_void,
    pub destroy_user_data: Option<DestroyUserData>,
}

/// `struct gbm_surface`, with the fields of `struct gbm_surface_v0`.
#[repr(C)]
#[allow(missing_docs)]
pub struct Surface {
    pub gbm: *mut Device,
    pub width: u32,
    pub height: u32,
    pub format: Format,
    pub flags: Flags,
    pub modifiers: *mut Modifier,
    pub count: c_uint,
}

/// `struct gbm_backend`, with the fields of `struct gbm_backend_v0`.
#[repr(C)]
#[allow(missing_docs)]
pub struct Backend {
    pub backend_version: u32,
    pub backend_name: *const c_char,
    pub create_device: Option<unsafe extern "C" fn(c_int, u32) -> *mut Device>,
}

// SAFETY: a table is only read, and its name is a constant.
unsafe impl Sync for Backend {}

/// `struct gbm_core`, with the fields of `struct gbm_core_v0`: what the loader tells a backend.
#[repr(C)]
#[allow(missing_docs)]
pub struct Core {
    pub core_version: u32,
    pub format_canonicalize: Option<unsafe extern "C" fn(Format) -> Format>,
}

/// `gbmint_get_backend`: what a backend exports.
pub type GetBackend = unsafe extern "C" fn(*const Core) -> *const Backend;

/// `struct gbm_import_fd_data`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ImportFd {
    pub fd: c_int,
    pub width: u32,
    pub height: u32,
    pub stride: u32,
    pub format: Format,
}

/// `struct gbm_import_fd_modifier_data`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ImportFdModifier {
    pub width: u32,
    pub height: u32,
    pub format: Format,
    pub num_fds: u32,
    pub fds: [c_int; MAX_PLANES],
    pub strides: [c_int; MAX_PLANES],
    pub offsets: [c_int; MAX_PLANES],
    pub modifier: Modifier,
}

/// `struct gbm_import_fd_planar_data` of minigbm, until 2019.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ImportFdPlanar {
    pub fds: [c_int; MAX_PLANES],
    pub width: u32,
    pub height: u32,
    pub format: Format,
    pub strides: [u32; MAX_PLANES],
    pub offsets: [u32; MAX_PLANES],
    /// The same for every plane.
    pub format_modifiers: [Modifier; MAX_PLANES],
}

/// `struct gbm_format_name_desc`.
#[repr(C)]
#[allow(missing_docs)]
pub struct FormatNameDesc {
    pub name: [c_char; 5],
}

/// `GBM_BO_FORMAT_XRGB8888` and `GBM_BO_FORMAT_ARGB8888`, which gbm had before fourccs, become what they are the same as.
pub const fn canonical(format: Format) -> Format {
    match format.fourcc() {
        0 => Format::XRGB8888,
        1 => Format::ARGB8888,
        _ => format,
    }
}

/// The sizes and offsets of the header on 64-bit machines.
#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::offset_of;

    assert!(size_of::<Device>() == 200);
    assert!(offset_of!(Device, v0) == 8);
    assert!(offset_of!(Device, v0.backend_version) == 16);
    assert!(offset_of!(Device, v0.fd) == 20);
    assert!(offset_of!(Device, v0.name) == 24);
    assert!(offset_of!(Device, v0.destroy) == 32);
    assert!(offset_of!(Device, v0.bo_create) == 56);
    assert!(offset_of!(Device, v0.bo_destroy) == 152);
    assert!(offset_of!(Device, v0.surface_lock_front_buffer) == 168);
    assert!(offset_of!(Device, v0.surface_destroy) == 192);

    assert!(size_of::<Bo>() == 48);
    assert!(offset_of!(Bo, stride) == 16);
    assert!(offset_of!(Bo, handle) == 24);
    assert!(offset_of!(Bo, user_data) == 32);

    assert!(size_of::<Surface>() == 40);
    assert!(offset_of!(Surface, modifiers) == 24);
    assert!(offset_of!(Surface, count) == 32);

    assert!(size_of::<Backend>() == 24);
    assert!(offset_of!(Backend, create_device) == 16);
    assert!(size_of::<Core>() == 16);
    assert!(size_of::<ImportFd>() == 20);
    assert!(size_of::<ImportFdModifier>() == 72);
    assert!(offset_of!(ImportFdModifier, modifier) == 64);
    assert!(size_of::<ImportFdPlanar>() == 96);
    assert!(offset_of!(ImportFdPlanar, format_modifiers) == 64);
    assert!(size_of::<FormatNameDesc>() == 5);
};
