//! The device, its questions, and the table of functions.

use super::{bo, import, map, plan, surface, write};
use crate::abi::{self, Flags};
use crate::door::{Given, Object};
use crate::{Failure, Flavour, door, trace};
use std::ffi::{CStr, c_int};
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};
use thiserror::Error;
use virgbm::guest::node::drm::{DrmNode, OpenError};
use virgbm::guest::{self, BackendKind, BufferObject};
use virgbm::wire::alloc::{Backing, Capabilities};
use virgbm::{Format, Modifier, Unsupported, Usage};

/// The backend's name. Not "drm": Mesa's EGL takes a device of that name for Mesa's own, with fields that are not here.
const NAME: &CStr = c"virgbm";

/// A page: EGL of Mesa 25.0 reads a field of Mesa's larger device before it looks at the name, and must find zeros.
const DEVICE_BYTES: usize = 4096;

/// Names the alignment of strides in bytes, a power of two, for render GPUs that want more than the host does.
const STRIDE_VARIABLE: &str = "VIRGBM_STRIDE_ALIGN";

#[repr(C)]
struct NativeDevice {
    public: abi::Device,
    zeros: [u8; DEVICE_BYTES - size_of::<abi::Device>()],
    state: DeviceState,
}

/// What the backend knows of a device.
pub struct DeviceState {
    /// The guest library's device.
    pub guest: guest::Device,
    /// Whose words its callers speak.
    pub flavour: Flavour,
    /// What strides are multiples of at least.
    pub stride_bytes: u32,
}

// SAFETY: every device that has this backend's functions is the first field of a `NativeDevice`.
unsafe impl Object for DeviceState {
    type Public = abi::Device;

    unsafe fn locate(public: NonNull<abi::Device>) -> NonNull<Self> {
        // SAFETY: the caller promises a device of this backend, which lies in a `NativeDevice`.
        unsafe { public.byte_add(offset_of!(NativeDevice, state)) }.cast()
    }
}

