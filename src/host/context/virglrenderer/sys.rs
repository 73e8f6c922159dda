//! libvirglrenderer, loaded when the program runs: `virglrenderer.h` as methods. It keeps all of its state in the process and draws
//! with one thread's GL contexts, so there is one [`Library`] at a time, and the thread that opened it does everything.

#![allow(unsafe_code)]

mod abi;

use super::fences::Fences;
use super::{Kinds, OpenError};
use crate::host::renderer::{Direction, RenderError, RendererCapset};
use crate::sys::host_pages::HostPages;
use crate::wire::virgl::PipeResourceCreate;
use crate::wire::virtio_gpu::{BLOB_MEM_GUEST, BLOB_MEM_HOST3D, Box3d, TransferHost3d};
use crate::{Format, Modifier};
use abi::{Callbacks, CreateArgs, CreateBlobArgs, Functions, ImportBlobArgs, ResourceInfo, ResourceInfoExt, VirglBox, flag};
use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// `VIRGL_RENDERER_BLOB_FD_TYPE_*`.
pub const FD_TYPE_DMABUF: u32 = 1;
pub const FD_TYPE_SHM: u32 = 3;

/// `VIRGL_RENDERER_MAP_CACHE_MASK`.
const MAP_CACHE_MASK: u32 = 0xf;

/// Whether the process has one.
static OPEN: AtomicBool = AtomicBool::new(false);

/// What the callbacks get.
struct Cookie {
    fences: Arc<Fences>,
    node: Option<PathBuf>,
}

/// A fence of the device's own timeline was reached.
unsafe extern "C" fn write_fence(cookie: *mut c_void, fence: u32) {
    // SAFETY: the library gives back what `init` got, which lives until `cleanup` has ended all of its threads.
    let cookie = unsafe { &*cookie.cast::<Cookie>() };
    cookie.fences.reached_global(fence);
}

/// A fence of a context's ring was reached.
unsafe extern "C" fn write_context_fence(cookie: *mut c_void, ctx_id: u32, ring_idx: u32, fence: u64) {
    // SAFETY: as in `write_fence`.
    let cookie = unsafe { &*cookie.cast::<Cookie>() };
    cookie.fences.reached_ring(ctx_id, ring_idx, fence);
}

/// A new descriptor of the render node, which the library will close; -1 where it shall do without.
unsafe extern "C" fn get_drm_fd(cookie: *mut c_void) -> c_int {
    // SAFETY: as in `write_fence`.
    let cookie = unsafe { &*cookie.cast::<Cookie>() };
    let open = |node| File::options().read(true).write(true).open(node);
    cookie.node.as_ref().and_then(|node| open(node).ok()).map_or(-1, IntoRawFd::into_raw_fd)
}

/// Guest pages in the form that the library takes. It keeps the address of the list.
pub struct PageList {
    list: Box<[libc::iovec]>,
    _pages: Vec<HostPages>,
}

// SAFETY: the addresses in the list are those of the pages, which are of the process and not of a thread.
unsafe impl Send for PageList {}

impl PageList {
    pub fn new(pages: Vec<HostPages>) -> Self {
        let entry = |pages: &HostPages| libc::iovec { iov_base: pages.as_ptr().cast(), iov_len: pages.len() };
        Self { list: pages.iter().map(entry).collect(), _pages: pages }
    }
}

/// What a texture is.
#[derive(Clone, Copy, Debug)]
pub struct TextureInfo {
    /// `VIRGL_FORMAT_*`.
    pub format: u32,
    /// In texels.
    pub width: u32,
    /// In texels.
    pub height: u32,
    /// In texels.
    pub depth: u32,
    /// GL's name of it.
    pub tex_id: u32,
    /// What its memory has: GL may keep texels in another order than the guest has asked for.
    pub exported_format: Format,
    /// How its memory is laid out, INVALID where the library does not say.
    pub modifier: Modifier,
}

/// A texture that leaves as a dma-buf.
pub struct ExportedTexture {
    /// The dma-buf.
    pub fd: OwnedFd,
    /// Of its only plane.
    pub stride_bytes: u32,
    /// Of its only plane.
    pub offset_bytes: u32,
}

