//! [`Renderer`]: what draws for guests, a library of the host. Its contexts and resources have the guest's own numbers, since the
//! guest's drivers name resources inside of their command streams.

use super::resolver::{Export, ExportKind, Image};
use crate::Layout;
use crate::host::fence::Fence;
use crate::sys::host_pages::HostPages;
use crate::wire::virgl::{CAPSET_ID_VIRGL, CAPSET_ID_VIRGL2, PipeResourceCreate};
use crate::wire::virtio_gpu::TransferHost3d;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

/// Why the renderer did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum RenderError {
    #[error("the renderer: {call} of {id}: {error}")]
    Refused { call: &'static str, id: u32, error: String },
    #[error("a submission of {0} bytes, which is no multiple of 4")]
    Unaligned(usize),
    #[error("the renderer draws into dma-bufs only, and the resource leaves as {0}")]
    NoDmaBuf(&'static str),
    #[error("the context draws in a process of its own, and the resource has no descriptor to send there")]
    NoDescriptor,
    #[error("the blob has {blob_bytes} bytes, and its memory {memory_bytes}")]
    TooSmall { blob_bytes: u64, memory_bytes: u64 },
    #[error("the guest's pages can't be lent to the renderer")]
    NoPages,
    #[error("the renderer makes no blobs of that kind of memory: {0}")]
    BlobKind(u32),
    #[error("the renderer's thread has ended")]
    Ended,
}

/// A capset of the renderer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RendererCapset {
    /// `VIRTIO_GPU_CAPSET_*`.
    pub id: u32,
    /// The highest version.
    pub version: u32,
    /// What GET_CAPSET answers.
    pub bytes: Vec<u8>,
}

/// Whose fences signal in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timeline {
    /// The device's own, of all contexts together.
    Global,
    /// One ring of one context.
    Ring {
        /// The context.
        ctx_id: u32,
        /// Its ring.
        ring_idx: u8,
    },
}

/// Memory from elsewhere that the renderer shall use.
#[derive(Debug)]
pub enum Foreign {
    /// Of another component of the host.
    Exported(Export),
    /// Of the guest.
    Pages(Vec<HostPages>),
}

impl Foreign {
    /// What it is, in a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Exported(Export { kind: ExportKind::DmaBuf, .. }) => "dma-buf",
            Self::Exported(Export { kind: ExportKind::Memfd, .. }) => "memfd",
            Self::Exported(Export { kind: ExportKind::Opaque(_), .. }) => "opaque",
            Self::Pages(_) => "guest pages",
        }
    }
}

/// A blob that a context of the renderer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobParameters {
    /// The number that the resource gets, which must be free.
    pub resource_id: u32,
    /// What it is in the context, 0 for memory without a name.
    pub blob_id: u64,
    /// In bytes.
    pub size_bytes: u64,
    /// `VIRTIO_GPU_BLOB_FLAG_*`.
    pub flags: u32,
}

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the guest's pages.
    ToHost,
    /// Into the guest's pages.
    FromHost,
}

/// That a device has the renderer; it is free again when this goes.
pub struct Taken(Arc<AtomicBool>);

impl Taken {
    /// Takes what a flag stands for, if nobody has it.
    pub fn new(flag: &Arc<AtomicBool>) -> Option<Self> {
        (!flag.swap(true, Ordering::AcqRel)).then(|| Self(flag.clone()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A library of the host that draws for guests. One device has it at a time, since the numbers are one guest's.
pub trait Renderer: Send + Sync {
    /// Takes it for a device; `None` while another has it.
    fn take(&self) -> Option<Taken>;

    /// What its contexts can speak.
    fn capsets(&self) -> &[RendererCapset];

    /// Makes a context of one of its capsets.
    ///
    /// # Errors
    /// [`RenderError`], also for a number that is taken.
    fn context(&self, id: u32, capset_id: u32, name: &str) -> Result<Box<dyn RenderContext>, RenderError>;

    /// Makes a texture or buffer of RESOURCE_CREATE_3D under a number that is free; with its layout where transfers show one.
    ///
    /// # Errors
    /// [`RenderError`].
    fn texture(&self, id: u32, texture: &PipeResourceCreate) -> Result<(Arc<dyn Rendered>, Option<Layout>), RenderError>;

    /// Makes memory of others known under a number that is free, so that contexts can use it.
    ///
    /// # Errors
    /// [`RenderError`].
    fn adopt(&self, id: u32, memory: Foreign, size_bytes: u64) -> Result<Arc<dyn Rendered>, RenderError>;

    /// A fence behind everything that a timeline was given so far.
    fn fence(&self, timeline: Timeline) -> Fence;

    /// Whether a fence of a timeline is not signalled yet.
    fn is_busy(&self, timeline: Timeline) -> bool;
}

/// Whether a renderer has contexts of virgl: then resources that are no blobs are its own.
pub(super) fn draws_virgl(renderer: &dyn Renderer) -> bool {
    renderer.capsets().iter().any(|capset| matches!(capset.id, CAPSET_ID_VIRGL | CAPSET_ID_VIRGL2))
}

/// A context of the renderer; it is destroyed when it is dropped.
pub trait RenderContext: Send {
    /// Executes a command stream.
    ///
    /// # Errors
    /// [`RenderError`].
    fn submit(&mut self, stream: &[u8]) -> Result<(), RenderError>;

    /// Lets the context use a resource that the renderer knows.
    ///
    /// # Errors
    /// [`RenderError`], where a context of its kind can not.
    fn attach(&mut self, resource_id: u32, resource: &dyn Rendered) -> Result<(), RenderError>;

    /// Takes that back.
    fn detach(&mut self, resource_id: u32);

    /// Makes a blob; with its layout where it is a texture: that of the memory which leaves, or else what transfers show.
    ///
    /// # Errors
    /// [`RenderError`].
    fn blob(&mut self, blob: &BlobParameters) -> Result<(Arc<dyn Rendered>, Option<Layout>), RenderError>;
}

/// A resource that the renderer knows; it forgets it when the last reference goes.
pub trait Rendered: Image {
    /// Whether it came as memory, which a context has to say more about before it can be drawn into.
    fn is_memory(&self) -> bool;

    /// Gives it the guest's pages that transfers use.
    ///
    /// # Errors
    /// [`RenderError`], also when it has pages.
    fn attach_pages(&self, pages: Vec<HostPages>) -> Result<(), RenderError>;

    /// Takes the pages back.
    fn detach_pages(&self);

    /// Moves a box between the pages and the texture, as a context has it; 0 for none.
    ///
    /// # Errors
    /// [`RenderError`].
    fn transfer(&self, direction: Direction, ctx_id: u32, transfer: &TransferHost3d) -> Result<(), RenderError>;
}
