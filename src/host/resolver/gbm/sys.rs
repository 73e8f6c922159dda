//! The host's own libgbm, loaded when the program runs: `gbm.h` as methods. Mesa's is not safe with several threads on one device,
//! so each call holds the device's lock.

#![allow(unsafe_code)]

use drm::control::Device as _;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// `GBM_BO_USE_*`.
pub const USE_SCANOUT: u32 = 1;
pub const USE_RENDERING: u32 = 1 << 2;
pub const USE_LINEAR: u32 = 1 << 4;
/// `GBM_BO_TRANSFER_*`.
const TRANSFER_READ: u32 = 1;
const TRANSFER_WRITE: u32 = 2;

const LIBRARY: &str = "libgbm.so.1";

/// `DRM_MAJOR`: the first number of every DRM node.
const DRM_MAJOR: u32 = 226;

/// Why there is no such device.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{LIBRARY}: {0}")]
    Library(#[from] libloading::Error),
    #[error("the node: {0}")]
    Node(#[from] io::Error),
    #[error("it is no DRM node")]
    NoDrm,
    #[error("libgbm has no driver for it")]
    NoDriver,
}

/// One of libgbm's pointers.
type Raw = *mut c_void;

/// The functions of one library, each with the type that `gbm.h` gives it.
struct Functions {
    create_device: Symbol<unsafe extern "C" fn(c_int) -> Raw>,
    device_destroy: Symbol<unsafe extern "C" fn(Raw)>,
    backend_name: Symbol<unsafe extern "C" fn(Raw) -> *const c_char>,
    create: Symbol<unsafe extern "C" fn(Raw, u32, u32, u32, u32) -> Raw>,
    create_with_modifiers: Symbol<unsafe extern "C" fn(Raw, u32, u32, u32, *const u64, u32, u32) -> Raw>,
    destroy: Symbol<unsafe extern "C" fn(Raw)>,
    plane_count: Symbol<unsafe extern "C" fn(Raw) -> c_int>,
    stride: Symbol<unsafe extern "C" fn(Raw, c_int) -> u32>,
    offset: Symbol<unsafe extern "C" fn(Raw, c_int) -> u32>,
    modifier: Symbol<unsafe extern "C" fn(Raw) -> u64>,
    handle_for_plane: Symbol<unsafe extern "C" fn(Raw, c_int) -> u64>,
    map: Symbol<unsafe extern "C" fn(Raw, u32, u32, u32, u32, u32, *mut u32, *mut *mut c_void) -> *mut c_void>,
    unmap: Symbol<unsafe extern "C" fn(Raw, *mut c_void)>,
    /// What they are of, which goes last.
    _library: Library,
}

impl Functions {
    fn load() -> Result<Self, libloading::Error> {
        // SAFETY: the library runs code when it is loaded, as every program with libgbm trusts it to.
        let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_LOCAL) }?;
        /// A function by its name.
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the field's type is what `gbm.h` says of this name.
                unsafe { library.get($name) }?
            };
        }
        Ok(Self {
            create_device: function!(b"gbm_create_device\0"),
            device_destroy: function!(b"gbm_device_destroy\0"),
            backend_name: function!(b"gbm_device_get_backend_name\0"),
            create: function!(b"gbm_bo_create\0"),
            create_with_modifiers: function!(b"gbm_bo_create_with_modifiers2\0"),
            destroy: function!(b"gbm_bo_destroy\0"),
            plane_count: function!(b"gbm_bo_get_plane_count\0"),
            stride: function!(b"gbm_bo_get_stride_for_plane\0"),
            offset: function!(b"gbm_bo_get_offset\0"),
            modifier: function!(b"gbm_bo_get_modifier\0"),
            handle_for_plane: function!(b"gbm_bo_get_handle_for_plane\0"),
            map: function!(b"gbm_bo_map\0"),
            unmap: function!(b"gbm_bo_unmap\0"),
            _library: library,
        })
    }
}

/// A device of libgbm.
pub struct GbmDevice {
    functions: Functions,
    raw: NonNull<c_void>,
    /// Held around each call.
    order: Mutex<()>,
    live: AtomicUsize,
    node: Node,
}

