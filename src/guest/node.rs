//! [`Node`]: an open virtio-gpu device, the kernel's interface (`virtgpu_drm.h`, `drm.h`) as a trait, one method an ioctl.

mod counted;
pub mod drm;
#[cfg(feature = "loopback")]
pub mod loopback;

/// EXECBUFFER. The kernel always fences it; the fence goes to the buffers that it names.
pub use crate::sys::virtgpu::Submission as Execbuffer;
pub use crate::sys::virtgpu::Syncobj;
pub use counted::{Calls, Counted};

use crate::sys::mmap::Mmap;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use thiserror::Error;

/// The ioctls of a node, and mmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Ioctl {
    GetParam,
    GetCaps,
    ContextInit,
    Execbuffer,
    ResourceCreate,
    ResourceCreateBlob,
    CreateDumb,
    ResourceInfo,
    Map,
    Mmap,
    TransferToHost,
    TransferFromHost,
    Wait,
    PrimeHandleToFd,
    PrimeFdToHandle,
    GemClose,
}

impl Ioctl {
    /// All of them, in the order of the enum.
    pub const ALL: [Self; 16] = [
        Self::GetParam,
        Self::GetCaps,
        Self::ContextInit,
        Self::Execbuffer,
        Self::ResourceCreate,
        Self::ResourceCreateBlob,
        Self::CreateDumb,
        Self::ResourceInfo,
        Self::Map,
        Self::Mmap,
        Self::TransferToHost,
        Self::TransferFromHost,
        Self::Wait,
        Self::PrimeHandleToFd,
        Self::PrimeFdToHandle,
        Self::GemClose,
    ];

    /// The name in the kernel's headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetParam => "GETPARAM",
            Self::GetCaps => "GET_CAPS",
            Self::ContextInit => "CONTEXT_INIT",
            Self::Execbuffer => "EXECBUFFER",
            Self::ResourceCreate => "RESOURCE_CREATE",
            Self::ResourceCreateBlob => "RESOURCE_CREATE_BLOB",
            Self::CreateDumb => "MODE_CREATE_DUMB",
            Self::ResourceInfo => "RESOURCE_INFO",
            Self::Map => "MAP",
            Self::Mmap => "mmap",
            Self::TransferToHost => "TRANSFER_TO_HOST",
            Self::TransferFromHost => "TRANSFER_FROM_HOST",
            Self::Wait => "WAIT",
            Self::PrimeHandleToFd => "PRIME_HANDLE_TO_FD",
            Self::PrimeFdToHandle => "PRIME_FD_TO_HANDLE",
            Self::GemClose => "GEM_CLOSE",
        }
    }
}

/// A call that the kernel refused.
#[derive(Debug, Error)]
#[error("{}: {source}", ioctl.name())]
pub struct NodeError {
    /// Which call.
    pub ioctl: Ioctl,
    /// The errno.
    pub source: io::Error,
}

impl NodeError {
    /// The error of a call that failed with this errno.
    pub fn new(ioctl: Ioctl, source: impl Into<io::Error>) -> Self {
        Self { ioctl, source: source.into() }
    }

    /// Whether the call failed with this errno.
    pub fn is(&self, errno: rustix::io::Errno) -> bool {
        self.source.raw_os_error() == Some(errno.raw_os_error())
    }
}

/// `VIRTGPU_PARAM_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
#[allow(missing_docs)]
pub enum Param {
    Features3d = 1,
    CapsetQueryFix = 2,
    ResourceBlob = 3,
    HostVisible = 4,
    CrossDevice = 5,
    ContextInit = 6,
    /// A bit mask of capset ids.
    SupportedCapsetIds = 7,
    ExplicitDebugName = 8,
    BlobAlignment = 9,
}

impl Param {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Features3d,
        Self::CapsetQueryFix,
        Self::ResourceBlob,
        Self::HostVisible,
        Self::CrossDevice,
        Self::ContextInit,
        Self::SupportedCapsetIds,
        Self::ExplicitDebugName,
        Self::BlobAlignment,
    ];
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Features3d => "3D_FEATURES",
            Self::CapsetQueryFix => "CAPSET_QUERY_FIX",
            Self::ResourceBlob => "RESOURCE_BLOB",
            Self::HostVisible => "HOST_VISIBLE",
            Self::CrossDevice => "CROSS_DEVICE",
            Self::ContextInit => "CONTEXT_INIT",
            Self::SupportedCapsetIds => "SUPPORTED_CAPSET_IDs",
            Self::ExplicitDebugName => "EXPLICIT_DEBUG_NAME",
            Self::BlobAlignment => "BLOB_ALIGNMENT",
        })
    }
}

