//! [`Device`]: a node with the backend that serves it.

use super::backend::{self, Imported};
use super::buffer::BufferObject;
use super::error::Error;
use super::handles::HandleTable;
use super::node::Node;
use super::open_files;
use super::options::DeviceOptions;
use super::shared::Shared;
use super::verdict::Verdict;
use crate::wire::alloc as wire;
use crate::{BufferRequest, Format, Layout, Modifier, Offer, Unsupported, Usage};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// The most buffers of one call.
const MAX_COUNT: usize = 1024;

/// A virtio-gpu device that allocates. Cloning it gives another name for the same; threads may use it at once.
///
/// ```
/// # #[cfg(feature = "loopback")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use virgbm::guest::{Access, Device, node::loopback::Loopback};
/// use virgbm::{BufferRequest, Format, Usage};
///
/// let device = Device::open(Loopback::new()?)?;
/// let request = BufferRequest::new(Format::XRGB8888, 640, 480, Usage::SCANOUT | Usage::CPU_WRITE_RARELY);
/// let buffer = device.create(&request)?;
///
/// let mapping = buffer.map(buffer.layout().whole(), Access::WRITE)?;
/// mapping.write_row(0, 0, &[0xff; 640 * 4])?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "loopback"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Device(Arc<Shared>);

impl Device {
    /// Opens a node with the options that the environment asks for.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with) and [`DeviceOptions::from_environment`].
    pub fn open(node: impl Node + 'static) -> Result<Self, Error> {
        Self::open_with(node, &DeviceOptions::from_environment()?)
    }

    /// Opens a node: chooses the best backend that its host offers. When this process has a device on the same open file already,
    /// this is another name for that, and `options` has no effect.
    ///
    /// # Errors
    /// [`Error::NoBackend`] when the host offers none, with the reason for each; else what the kernel or the host said.
    pub fn open_with(node: impl Node + 'static, options: &DeviceOptions) -> Result<Self, Error> {
        let node: Arc<dyn Node> = Arc::new(node);
        let make = || {
            let handles = HandleTable::new(node.clone());
            let (backend, verdicts) = backend::select(&node, &handles, options)?;
            Ok(Shared { backend, handles, node: node.clone(), verdicts })
        };
        open_files::shared(&*node, make).map(Self)
    }

    /// What was thought of each backend.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.0.verdicts
    }

    /// What the host offers; known without asking.
    pub fn offer(&self) -> &Offer {
        self.0.backend.offer()
    }

    /// Whether [`create`](Self::create) of such a format and usage can succeed, and why not. Asks nobody.
    ///
    /// # Errors
    /// [`Unsupported`], which says what is missing.
    pub fn supports(&self, format: Format, usage: Usage) -> Result<(), Unsupported> {
        self.offer().table.choose(&BufferRequest::new(format, 1, 1, usage)).map(drop)
    }

    /// The modifiers of a format for a usage, the host's preferred one first. Asks nobody.
    pub fn modifiers(&self, format: Format, usage: Usage) -> Vec<Modifier> {
        let request = BufferRequest::new(format, 1, 1, usage);
        let fitting = self
            .offer()
            .table
            .of_format(format)
            .iter()
            .filter(|support| support.usages.contains(usage.difference(Usage::LINEAR)) && request.accepts(support.modifier));
        fitting.map(|support| support.modifier).collect()
    }

    /// How many planes a buffer of this format and modifier has, `None` when the host does not offer it. Asks nobody.
    pub fn plane_count(&self, format: Format, modifier: Modifier) -> Option<u32> {
        let entries = self.offer().table.of_format(format);
        entries.iter().find(|support| support.modifier == modifier).map(|support| support.plane_count)
    }

    /// The layout that [`create`](Self::create) would make; allocates nothing.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn layout(&self, request: &BufferRequest) -> Result<Layout, Error> {
        self.0.backend.resolve(request)
    }

    /// Makes a buffer.
    ///
    /// # Errors
    /// [`Error::Request`] and [`Error::Unsupported`] before anybody is asked; [`Error::Refused`] with the host's status;
    /// [`Error::Node`] with the kernel's errno.
    pub fn create(&self, request: &BufferRequest) -> Result<BufferObject, Error> {
        let mut buffers = self.create_many(request, 1)?;
        buffers.pop().ok_or(Error::Count(0))
    }

    /// Makes several buffers alike, such as a swapchain, with one submission and one wait: all or none.
    ///
    /// # Errors
    /// As [`create`](Self::create); [`Error::Count`] for none or more than 1024.
    pub fn create_many(&self, request: &BufferRequest, count: usize) -> Result<Vec<BufferObject>, Error> {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(Error::Count(count));
        }
        let layout = self.0.backend.resolve(request)?;
        let blobs = self.0.backend.create(request, &layout, count)?;
        Ok(blobs.into_iter().map(|blob| BufferObject::new(self.0.clone(), blob, layout, false)).collect())
    }

    /// Imports a buffer that this host made for another device, file or process, and asks the host for its layout.
    ///
    /// # Errors
    /// [`Error::Node`] when the kernel does not know the descriptor, [`Error::NoLayout`] for plain memory.
    pub fn import(&self, fd: BorrowedFd<'_>) -> Result<BufferObject, Error> {
        let imported = self.import_handle(fd)?;
        let (layout, made_of) = self.0.backend.describe(imported.resource_id)?;
        self.adopt(imported, layout, Usage::all(), made_of)
    }

    /// Imports a buffer whose layout the caller knows. Asks nobody.
    ///
    /// # Errors
    /// [`Error::Layout`] and [`Error::TooSmall`] for a layout that does not hold, [`Error::Node`] as [`import`](Self::import).
    pub fn import_with_layout(&self, fd: BorrowedFd<'_>, layout: &Layout) -> Result<BufferObject, Error> {
        self.import_made_for(fd, layout, Usage::all())
    }

    /// The same where the caller knows also what it was made for: what the host does not draw into costs a read no transfer, on
    /// hosts that keep a copy.
    ///
    /// # Errors
    /// As [`import_with_layout`](Self::import_with_layout).
    pub fn import_made_for(&self, fd: BorrowedFd<'_>, layout: &Layout, usage: Usage) -> Result<BufferObject, Error> {
        layout.check()?;
        self.adopt(self.import_handle(fd)?, *layout, usage, None)
    }

    /// How often the host was waited for since the device was opened.
    pub fn round_trips(&self) -> u64 {
        self.0.backend.round_trips()
    }

    fn import_handle(&self, fd: BorrowedFd<'_>) -> Result<Imported, Error> {
        let handle = self.0.handles.import(fd)?;
        let info = handle.info()?;
        // RESOURCE_INFO has 32 bits for a size; the descriptor knows all of it.
        let size_bytes = rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0)).unwrap_or_else(|_| info.size.into());
        Ok(Imported { handle, resource_id: info.resource_id, size_bytes, blob_mem: info.blob_mem })
    }

    fn adopt(
        &self,
        imported: Imported,
        layout: Layout,
        usage: Usage,
        made_of: Option<wire::Backing>,
    ) -> Result<BufferObject, Error> {
        let (found, needed) = (imported.size_bytes, layout.size_bytes);
        if needed > found {
            return Err(Error::TooSmall { found, needed });
        }
        let mut blob = self.0.backend.adopt(imported, &layout, usage);
        blob.made_of = made_of.or(blob.made_of);
        Ok(BufferObject::new(self.0.clone(), blob, layout, true))
    }
}