/// The library, open. It stays on the thread that opened it.
pub struct Library {
    functions: Functions,
    /// Boxes that the library points to.
    cookie: *mut Cookie,
    callbacks: *mut Callbacks,
    /// The context of GL that was drawn in last, 0 for the library's own.
    last_drawn: Cell<u32>,
    _not_send: PhantomData<*mut ()>,
}

/// What a call says: 0, or an errno, with either sign.
fn check(call: &'static str, id: u32, code: c_int) -> Result<(), RenderError> {
    match code {
        0 => Ok(()),
        code => Err(RenderError::Refused { call, id, error: io::Error::from_raw_os_error(code.saturating_abs()).to_string() }),
    }
}

/// How many there are, for the library's signed numbers.
fn count(length: usize) -> c_int {
    c_int::try_from(length).unwrap_or(c_int::MAX)
}

impl Library {
    /// Loads and starts the library for these kinds of contexts, on a render node, or without any where there is none.
    pub fn open(kinds: Kinds, node: Option<PathBuf>, fences: Arc<Fences>) -> Result<Self, OpenError> {
        if let Some(path) = &node {
            File::options()
                .read(true)
                .write(true)
                .open(path)
                .map_err(|error| OpenError::Node(path.clone(), error.to_string()))?;
        }
        let functions = Functions::load().map_err(|error| OpenError::Library(error.to_string()))?;
        if OPEN.swap(true, Ordering::AcqRel) {
            return Err(OpenError::Twice);
        }
        let mut flags = flag::THREAD_SYNC | flag::ASYNC_FENCE_CB | flag::USE_EXTERNAL_BLOB;
        flags |= if kinds.contains(Kinds::VIRGL) { flag::USE_EGL } else { flag::NO_VIRGL };
        if node.is_none() {
            flags |= flag::USE_SURFACELESS;
        }
        if kinds.contains(Kinds::VENUS) {
            flags |= flag::VENUS | flag::RENDER_SERVER;
        }
        if kinds.contains(Kinds::DRM) {
            flags |= flag::DRM;
        }
        let cookie = Box::into_raw(Box::new(Cookie { fences, node }));
        let callbacks = Box::into_raw(Box::new(Callbacks {
            version: 3,
            write_fence,
            create_gl_context: null(),
            destroy_gl_context: null(),
            make_current: null(),
            get_drm_fd,
            write_context_fence,
            get_server_fd: null(),
            get_egl_display: null(),
        }));
        // Before the call: when that fails, the library has cleaned up, and what it pointed to goes here.
        let library = Self { functions, cookie, callbacks, last_drawn: Cell::new(0), _not_send: PhantomData };
        // SAFETY: cookie and callbacks live until `drop` has called `cleanup`; no other library is open, by `OPEN`.
        let code = unsafe { (library.functions.init)(cookie.cast(), flags, callbacks) };
        if code == 0 { Ok(library) } else { Err(OpenError::Init(code)) }
    }

    /// The functions, with the library's own context of GL current. What is asked for outside of a context's stream works in whichever
    /// is current, and a new context stays current without the library remembering that: the next stream would go there. QEMU and
    /// crosvm call this before each command.
    fn in_context_0(&self) -> &Functions {
        // SAFETY: no arguments; it does nothing where there is no GL.
        unsafe { (self.functions.force_ctx_0)() };
        &self.functions
    }

    /// The capset under a number, where the library has it.
    pub fn capset(&self, id: u32) -> Option<RendererCapset> {
        let (mut version, mut size) = (0, 0);
        // SAFETY: the library writes two numbers.
        unsafe { (self.functions.get_cap_set)(id, &raw mut version, &raw mut size) };
        if size == 0 {
            return None;
        }
        let mut bytes = vec![0u8; size as usize];
        // SAFETY: the library writes as many bytes as it has said.
        unsafe { (self.functions.fill_caps)(id, version, bytes.as_mut_ptr().cast()) };
        // Nothing is filled in for kinds that were not started.
        bytes.iter().any(|byte| *byte != 0).then_some(RendererCapset { id, version, bytes })
    }