/// CONTEXT_INIT.
#[derive(Clone, Copy, Debug)]
pub struct ContextInit<'a> {
    /// The capset that the context speaks.
    pub capset_id: u32,
    /// How many rings it has, up to 64.
    pub num_rings: u32,
    /// What the host calls it; empty for the process's name.
    pub debug_name: &'a str,
}

/// RESOURCE_CREATE: a classic resource with guest pages behind it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct ResourceCreate {
    pub target: u32,
    pub format: u32,
    pub bind: u32,
    pub width: u32,
    pub height: u32,
    /// Bytes of guest pages.
    pub size: u32,
}

/// What a blob is made of: `VIRTGPU_BLOB_MEM_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BlobMem {
    /// Pages of the guest.
    Guest = 1,
    /// Memory of the host.
    Host3d = 2,
    /// Both.
    Host3dGuest = 3,
}

bitflags::bitflags! {
    /// `VIRTGPU_BLOB_FLAG_USE_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BlobFlags: u32 {
        /// The guest maps it.
        const MAPPABLE = 1;
        /// Shared between contexts.
        const SHAREABLE = 2;
        /// Shared with other virtio devices.
        const CROSS_DEVICE = 4;
    }
}

/// RESOURCE_CREATE_BLOB.
#[derive(Clone, Copy, Debug)]
pub struct BlobCreate<'a> {
    /// What it is made of.
    pub mem: BlobMem,
    /// What it is for.
    pub flags: BlobFlags,
    /// In bytes; the kernel rounds it up to a page.
    pub size: u64,
    /// The object that it claims, 0 for none.
    pub blob_id: u64,
    /// Commands that the kernel submits just before it.
    pub command: &'a [u8],
}

/// MODE_CREATE_DUMB: a buffer that the screen can show, as the kernel made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dumb {
    /// The kernel's handle.
    pub bo_handle: u32,
    /// From row to row.
    pub stride_bytes: u32,
    /// In bytes.
    pub size: u64,
}

/// The kernel's handle for a buffer in this open file, and its number in the device protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Handles {
    pub bo_handle: u32,
    pub resource_id: u32,
}

/// What RESOURCE_INFO tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ResourceInfo {
    pub resource_id: u32,
    pub size: u32,
    /// 0 for a classic resource.
    pub blob_mem: u32,
}

/// TRANSFER_TO_HOST and TRANSFER_FROM_HOST: a rectangle of a classic resource.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Transfer {
    pub bo_handle: u32,
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    /// To the rectangle's first byte in the guest pages.
    pub offset: u32,
    /// From row to row in the guest pages; 0 for rows without padding. Stock kernels take it only for blobs.
    pub stride: u32,
    /// The texture's level; for hosts that need a stride which the kernel does not take, that stride.
    pub level: u32,
}

/// An open virtio-gpu device. Errors are the kernel's errno, as [`NodeError`].
#[allow(clippy::missing_errors_doc)]
pub trait Node: Send + Sync {
    /// The open file, whose handles and context others who have it share; `None` for one that nobody else can have.
    fn file(&self) -> Option<BorrowedFd<'_>>;

    /// GETPARAM; EINVAL for one that the kernel does not know.
    fn get_param(&self, param: Param) -> Result<u64, NodeError>;

    /// GET_CAPS: the start of a capset; bytes beyond it stay as they are.
    fn get_caps(&self, capset_id: u32, version: u32, buffer: &mut [u8]) -> Result<(), NodeError>;

