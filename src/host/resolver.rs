//! [`Resolver`]: turns parameters into memory. Each driver of the host is one.

#[cfg(all(feature = "gl", feature = "vulkan"))]
pub mod drivers;
#[cfg(feature = "gl")]
mod exported;
#[cfg(any(feature = "gl", feature = "vulkan"))]
mod foreign;
#[cfg(feature = "gl")]
pub mod gbm;
#[cfg(feature = "gl")]
pub mod gl;
#[cfg(any(feature = "gl", feature = "vulkan"))]
mod measured;
pub mod memory;
#[cfg(any(feature = "gl", feature = "vulkan"))]
mod proof;
#[cfg(any(feature = "gl", feature = "vulkan"))]
mod report;
#[cfg(feature = "vulkan")]
pub mod vulkan;

#[cfg(any(feature = "gl", feature = "vulkan"))]
pub use {proof::Finding, report::Report};

use super::{Picture, Window};
use crate::wire::alloc::{Backing, Capabilities, GlTexture, VkImage};
use crate::{BufferRequest, Extent, Layout, LayoutError, Support, SupportTable, Unsupported};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use thiserror::Error;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub enum Parameters<'a> {
    /// Plain memory: a size and nothing else.
    Memory,
    /// An image with this layout, which the resolver computed.
    Image {
        /// What was asked.
        request: &'a BufferRequest,
        /// Where its bytes lie.
        layout: &'a Layout,
    },
    /// A GL texture.
    Gl(&'a GlTexture),
    /// A Vulkan image.
    Vulkan {
        /// Its creation parameters.
        image: &'a VkImage,
        /// The formats of its views, Vulkan's numbers.
        view_formats: &'a [u32],
        /// The modifiers to choose from.
        modifiers: &'a [u64],
    },
    /// An image in memory that is there already: a dma-buf of another driver, or of the guest's own pages. Its bytes stay.
    DmaBuf {
        /// The dma-buf, of which the image keeps what it needs.
        fd: BorrowedFd<'a>,
        /// What the image must be good for.
        request: &'a BufferRequest,
        /// Where its bytes lie, from the start of the dma-buf.
        layout: &'a Layout,
    },
}

/// Why nothing was made.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ResolveError {
    #[error("the host has no driver for {0}")]
    NoResolver(&'static str),
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("memory for {bytes} bytes: {source}", bytes = .0.bytes, source = .0.source)]
    Memory(#[source] OutOfMemory),
    #[error(transparent)]
    Image(#[from] ImageRefused),
    #[error("the driver: {0}")]
    Driver(#[source] io::Error),
}

/// An image that can't be, or that the host's driver does not make, as the guest has described it in the driver's own numbers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ImageRefused {
    #[error("format {0:#x} of the driver is not offered")]
    Format(u32),
    #[error("{what} {value:#x}: {why}")]
    Usage { what: &'static str, value: u32, why: &'static str },
    #[error("none of the {0} modifiers serves such an image")]
    Modifier(usize),
    #[error("{what} {asked}, at most {limit}")]
    Limit { what: &'static str, asked: u32, limit: u32 },
    #[error("{what} {value}: {why}")]
    Parameter { what: &'static str, value: u32, why: &'static str },
    #[error("a blob of {blob_bytes} bytes for an image of {image_bytes}")]
    Size { blob_bytes: u64, image_bytes: u64 },
    #[error("plane {plane}: {what} {value}: {why}")]
    Plane { plane: usize, what: &'static str, value: u64, why: &'static str },
    #[error("the descriptor: {0}")]
    Descriptor(&'static str),
}

/// The host's kernel or driver gave no memory.
#[derive(Debug, Error)]
#[error("{bytes} bytes: {source}")]
pub struct OutOfMemory {
    /// How much was asked for.
    pub bytes: u64,
    /// What the kernel or driver said.
    pub source: io::Error,
}

/// What a descriptor that left the host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportKind {
    /// A dma-buf.
    DmaBuf,
    /// Plain shared memory.
    Memfd,
    /// Memory that only the same driver understands. It must not be mapped: its first byte need not be the image's.
    Opaque(Box<OpaqueMemory>),
}

impl ExportKind {
    /// The kind in a word, for lists.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DmaBuf => "dma-buf",
            Self::Memfd => "memfd",
            Self::Opaque(_) => "opaque",
        }
    }
}