    pub fn create_context(&self, id: u32, capset_id: u32, name: &str) -> Result<(), RenderError> {
        let name = CString::new(name).unwrap_or_default();
        let length = name.as_bytes().len() as u32;
        // SAFETY: the name has as many bytes, and an end.
        let code = unsafe { (self.functions.context_create)(id, capset_id, length, name.as_ptr()) };
        self.in_context_0();
        check("context_create", id, code)
    }

    pub fn destroy_context(&self, id: u32) {
        if self.last_drawn.get() == id {
            self.last_drawn.set(0);
        }
        // SAFETY: a number that the library does not know does nothing.
        unsafe { (self.functions.context_destroy)(id) };
    }

    /// What fences of GL are behind from now on: this context, or the library's own.
    pub fn draws_in(&self, ctx_id: u32) {
        self.last_drawn.set(ctx_id);
    }

    /// Executes a stream of whole dwords; of 64 bits each, since some contexts want them aligned so.
    pub fn submit(&self, ctx_id: u32, mut stream: Vec<u64>, dwords: usize) -> Result<(), RenderError> {
        let dwords = count(dwords.min(stream.len() * 2));
        // SAFETY: the stream has that many dwords, and nobody else knows it.
        let code = unsafe { (self.functions.submit)(stream.as_mut_ptr().cast(), ctx_id.cast_signed(), dwords) };
        check("submit_cmd", ctx_id, code)
    }

    pub fn attach(&self, ctx_id: u32, resource_id: u32) {
        // SAFETY: numbers that the library does not know do nothing.
        unsafe { (self.functions.attach)(ctx_id.cast_signed(), resource_id.cast_signed()) };
    }

    pub fn detach(&self, ctx_id: u32, resource_id: u32) {
        // SAFETY: as above.
        unsafe { (self.functions.detach)(ctx_id.cast_signed(), resource_id.cast_signed()) };
    }

    /// Makes a texture or buffer under a number that must be free.
    pub fn create_resource(&self, id: u32, texture: &PipeResourceCreate) -> Result<(), RenderError> {
        let mut args = CreateArgs {
            handle: id,
            target: texture.target.get(),
            format: texture.format.get(),
            bind: texture.bind.get(),
            width: texture.width.get(),
            height: texture.height.get(),
            depth: texture.depth.get(),
            array_size: texture.array_size.get(),
            last_level: texture.last_level.get(),
            nr_samples: texture.nr_samples.get(),
            flags: texture.flags.get(),
        };
        // SAFETY: the arguments are whole, and there are no pages.
        check("resource_create", id, unsafe { (self.in_context_0().resource_create)(&raw mut args, null_mut(), 0) })
    }

    /// Forgets a resource. Its pages must outlive this call.
    pub fn unref_resource(&self, id: u32) {
        self.detach_pages(id);
        // SAFETY: a number that the library does not know does nothing.
        unsafe { (self.in_context_0().resource_unref)(id) };
    }

    /// Gives a resource its pages, which must live until they are detached or the resource is forgotten.
    pub fn attach_pages(&self, id: u32, pages: &PageList) -> Result<(), RenderError> {
        let (list, length) = (pages.list.as_ptr(), count(pages.list.len()));
        // SAFETY: the list has that many entries of mapped memory; the caller keeps both.
        check("resource_attach_iov", id, unsafe { (self.functions.attach_iov)(id.cast_signed(), list, length) })
    }

    pub fn detach_pages(&self, id: u32) {
        // SAFETY: the library may leave out what it would write; a number that it does not know does nothing.
        unsafe { (self.functions.detach_iov)(id.cast_signed(), null_mut(), null_mut()) };
    }

    /// A transfer between a resource and its own pages.
    pub fn transfer(&self, direction: Direction, id: u32, ctx_id: u32, transfer: &TransferHost3d) -> Result<(), RenderError> {
        let (call, name) = match direction {
            Direction::ToHost => (&self.functions.transfer_write, "transfer_write_iov"),
            Direction::FromHost => (&self.functions.transfer_read, "transfer_read_iov"),
        };
        let mut area = VirglBox::from(&transfer.area);
        let (level, offset) = (transfer.level.get().cast_signed(), transfer.offset.get());
        let (stride, layer_stride) = (transfer.stride.get(), transfer.layer_stride.get());
        self.last_drawn.set(ctx_id);
        // SAFETY: the box is whole; without a list the library uses the resource's own pages, and checks the range against them.
        let code = unsafe { call(id, ctx_id, level, stride, layer_stride, &raw mut area, offset, null_mut(), 0) };
        check(name, id, code)
    }