/// Why a node is not served.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum NotServed {
    #[error(transparent)]
    Node(#[from] OpenError),
    #[error(transparent)]
    Guest(#[from] guest::Error),
    #[cfg(feature = "loopback")]
    #[error("the host in this process: {0}")]
    Loopback(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{STRIDE_VARIABLE}={0}: a power of two, in bytes")]
    Stride(String),
}

impl NotServed {
    /// The driver of a DRM node that is another's.
    pub fn driver(&self) -> Option<&str> {
        match self {
            Self::Node(OpenError::OtherDriver { driver, .. }) => Some(driver),
            _ => None,
        }
    }
}

/// Opens a node of virtio-gpu that the caller has open and keeps.
///
/// # Errors
/// [`NotServed`], which names the driver when it is another one.
pub fn open(fd: BorrowedFd<'_>, flavour: Flavour) -> Result<DeviceState, NotServed> {
    open_with(flavour, || Ok(DrmNode::from_borrowed_fd(fd)?))
}

/// Opens the device on a node, or on a host in this process.
pub fn open_with(flavour: Flavour, node: impl FnOnce() -> Result<DrmNode, NotServed>) -> Result<DeviceState, NotServed> {
    Ok(DeviceState { guest: open_guest(node)?, flavour, stride_bytes: stride_alignment()? })
}

fn open_guest(node: impl FnOnce() -> Result<DrmNode, NotServed>) -> Result<guest::Device, NotServed> {
    #[cfg(feature = "loopback")]
    if super::loopback::is_asked_for() {
        let node = super::loopback::node().map_err(NotServed::Loopback)?;
        return Ok(guest::Device::open(node)?);
    }
    Ok(guest::Device::open(node()?)?)
}

fn stride_alignment() -> Result<u32, NotServed> {
    let Some(text) = std::env::var_os(STRIDE_VARIABLE).filter(|text| !text.is_empty()) else { return Ok(1) };
    let text = text.to_string_lossy().into_owned();
    match text.parse::<u32>() {
        Ok(bytes) if bytes.is_power_of_two() => Ok(bytes),
        _ => Err(NotServed::Stride(text)),
    }
}

/// Makes the device that C gets.
pub fn create(fd: BorrowedFd<'_>, version: u32, state: DeviceState) -> NonNull<abi::Device> {
    if trace::enabled() {
        tell(&state.guest);
    }
    let v0 = abi::DeviceV0 { backend_version: version, fd: fd.as_raw_fd(), ..FUNCTIONS };
    let public = abi::Device { dummy: None, v0 };
    let zeros = [0; DEVICE_BYTES - size_of::<abi::Device>()];
    NonNull::from(Box::leak(Box::new(NativeDevice { public, zeros, state }))).cast()
}

/// What explains a screen that stays black: who serves the node, and what it can show.
fn tell(device: &guest::Device) {
    for verdict in device.verdicts() {
        trace::note(format_args!("  {} {verdict}", if verdict.chosen { "*" } else { "-" }));
    }
    let entries = device.offer().table.entries();
    let shown = entries.iter().filter(|entry| entry.usages.contains(Usage::SCANOUT));
    let shown: Vec<_> = shown.map(|entry| format!("{} {}", entry.format, entry.modifier)).collect();
    trace::note(format_args!("  {} formats and modifiers; for the screen {}", entries.len(), shown.join(", ")));
}

const FUNCTIONS: abi::DeviceV0 = abi::DeviceV0 {
    backend_desc: null_mut(),
    backend_version: abi::VERSION,
    fd: -1,
    name: NAME.as_ptr(),
    destroy: Some(destroy),
    is_format_supported: Some(is_format_supported),
    get_format_modifier_plane_count: Some(get_format_modifier_plane_count),
    bo_create: Some(bo::bo_create),
    bo_import: Some(import::bo_import),
    bo_map: Some(map::bo_map),
    bo_unmap: Some(map::bo_unmap),
    bo_write: Some(write::bo_write),
    bo_get_fd: Some(bo::bo_get_fd),
    bo_get_planes: Some(bo::bo_get_planes),
    bo_get_handle: Some(bo::bo_get_handle),
    bo_get_plane_fd: Some(bo::bo_get_plane_fd),
    bo_get_stride: Some(bo::bo_get_stride),
    bo_get_offset: Some(bo::bo_get_offset),
    bo_get_modifier: Some(bo::bo_get_modifier),
    bo_destroy: Some(bo::bo_destroy),
    surface_create: Some(surface::surface_create),
    surface_lock_front_buffer: Some(surface::surface_lock_front_buffer),
    surface_release_buffer: Some(surface::surface_release_buffer),
    surface_has_free_buffers: Some(surface::surface_has_free_buffers),
    surface_destroy: Some(surface::surface_destroy),
};

impl DeviceState {
    /// Which dialect the host speaks.
    pub fn kind(&self) -> Option<BackendKind> {
        self.guest.verdicts().iter().find(|verdict| verdict.chosen).map(|verdict| verdict.kind)
    }

    /// Whether a buffer that the CPU may touch is the same as one that it may not, but for a mapping.
    pub fn cpu_is_cheap(&self) -> bool {
        self.has_copies() || self.guest.offer().capabilities.contains(Capabilities::HOST_VISIBLE)
    }

    /// Whether the host has copies of what the CPU maps.
    pub fn has_copies(&self) -> bool {
        matches!(self.kind(), Some(BackendKind::Virgl | BackendKind::Dumb))
    }

    /// Whether the CPU is known to map a buffer through its caches: the kernel keeps what the host said of them to itself.
    pub fn is_cached(&self, buffer: &BufferObject) -> bool {
        self.has_copies() || matches!(buffer.made_of(), Some(Backing::Memory | Backing::Guest))
    }

    /// Whether the CPU sees rows in a buffer of this modifier.
    pub fn lies_in_rows(&self, modifier: Modifier) -> bool {
        // Where the guest's pages are a copy, they are rows whatever the host chose; what somebody says to be tiles is none.
        modifier == Modifier::LINEAR || modifier == Modifier::INVALID && self.has_copies()
    }
}

/// Whether a device is of this backend: of others' tables none has its functions.
pub(super) fn is_own(device: &abi::Device) -> bool {
    match (device.v0.bo_map, FUNCTIONS.bo_map) {
        (Some(theirs), Some(ours)) => std::ptr::fn_addr_eq(theirs, ours),
        _ => false,
    }
}

door! {
    /// Frees a device; its buffers keep what they need of it.
    fn destroy(gbm: Given<DeviceState>) -> (), or (), {
        // SAFETY: it came from a box in `create`, and the caller gives it back.
        drop(unsafe { Box::from_raw(gbm.as_ptr().cast::<NativeDevice>()) });
        Ok(())
    }
}

door! {
    /// 1 when a buffer of that kind can be made, else 0.
    fn is_format_supported(gbm: Given<DeviceState>, format: Format, flags: Flags) -> c_int, or 0, {
        plan::request(&gbm, (1, 1), format, flags, &[]).map(|_| 1)
    }
}

door! {
    /// How many planes a buffer has, -1 when the host does not offer the format with the modifier. INVALID is what the host
    /// would choose.
    fn get_format_modifier_plane_count(gbm: Given<DeviceState>, format: Format, modifier: Modifier) -> c_int, or -1, {
        let format = abi::canonical(format);
        let entries = gbm.guest.offer().table.of_format(format);
        if entries.is_empty() {
            return Err(Unsupported::Format { format }.into());
        }
        let entry = entries.iter().find(|entry| modifier == Modifier::INVALID || entry.modifier == modifier);
        let offered = || entries.iter().map(|entry| entry.modifier).collect();
        let entry = entry.ok_or_else(|| Failure::NoCommonModifier { format, listed: vec![modifier], offered: offered() })?;
        Ok(entry.plane_count as c_int)
    }
}