/// What another Vulkan, or a GL with `GL_EXT_memory_object_fd`, must know to import an image by an opaque descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueMemory {
    /// `VkPhysicalDeviceIDProperties`: whoever imports it must have the same device, by the same driver.
    pub device_uuid: [u8; 16],
    /// The driver's, as above.
    pub driver_uuid: [u8; 16],
    /// `VkMemoryAllocateInfo::memoryTypeIndex`.
    pub memory_type: u32,
    /// `VkMemoryAllocateInfo::allocationSize`.
    pub size_bytes: u64,
    /// Whether the memory is the image's alone (`VkMemoryDedicatedAllocateInfo`).
    pub dedicated: bool,
    /// `VkImageCreateInfo`.
    pub image: VkImage,
    /// The formats of its views, Vulkan's numbers.
    pub view_formats: Vec<u32>,
    /// The modifier that the driver has chosen, where the image has one.
    pub modifier: Option<u64>,
    /// Where its bytes lie, where anybody but the driver knows.
    pub layout: Option<Layout>,
}

/// A descriptor for one image and nothing else.
#[derive(Debug)]
pub struct Export {
    /// The descriptor.
    pub fd: OwnedFd,
    /// What it is.
    pub kind: ExportKind,
}

/// How memory is in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// By a map of its own, which must be taken away.
    Mapped,
    /// It lies in the window's own pages.
    Placed,
}

/// Memory that a resolver made. It is freed when the last reference goes.
pub trait Image: Send + Sync {
    /// Its size in bytes, a multiple of a page.
    fn size_bytes(&self) -> u64;

    /// What it is made of, in a word, for lists.
    fn storage(&self) -> &'static str;

    /// How a guest may cache a mapping: `MAP_CACHE_*` of the device protocol.
    fn map_info(&self) -> u32;

    /// Fills `buffer` from byte `offset`.
    ///
    /// # Errors
    /// A range outside the image, and the driver's.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes `data` at byte `offset`.
    ///
    /// # Errors
    /// A range outside the image, and the driver's.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Whether its driver copies what is read and written, so that a few large pieces are better than many small ones. Then nobody
    /// but the driver has the bytes meanwhile.
    fn is_copied(&self) -> bool {
        false
    }

    /// Makes its bytes appear in the window from `offset`, where nothing else is.
    ///
    /// # Errors
    /// The window's; the driver's, for memory that can't be mapped.
    fn show(&self, window: &dyn Window, offset: u64) -> io::Result<Shown>;

    /// Gives a range of the window's own pages free, with its bytes brought elsewhere; nothing where they lie elsewhere already.
    ///
    /// # Errors
    /// The kernel's, and for memory that others see by a descriptor at the place where it is.
    fn leave(&self) -> io::Result<()>;

    /// A descriptor of its own, which may leave the host: it shows this image and nothing else, ever.
    ///
    /// # Errors
    /// The driver's.
    fn export(&self) -> io::Result<Export>;

    /// The picture as its driver sees it, by a shader or a copy and not by a mapping, where the resource has this layout; `None`
    /// where bytes are all that there is.
    ///
    /// # Errors
    /// The driver's.
    fn picture(&self, layout: &Layout) -> io::Result<Option<Picture>>;
}

/// A new image and, unless it is plain memory, where its bytes lie.
#[derive(Clone)]
pub struct Allocation {
    /// The memory.
    pub image: Arc<dyn Image>,
    /// The layout.
    pub layout: Option<Layout>,
}

/// A driver of the host.
pub trait Resolver: Send + Sync {
    /// Its name, for lists and options.
    fn name(&self) -> &'static str;

    /// What its images are made of, for the guest.
    fn backing(&self) -> Backing;

    /// What was seen to work.
    fn capabilities(&self) -> Capabilities;

    /// The largest image.
    fn largest(&self) -> Extent;

    /// What it offers; the order is its preference among the modifiers of a format.
    fn support(&self) -> &[Support];