    /// Reads a box of a texture's first level into bytes, rows with this stride.
    pub fn read(&self, id: u32, area: &Box3d, stride_bytes: u32, bytes: &mut [u8]) -> Result<(), RenderError> {
        let mut list = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut area = VirglBox::from(area);
        // SAFETY: box and list are whole, the list's entry is exclusive, and the library checks the range against it.
        let code = unsafe { (self.functions.transfer_read)(id, 0, 0, stride_bytes, 0, &raw mut area, 0, &raw mut list, 1) };
        check("transfer_read_iov", id, code)
    }

    /// A fence behind all that was submitted; the callback tells when.
    pub fn create_fence(&self, fence: u32) -> Result<(), RenderError> {
        // The library makes it in the context of GL that is current, which a look at the screen may have changed: a stream of nothing
        // changes it back.
        match self.last_drawn.get() {
            0 => {
                self.in_context_0();
            }
            // A context that has failed refuses, and draws nothing either.
            ctx_id => self.submit(ctx_id, vec![0], 0).unwrap_or_default(),
        }
        // SAFETY: numbers only.
        check("create_fence", fence, unsafe { (self.functions.create_fence)(fence.cast_signed(), 0) })
    }

    /// The same for one ring of a context.
    pub fn create_ring_fence(&self, ctx_id: u32, ring_idx: u32, fence: u64) -> Result<(), RenderError> {
        // SAFETY: numbers only; the callbacks have what this fence is told by.
        check("context_create_fence", ctx_id, unsafe { (self.functions.context_create_fence)(ctx_id, 0, ring_idx, fence) })
    }

    /// Lets the library look for fences that were reached, where no thread of its own does.
    pub fn poll(&self) {
        // SAFETY: no arguments.
        unsafe { (self.functions.poll)() };
    }

    /// Makes a blob of the host's memory under a number that must be free.
    pub fn create_blob(&self, id: u32, ctx_id: u32, blob_id: u64, flags: u32, size: u64) -> Result<(), RenderError> {
        let (blob_mem, iovecs) = (BLOB_MEM_HOST3D, null());
        let args = CreateBlobArgs { res_handle: id, ctx_id, blob_mem, blob_flags: flags, blob_id, size, iovecs, num_iovs: 0 };
        // SAFETY: the arguments are whole, and there are no pages.
        check("resource_create_blob", id, unsafe { (self.in_context_0().create_blob)(&raw const args) })
    }

    /// Makes a blob of the guest's pages, which the caller keeps, under a number that must be free.
    pub fn create_guest_blob(&self, id: u32, pages: &PageList, size: u64) -> Result<(), RenderError> {
        let (iovecs, num_iovs) = (pages.list.as_ptr(), count(pages.list.len()).cast_unsigned());
        let blob_mem = BLOB_MEM_GUEST;
        let args = CreateBlobArgs { res_handle: id, ctx_id: 0, blob_mem, blob_flags: 0, blob_id: 0, size, iovecs, num_iovs };
        // SAFETY: the arguments are whole, and the list has that many entries of mapped memory.
        check("resource_create_blob", id, unsafe { (self.in_context_0().create_blob)(&raw const args) })
    }