/// The open DRM node.
struct Node(File);

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Node {}
impl drm::control::Device for Node {}

// SAFETY: the pointer is used with the lock held only.
unsafe impl Send for GbmDevice {}
// SAFETY: the same.
unsafe impl Sync for GbmDevice {}

/// Buffers to be made.
#[derive(Clone, Copy, Debug)]
pub struct BufferSpec {
    pub fourcc: u32,
    pub width: u32,
    pub height: u32,
    /// `GBM_BO_USE_*`.
    pub flags: u32,
    /// `None` leaves it to the driver.
    pub modifier: Option<u64>,
}

impl GbmDevice {
    /// Opens a DRM node.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let functions = Functions::load()?;
        let node = File::options().read(true).write(true).open(path)?;
        // Mesa draws in software on whatever it does not know.
        if rustix::fs::major(node.metadata()?.st_rdev()) != DRM_MAJOR {
            return Err(OpenError::NoDrm);
        }
        // SAFETY: the descriptor is open for as long as the device.
        let raw = unsafe { (functions.create_device)(node.as_raw_fd()) };
        let raw = NonNull::new(raw).ok_or(OpenError::NoDriver)?;
        Ok(Self { functions, raw, order: Mutex::default(), live: AtomicUsize::new(0), node: Node(node) })
    }

    /// For EGL's platform of that name.
    pub const fn as_ptr(&self) -> *mut c_void {
        self.raw.as_ptr()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The backend's name.
    pub fn backend_name(&self) -> String {
        let _order = self.lock();
        // SAFETY: the device lives.
        let name = unsafe { (self.functions.backend_name)(self.raw.as_ptr()) };
        if name.is_null() {
            return String::new();
        }
        // SAFETY: it is a string with an end, which lives as long as the device.
        unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
    }

    /// How many buffers there are.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Makes a buffer.
    pub fn create(self: &Arc<Self>, spec: &BufferSpec) -> io::Result<GbmBuffer> {
        let BufferSpec { fourcc, width, height, flags, modifier } = *spec;
        let (device, order) = (self.raw.as_ptr(), self.lock());
        let raw = match &modifier {
            // SAFETY: the device lives, and the list has one entry.
            Some(one) => unsafe { (self.functions.create_with_modifiers)(device, width, height, fourcc, one, 1, flags) },
            // SAFETY: the device lives.
            None => unsafe { (self.functions.create)(device, width, height, fourcc, flags) },
        };
        let raw = NonNull::new(raw).ok_or_else(io::Error::last_os_error)?;
        drop(order);
        self.live.fetch_add(1, Ordering::Relaxed);
        Ok(GbmBuffer { device: self.clone(), raw, height })
    }
}

impl Drop for GbmDevice {
    fn drop(&mut self) {
        // SAFETY: its buffers held it, so all of them are gone.
        unsafe { (self.functions.device_destroy)(self.raw.as_ptr()) };
    }
}

/// A buffer of libgbm.
pub struct GbmBuffer {
    device: Arc<GbmDevice>,
    raw: NonNull<c_void>,
    height: u32,
}

// SAFETY: the pointer is used with the device's lock held only.
unsafe impl Send for GbmBuffer {}
// SAFETY: the same.
unsafe impl Sync for GbmBuffer {}

/// Where a plane lies, as the driver says, and its descriptor.
#[derive(Debug)]
pub struct GbmPlane {
    pub stride_bytes: u32,
    pub offset_bytes: u32,
    pub fd: OwnedFd,
}

impl GbmBuffer {
    /// The modifier that the driver took.
    pub fn modifier(&self) -> u64 {
        let _order = self.device.lock();
        // SAFETY: the buffer lives.
        unsafe { (self.device.functions.modifier)(self.raw.as_ptr()) }
    }