    /// The layout of an image that `support`, one of its own entries, serves; allocates nothing.
    ///
    /// # Errors
    /// [`ResolveError`].
    fn layout(&self, request: &BufferRequest, support: &Support) -> Result<Layout, ResolveError>;

    /// Makes zeroed memory of at least `size_bytes`, or takes the memory of a dma-buf that has as many.
    ///
    /// # Errors
    /// [`ResolveError::NoResolver`] for parameters of another class of driver; else what the driver said.
    fn allocate(&self, parameters: &Parameters<'_>, size_bytes: u64) -> Result<Allocation, ResolveError>;
}

/// Every resolver of a device, the preferred one first, with one table of what they offer together.
pub(super) struct Resolvers {
    list: Vec<Box<dyn Resolver>>,
    table: SupportTable,
    /// Whose each entry of the table is, as an index into `list`.
    owners: Vec<usize>,
}

impl Resolvers {
    pub fn new(list: Vec<Box<dyn Resolver>>) -> Self {
        let each = list.iter().enumerate();
        let mut entries: Vec<_> =
            each.flat_map(|(owner, resolver)| resolver.support().iter().map(move |support| (*support, owner))).collect();
        // Stable, as `SupportTable::new` is: preference stays and the two lists stay in step.
        entries.sort_by_key(|(support, _)| support.format);
        let (entries, owners) = entries.into_iter().unzip();
        let largest = list.iter().map(|resolver| resolver.largest()).fold(Extent::ZERO, Extent::union);
        Self { list, table: SupportTable::new(entries, largest), owners }
    }

    pub fn table(&self) -> &SupportTable {
        &self.table
    }

    pub fn capabilities(&self) -> Capabilities {
        self.list.iter().map(|resolver| resolver.capabilities()).fold(Capabilities::empty(), Capabilities::union)
    }

    /// The resolver that serves an image, and its layout.
    pub fn resolve(&self, request: &BufferRequest) -> Result<(&dyn Resolver, Layout), ResolveError> {
        request.check().map_err(LayoutError::from)?;
        let first = self.table.position(request)?;
        let mut refused = None;
        for (support, owner) in self.table.entries().iter().zip(&self.owners).skip(first) {
            if support.format != request.format {
                break;
            }
            let Some(resolver) = self.list.get(*owner).filter(|_| support.serves(request)) else { continue };
            match resolver.layout(request, support) {
                Ok(layout) => return Ok((resolver.as_ref(), layout)),
                // The table has the largest extent of all, so another may take what is beyond this one's.
                Err(error @ ResolveError::Unsupported(Unsupported::Extent { .. })) => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or(ResolveError::NoResolver("the format")))
    }

    /// The first resolver that can do this.
    pub fn capable(&self, capability: Capabilities, class: &'static str) -> Result<&dyn Resolver, ResolveError> {
        let capable = self.list.iter().find(|resolver| resolver.capabilities().contains(capability));
        capable.map(AsRef::as_ref).ok_or(ResolveError::NoResolver(class))
    }

    /// Whether a driver makes images in dma-bufs; plain memory, which the host reads in place, is none.
    pub fn import_dma_bufs(&self) -> bool {
        self.importing().next().is_some()
    }

    /// The image of the first driver that makes it in a dma-buf.
    pub fn import(&self, parameters: &Parameters<'_>, size_bytes: u64) -> Result<Allocation, ResolveError> {
        let mut refused = ResolveError::NoResolver("dma-bufs of others");
        for resolver in self.importing() {
            match resolver.allocate(parameters, size_bytes) {
                Ok(allocation) => return Ok(allocation),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn importing(&self) -> impl Iterator<Item = &dyn Resolver> {
        let drivers = self.list.iter().filter(|resolver| resolver.backing() != Backing::Memory).map(AsRef::as_ref);
        drivers.filter(|driver| driver.capabilities().contains(Capabilities::GUEST_MEMORY_IMPORT))
    }

    /// The resolver for plain memory.
    pub fn memory(&self) -> Result<&dyn Resolver, ResolveError> {
        let memory = self.list.iter().find(|resolver| resolver.backing() == Backing::Memory);
        memory.map(AsRef::as_ref).ok_or(ResolveError::NoResolver("plain memory"))
    }
}
