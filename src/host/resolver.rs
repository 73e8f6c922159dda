//! [`Resolver`]: turns parameters into memory. Each driver of the host is one.

pub mod memory;
#[cfg(feature = "vulkan")]
pub mod vulkan;

use super::Window;
use crate::wire::alloc::{Backing, Capabilities, GlTexture, VkImage};
use crate::{BufferRequest, Extent, Layout, LayoutError, Support, SupportTable, Unsupported};
use std::io;
use std::os::fd::OwnedFd;
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

/// A Vulkan image that can't be, or that the host's driver does not make.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum ImageRefused {
    #[error("VkFormat {0} is not offered")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportKind {
    /// A dma-buf.
    DmaBuf,
    /// Plain shared memory.
    Memfd,
}

impl ExportKind {
    /// The kind in a word, for lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DmaBuf => "dma-buf",
            Self::Memfd => "memfd",
        }
    }
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

    /// Makes zeroed memory of at least `size_bytes`.
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

    /// The resolver for plain memory.
    pub fn memory(&self) -> Result<&dyn Resolver, ResolveError> {
        let memory = self.list.iter().find(|resolver| resolver.backing() == Backing::Memory);
        memory.map(AsRef::as_ref).ok_or(ResolveError::NoResolver("plain memory"))
    }
}
