//! The C declarations of `virglrenderer.h`.

use crate::wire::virtio_gpu::Box3d;
use libloading::os::unix::{Library as Shared, RTLD_LOCAL, RTLD_NOW, Symbol};
use std::ffi::{c_char, c_int, c_uint, c_void};

/// The library's name; it has had this ABI from its first release.
const LIBRARY: &str = "libvirglrenderer.so.1";

/// `VIRGL_RENDERER_*` of `virgl_renderer_init`.
pub mod flag {
    use std::ffi::c_int;
    pub const USE_EGL: c_int = 1;
    pub const THREAD_SYNC: c_int = 1 << 1;
    pub const USE_SURFACELESS: c_int = 1 << 3;
    /// Blobs must be descriptors: they go to another process.
    pub const USE_EXTERNAL_BLOB: c_int = 1 << 5;
    pub const VENUS: c_int = 1 << 6;
    pub const NO_VIRGL: c_int = 1 << 7;
    /// Fences are told by the thread that waits for them.
    pub const ASYNC_FENCE_CB: c_int = 1 << 8;
    pub const RENDER_SERVER: c_int = 1 << 9;
    pub const DRM: c_int = 1 << 10;
}

/// `struct virgl_renderer_callbacks`, version 3: the first with fences of rings.
#[repr(C)]
pub struct Callbacks {
    pub version: c_int,
    pub write_fence: unsafe extern "C" fn(*mut c_void, u32),
    pub create_gl_context: *const c_void,
    pub destroy_gl_context: *const c_void,
    pub make_current: *const c_void,
    pub get_drm_fd: unsafe extern "C" fn(*mut c_void) -> c_int,
    pub write_context_fence: unsafe extern "C" fn(*mut c_void, u32, u32, u64),
    pub get_server_fd: *const c_void,
    pub get_egl_display: *const c_void,
}

/// `struct virgl_renderer_resource_create_args`.
#[repr(C)]
pub struct CreateArgs {
    pub handle: u32,
    pub target: u32,
    pub format: u32,
    pub bind: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    pub array_size: u32,
    pub last_level: u32,
    pub nr_samples: u32,
    pub flags: u32,
}

/// `struct virgl_renderer_resource_info`: what a texture is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceInfo {
    pub handle: u32,
    pub virgl_format: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    pub flags: u32,
    pub tex_id: u32,
    pub stride: u32,
    pub drm_fourcc: c_int,
    /// From 1.0 on, and not set.
    pub fd: c_int,
}

/// `struct virgl_renderer_resource_info_ext`, from 1.0 on.
#[repr(C)]
pub struct ResourceInfoExt {
    pub version: c_int,
    pub base: ResourceInfo,
    pub has_dmabuf_export: u8,
    pub planes: c_int,
    pub modifiers: u64,
    pub d3d_tex2d: *mut c_void,
}

/// `struct virgl_renderer_resource_create_blob_args`.
#[repr(C)]
pub struct CreateBlobArgs {
    pub res_handle: u32,
    pub ctx_id: u32,
    pub blob_mem: u32,
    pub blob_flags: u32,
    pub blob_id: u64,
    pub size: u64,
    pub iovecs: *const libc::iovec,
    pub num_iovs: u32,
}

/// `struct virgl_renderer_resource_import_blob_args`.
#[repr(C)]
pub struct ImportBlobArgs {
    pub res_handle: u32,
    pub blob_mem: u32,
    pub fd_type: u32,
    pub fd: c_int,
    pub size: u64,
}

/// `struct virgl_box`.
#[repr(C)]
pub struct VirglBox {
    pub x: u32,
    pub y: u32,
    pub z: u32,
    pub w: u32,
    pub h: u32,
    pub d: u32,
}

impl From<&Box3d> for VirglBox {
    fn from(area: &Box3d) -> Self {
        let Box3d { x, y, z, w, h, d } = area.to_owned();
        Self { x: x.get(), y: y.get(), z: z.get(), w: w.get(), h: h.get(), d: d.get() }
    }
}

pub type Transfer = unsafe extern "C" fn(u32, u32, c_int, u32, u32, *mut VirglBox, u64, *mut libc::iovec, c_int) -> c_int;