    /// Makes a dma-buf known under a number that must be free.
    pub fn import_dma_buf(&self, id: u32, fd: OwnedFd, size: u64) -> Result<(), RenderError> {
        let fd = fd.into_raw_fd();
        let args = ImportBlobArgs { res_handle: id, blob_mem: BLOB_MEM_HOST3D, fd_type: FD_TYPE_DMABUF, fd, size };
        // SAFETY: the arguments are whole; the library takes the descriptor unless it refuses them.
        let code = unsafe { (self.in_context_0().import_blob)(&raw const args) };
        if code.saturating_abs() == libc::EINVAL {
            // SAFETY: arguments that are refused leave the descriptor to the caller.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        check("resource_import_blob", id, code)
    }

    /// A descriptor of a resource, and what it is; of a flat texture too where EGL lets it leave.
    pub fn export(&self, id: u32, is_flat: bool) -> Result<(OwnedFd, u32), RenderError> {
        self.export_blob(id).or_else(|refused| {
            let texture = is_flat.then(|| self.texture(id)).flatten();
            let exported = texture.and_then(|texture| self.export_texture(texture.tex_id));
            exported.map(|exported| (exported.fd, FD_TYPE_DMABUF)).ok_or(refused)
        })
    }

    /// A descriptor of what contexts elsewhere can have of a resource, and what it is.
    pub fn export_blob(&self, id: u32) -> Result<(OwnedFd, u32), RenderError> {
        let (mut kind, mut fd) = (0, -1);
        // SAFETY: the library writes two numbers.
        let code = unsafe { (self.functions.export_blob)(id, &raw mut kind, &raw mut fd) };
        check("resource_export_blob", id, if code == 0 && fd < 0 { libc::EBADF } else { code })?;
        // SAFETY: the descriptor is new and the caller's.
        Ok((unsafe { OwnedFd::from_raw_fd(fd) }, kind))
    }

    /// What a resource is that is known to be a flat texture. Of a buffer this would have GL's name of a buffer, which may be that of
    /// anybody's texture.
    pub fn texture(&self, id: u32) -> Option<TextureInfo> {
        let mut info = ResourceInfoExt {
            version: 0,
            base: ResourceInfo::default(),
            has_dmabuf_export: 0,
            planes: 0,
            modifiers: Modifier::INVALID.value(),
            d3d_tex2d: null_mut(),
        };
        // What it says is no matter: formats without a fourcc are an error after all has been told.
        let functions = self.in_context_0();
        match &functions.get_info_ext {
            // SAFETY: the library writes one structure, which is whole.
            Some(get_info_ext) => unsafe { get_info_ext(id.cast_signed(), &raw mut info) },
            // SAFETY: the same.
            None => unsafe { (functions.get_info)(id.cast_signed(), &raw mut info.base) },
        };
        let ResourceInfo { virgl_format, width, height, depth, tex_id, drm_fourcc, .. } = info.base;
        let (exported_format, modifier) = (Format::from_fourcc(drm_fourcc.cast_unsigned()), Modifier::new(info.modifiers));
        (tex_id != 0).then_some(TextureInfo { format: virgl_format, width, height, depth, tex_id, exported_format, modifier })
    }

    /// A texture as EGL lets it leave, where it does and has one plane.
    pub fn export_texture(&self, tex_id: u32) -> Option<ExportedTexture> {
        let (mut fds, mut strides, mut offsets) = ([-1; 4], [0; 4], [0; 4]);
        let (fds_out, strides_out, offsets_out) = (fds.as_mut_ptr(), strides.as_mut_ptr(), offsets.as_mut_ptr());
        // SAFETY: EGL writes an entry for each plane, of which no format has more than four.
        let code = unsafe { (self.in_context_0().get_fd_for_texture2)(tex_id, fds_out, strides_out, offsets_out) };
        let exported = fds.map(|fd| {
            // SAFETY: the descriptors are new and the caller's.
            (code == 0 && fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
        });
        let ([Some(fd), None, None, None], [stride, ..], [offset, ..]) = (exported, strides, offsets) else { return None };
        Some(ExportedTexture { fd, stride_bytes: stride.try_into().ok()?, offset_bytes: offset.try_into().ok()? })
    }

    /// How a mapping may be cached, 0 where the library does not say.
    pub fn map_info(&self, id: u32) -> u32 {
        let mut info = 0;
        // SAFETY: the library writes a number.
        let code = unsafe { (self.functions.map_info)(id, &raw mut info) };
        if code == 0 { info & MAP_CACHE_MASK } else { 0 }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: on the thread that opened it, by the type; all of its threads end in this call.
        unsafe { (self.functions.cleanup)(self.cookie.cast()) };
        // SAFETY: from `Box::into_raw`, and the library has forgotten it.
        drop(unsafe { Box::from_raw(self.callbacks) });
        // SAFETY: the same.
        drop(unsafe { Box::from_raw(self.cookie) });
        OPEN.store(false, Ordering::Release);
    }
}