    /// CONTEXT_INIT; EEXIST when the file has its context already, EINVAL for a capset that is not offered.
    fn context_init(&self, context: &ContextInit<'_>) -> Result<(), NodeError>;

    /// EXECBUFFER; returns before the host has executed it. The descriptor is its fence, where one is wanted: a poll for reading
    /// ends when the host has executed it.
    fn execbuffer(&self, submission: &Execbuffer<'_>) -> Result<Option<OwnedFd>, NodeError>;

    /// RESOURCE_CREATE.
    fn resource_create(&self, resource: &ResourceCreate) -> Result<Handles, NodeError>;

    /// RESOURCE_CREATE_BLOB; returns before the host has answered, and its refusal is lost.
    fn resource_create_blob(&self, blob: &BlobCreate<'_>) -> Result<Handles, NodeError>;

    /// MODE_CREATE_DUMB; EACCES on a render node.
    fn create_dumb(&self, width: u32, height: u32, bits_per_pixel: u32) -> Result<Dumb, NodeError>;

    /// RESOURCE_INFO.
    fn resource_info(&self, bo_handle: u32) -> Result<ResourceInfo, NodeError>;

    /// MAP: the offset at which the buffer can be mapped.
    fn map(&self, bo_handle: u32) -> Result<u64, NodeError>;

    /// mmap(2) at such an offset; EINVAL when the host refused the blob or its mapping.
    fn mmap(&self, offset: u64, length: u64) -> Result<Mmap, NodeError>;

    /// TRANSFER_TO_HOST.
    fn transfer_to_host(&self, transfer: &Transfer) -> Result<(), NodeError>;

    /// TRANSFER_FROM_HOST.
    fn transfer_from_host(&self, transfer: &Transfer) -> Result<(), NodeError>;

    /// WAIT until the host has done all that names the buffer; EBUSY when it takes too long.
    fn wait(&self, bo_handle: u32) -> Result<(), NodeError>;

    /// PRIME_HANDLE_TO_FD: a new descriptor for the buffer, for reading and writing.
    fn prime_handle_to_fd(&self, bo_handle: u32) -> Result<OwnedFd, NodeError>;

    /// PRIME_FD_TO_HANDLE: the handle that the file has for the buffer already, or a new one.
    fn prime_fd_to_handle(&self, fd: BorrowedFd<'_>) -> Result<u32, NodeError>;

    /// GEM_CLOSE.
    fn gem_close(&self, bo_handle: u32) -> Result<(), NodeError>;
}

/// A node behind a pointer, or behind a counter, is the node.
macro_rules! forward {
    ($($ioctl:ident: $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        impl<N: Node + ?Sized> Node for Arc<N> {
            fn file(&self) -> Option<BorrowedFd<'_>> { (**self).file() }
            $(fn $name(&self, $($argument: $type),*) -> Result<$result, NodeError> { (**self).$name($($argument),*) })+
        }

        impl<N: Node> Node for Counted<N> {
            fn file(&self) -> Option<BorrowedFd<'_>> { self.node().file() }
            $(fn $name(&self, $($argument: $type),*) -> Result<$result, NodeError> { self.count(Ioctl::$ioctl).$name($($argument),*) })+
        }
    };
}

forward! {
    GetParam: get_param(param: Param) -> u64;
    GetCaps: get_caps(capset_id: u32, version: u32, buffer: &mut [u8]) -> ();
    ContextInit: context_init(context: &ContextInit<'_>) -> ();
    Execbuffer: execbuffer(submission: &Execbuffer<'_>) -> Option<OwnedFd>;
    ResourceCreate: resource_create(resource: &ResourceCreate) -> Handles;
    ResourceCreateBlob: resource_create_blob(blob: &BlobCreate<'_>) -> Handles;
    CreateDumb: create_dumb(width: u32, height: u32, bits_per_pixel: u32) -> Dumb;
    ResourceInfo: resource_info(bo_handle: u32) -> ResourceInfo;
    Map: map(bo_handle: u32) -> u64;
    Mmap: mmap(offset: u64, length: u64) -> Mmap;
    TransferToHost: transfer_to_host(transfer: &Transfer) -> ();
    TransferFromHost: transfer_from_host(transfer: &Transfer) -> ();
    Wait: wait(bo_handle: u32) -> ();
    PrimeHandleToFd: prime_handle_to_fd(bo_handle: u32) -> OwnedFd;
    PrimeFdToHandle: prime_fd_to_handle(fd: BorrowedFd<'_>) -> u32;
    GemClose: gem_close(bo_handle: u32) -> ();
}