/// The functions, each with the type that `virglrenderer.h` gives it.
pub struct Functions {
    pub init: Symbol<unsafe extern "C" fn(*mut c_void, c_int, *const Callbacks) -> c_int>,
    pub cleanup: Symbol<unsafe extern "C" fn(*mut c_void)>,
    pub poll: Symbol<unsafe extern "C" fn()>,
    pub get_cap_set: Symbol<unsafe extern "C" fn(u32, *mut u32, *mut u32)>,
    pub fill_caps: Symbol<unsafe extern "C" fn(u32, u32, *mut c_void)>,
    pub context_create: Symbol<unsafe extern "C" fn(u32, u32, u32, *const c_char) -> c_int>,
    pub context_destroy: Symbol<unsafe extern "C" fn(u32)>,
    pub submit: Symbol<unsafe extern "C" fn(*mut c_void, c_int, c_int) -> c_int>,
    pub attach: Symbol<unsafe extern "C" fn(c_int, c_int)>,
    pub detach: Symbol<unsafe extern "C" fn(c_int, c_int)>,
    pub resource_create: Symbol<unsafe extern "C" fn(*mut CreateArgs, *mut libc::iovec, u32) -> c_int>,
    pub resource_unref: Symbol<unsafe extern "C" fn(u32)>,
    pub attach_iov: Symbol<unsafe extern "C" fn(c_int, *const libc::iovec, c_int) -> c_int>,
    pub detach_iov: Symbol<unsafe extern "C" fn(c_int, *mut *mut libc::iovec, *mut c_int)>,
    pub transfer_read: Symbol<Transfer>,
    pub transfer_write: Symbol<Transfer>,
    pub create_fence: Symbol<unsafe extern "C" fn(c_int, u32) -> c_int>,
    pub context_create_fence: Symbol<unsafe extern "C" fn(u32, u32, u32, u64) -> c_int>,
    pub create_blob: Symbol<unsafe extern "C" fn(*const CreateBlobArgs) -> c_int>,
    pub import_blob: Symbol<unsafe extern "C" fn(*const ImportBlobArgs) -> c_int>,
    pub export_blob: Symbol<unsafe extern "C" fn(u32, *mut u32, *mut c_int) -> c_int>,
    pub map_info: Symbol<unsafe extern "C" fn(u32, *mut u32) -> c_int>,
    pub get_info: Symbol<unsafe extern "C" fn(c_int, *mut ResourceInfo) -> c_int>,
    /// From 1.0 on.
    pub get_info_ext: Option<Symbol<unsafe extern "C" fn(c_int, *mut ResourceInfoExt) -> c_int>>,
    pub force_ctx_0: Symbol<unsafe extern "C" fn()>,
    pub get_fd_for_texture2: Symbol<unsafe extern "C" fn(u32, *mut c_int, *mut c_int, *mut c_int) -> c_int>,
    /// What they are of, which goes last.
    pub _library: Shared,
}

impl Functions {
    pub fn load() -> Result<Self, libloading::Error> {
        // SAFETY: the library runs code when it is loaded, as every VMM with virglrenderer trusts it to.
        let library = unsafe { Shared::open(Some(LIBRARY), RTLD_NOW | RTLD_LOCAL) }?;
        /// A function by its name.
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the field's type is what `virglrenderer.h` says of this name, from 0.10 on.
                unsafe { library.get($name) }?
            };
        }
        Ok(Self {
            init: function!(b"virgl_renderer_init\0"),
            cleanup: function!(b"virgl_renderer_cleanup\0"),
            poll: function!(b"virgl_renderer_poll\0"),
            get_cap_set: function!(b"virgl_renderer_get_cap_set\0"),
            fill_caps: function!(b"virgl_renderer_fill_caps\0"),
            context_create: function!(b"virgl_renderer_context_create_with_flags\0"),
            context_destroy: function!(b"virgl_renderer_context_destroy\0"),
            submit: function!(b"virgl_renderer_submit_cmd\0"),
            attach: function!(b"virgl_renderer_ctx_attach_resource\0"),
            detach: function!(b"virgl_renderer_ctx_detach_resource\0"),
            resource_create: function!(b"virgl_renderer_resource_create\0"),
            resource_unref: function!(b"virgl_renderer_resource_unref\0"),
            attach_iov: function!(b"virgl_renderer_resource_attach_iov\0"),
            detach_iov: function!(b"virgl_renderer_resource_detach_iov\0"),
            transfer_read: function!(b"virgl_renderer_transfer_read_iov\0"),
            transfer_write: function!(b"virgl_renderer_transfer_write_iov\0"),
            create_fence: function!(b"virgl_renderer_create_fence\0"),
            context_create_fence: function!(b"virgl_renderer_context_create_fence\0"),
            create_blob: function!(b"virgl_renderer_resource_create_blob\0"),
            import_blob: function!(b"virgl_renderer_resource_import_blob\0"),
            export_blob: function!(b"virgl_renderer_resource_export_blob\0"),
            map_info: function!(b"virgl_renderer_resource_get_map_info\0"),
            get_info: function!(b"virgl_renderer_resource_get_info\0"),
            // SAFETY: the type is what the header says of this name, from 1.0 on.
            get_info_ext: unsafe { library.get(b"virgl_renderer_resource_get_info_ext\0") }.ok(),
            force_ctx_0: function!(b"virgl_renderer_force_ctx_0\0"),
            get_fd_for_texture2: function!(b"virgl_renderer_get_fd_for_texture2\0"),
            _library: library,
        })
    }
}

const _: () = {
    assert!(size_of::<Callbacks>() == 72 && size_of::<CreateArgs>() == 44);
    assert!(size_of::<ResourceInfo>() == 40 && size_of::<ResourceInfoExt>() == 72);
    assert!(size_of::<CreateBlobArgs>() == 48 && size_of::<ImportBlobArgs>() == 24 && size_of::<VirglBox>() == 24);
    assert!(size_of::<c_uint>() == size_of::<c_int>());
};