    /// Its planes, each with a descriptor of its own, which the kernel gives for reading and writing; libgbm gives some for reading only.
    pub fn planes(&self) -> io::Result<Vec<GbmPlane>> {
        let _order = self.device.lock();
        let (raw, functions) = (self.raw.as_ptr(), &self.device.functions);
        // SAFETY: the buffer lives.
        let count = unsafe { (functions.plane_count)(raw) };
        let plane = |index: c_int| {
            // SAFETY: the buffer lives, and has this plane. The union is one of 64 bits, whose low half is a handle of the kernel.
            let handle = unsafe { (functions.handle_for_plane)(raw, index) } as u32;
            let handle = NonZeroU32::new(handle).filter(|handle| handle.get() as i32 != -1).ok_or(io::ErrorKind::InvalidData)?;
            let fd = self.device.node.buffer_to_prime_fd(handle.into(), drm::CLOEXEC | drm::RDWR)?;
            // SAFETY: the buffer lives, and has this plane.
            let stride_bytes = unsafe { (functions.stride)(raw, index) };
            // SAFETY: the same.
            let offset_bytes = unsafe { (functions.offset)(raw, index) };
            Ok(GbmPlane { stride_bytes, offset_bytes, fd })
        };
        (0..count.clamp(0, 4)).map(plane).collect()
    }

    /// Maps a buffer of one plane, whose rows have so many pixels and bytes, through the driver: rows whatever the modifier.
    pub fn map(&self, width: u32, row_bytes: usize, write: bool) -> io::Result<GbmMapping<'_>> {
        let order = self.device.lock();
        let flags = if write { TRANSFER_READ | TRANSFER_WRITE } else { TRANSFER_READ };
        let (mut stride_bytes, mut token) = (0, std::ptr::null_mut());
        let (raw, height) = (self.raw.as_ptr(), self.height);
        // SAFETY: the buffer lives, and the rectangle is all of it.
        let mapped = unsafe { (self.device.functions.map)(raw, 0, 0, width, height, flags, &mut stride_bytes, &mut token) };
        let start = NonNull::new(mapped.cast::<u8>()).filter(|start| start.as_ptr() as isize != -1);
        let start = start.ok_or_else(io::Error::last_os_error)?;
        Ok(GbmMapping { buffer: self, start, stride_bytes, row_bytes, token, _order: order, _bytes: PhantomData })
    }
}

impl Drop for GbmBuffer {
    fn drop(&mut self) {
        let _order = self.device.lock();
        // SAFETY: nothing of it is mapped, since mappings borrow it, and nobody else knows the pointer.
        unsafe { (self.device.functions.destroy)(self.raw.as_ptr()) };
        self.device.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A mapping, which holds the device's lock.
pub struct GbmMapping<'a> {
    buffer: &'a GbmBuffer,
    start: NonNull<u8>,
    stride_bytes: u32,
    row_bytes: usize,
    token: *mut c_void,
    _order: MutexGuard<'a, ()>,
    _bytes: PhantomData<&'a [u8]>,
}

impl GbmMapping<'_> {
    /// The place of a row, when a row of `length` bytes fits there.
    fn row(&self, row: u32, length: usize) -> Option<*mut u8> {
        let fits = row < self.buffer.height && length <= self.row_bytes.min(self.stride_bytes as usize);
        let at = usize::try_from(row).ok()?.checked_mul(self.stride_bytes as usize).filter(|_| fits)?;
        // SAFETY: the mapping has `height` rows of `stride_bytes`, but for the padding of the last.
        Some(unsafe { self.start.as_ptr().add(at) })
    }

    /// Reads the start of a row.
    pub fn read_row(&self, row: u32, bytes: &mut [u8]) -> Option<()> {
        let from = self.row(row, bytes.len())?;
        // SAFETY: the row is inside, as was checked, and a slice of ours does not overlap it.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Some(())
    }

    /// Writes the start of a row.
    pub fn write_row(&self, row: u32, bytes: &[u8]) -> Option<()> {
        let to = self.row(row, bytes.len())?;
        // SAFETY: as in `read_row`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Some(())
    }
}

impl Drop for GbmMapping<'_> {
    fn drop(&mut self) {
        // SAFETY: the token is that of this mapping, which ends here; the lock is held.
        unsafe { (self.buffer.device.functions.unmap)(self.buffer.raw.as_ptr(), self.token) };
    }
}
