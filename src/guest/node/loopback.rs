//! [`Loopback`]: a node whose device is a host module in the same process.
//!
//! It behaves as the Linux driver does (6.12), with what that loses and delays, and speaks to the host in the bytes that the driver
//! would send: a context is made by the first call that needs one, RESOURCE_CREATE_BLOB returns before the host has answered and
//! loses its refusal, and the mmap of a refused blob fails. A fence's descriptor can be polled, but is no sync_file, and there are no
//! syncobjs.

mod driver;
mod memory;
mod queue;
mod window;

use super::{BlobCreate, BlobFlags, BlobMem, ContextInit, Dumb, Execbuffer, Handles, Ioctl, Node, NodeError, Param};
use super::{ResourceCreate, ResourceInfo, Transfer};
use crate::Format;
use crate::host::{Device, DeviceConfig, DeviceError, MemoryResolver, Renderer, Resolver};
use crate::sys::mmap::Mmap;
use crate::sys::poll;
use crate::wire::virtio_gpu::{self as wire, Command, feature};
use driver::{Driver, Gem, PAGE_BYTES, command, on_resource};
use memory::{Pages, Ram};
use queue::Queue;
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use window::HostVisible;
use zerocopy::IntoBytes;

/// How long the kernel waits for the host before it gives up, as its WAIT ioctl does.
const HOST_TIMEOUT: Duration = Duration::from_secs(15);

/// A buffer's mmap offset: its resource's number above the largest size that the kernel has room for.
const MMAP_OFFSET_SHIFT: u32 = 40;

/// The rings that a context can have.
const MAX_RINGS: u32 = 64;

/// How the embedded host and the guest's driver are set up.
pub struct LoopbackOptions {
    /// The device's limits and capset.
    pub config: DeviceConfig,
    /// The size of the host-visible window, 0 for none.
    pub window_bytes: u64,
    /// The host's resolvers, the preferred one first.
    pub resolvers: Vec<Box<dyn Resolver>>,
    /// What draws for contexts, where something does.
    pub renderer: Option<Arc<dyn Renderer>>,
    /// Whether the file is a primary node, which can make dumb buffers, or a render node.
    pub primary: bool,
    /// Whether a thread executes the commands, and how late. `None`: the caller executes them, which is faster and hides races.
    pub thread: Option<Duration>,
}

impl Default for LoopbackOptions {
    /// Plain memory, a window of 64 GiB of addresses, the caller executes.
    fn default() -> Self {
        Self {
            config: DeviceConfig::default(),
            window_bytes: 64 << 30,
            resolvers: vec![Box::new(MemoryResolver::new())],
            renderer: None,
            primary: false,
            thread: None,
        }
    }
}

/// What the file knows of its context.
#[derive(Debug, Default)]
struct ContextState {
    created: bool,
    num_rings: u32,
}

/// The file's handles.
#[derive(Default)]
struct Table {
    gems: HashMap<u32, Arc<Gem>>,
    handles: HashMap<u32, u32>,
    last: u32,
}

/// An open file of the loopback device.
pub struct Loopback {
    driver: Arc<Driver>,
    ctx_id: u32,
    primary: bool,
    context: Mutex<ContextState>,
    table: Mutex<Table>,
}

fn errno(ioctl: Ioctl) -> impl Fn(Errno) -> NodeError {
    move |errno| NodeError::new(ioctl, errno)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loopback {
    /// A host with default options, and the first open file of its device.
    ///
    /// # Errors
    /// [`DeviceError`], which the defaults do not raise.
    pub fn new() -> Result<Self, DeviceError> {
        Self::with_options(LoopbackOptions::default())
    }

    /// A host, and the first open file of its device.
    ///
    /// # Errors
    /// [`DeviceError`] for a configuration that no guest could use.
    pub fn with_options(options: LoopbackOptions) -> Result<Self, DeviceError> {
        let (ram, window) = (Arc::new(Ram::default()), Arc::new(HostVisible::new(options.window_bytes)));
        let device =
            Arc::new(Device::with_renderer(options.config, options.resolvers, options.renderer, ram.clone(), window.clone())?);
        let queue = match options.thread {
            None => Queue::inline(device),
            Some(delay) => Queue::threaded(device, delay),
        };
        Ok(Self::open(Arc::new(Driver::new(queue, ram, window)), options.primary))
    }

    /// Another open file of the same device, as another process would have it.
    pub fn open_again(&self) -> Self {
        Self::open(self.driver.clone(), self.primary)
    }

    /// The host module behind it.
    pub fn host(&self) -> &Arc<Device> {
        self.driver.queue.device()
    }

    fn open(driver: Arc<Driver>, primary: bool) -> Self {
        let ctx_id = driver.take_context_id();
        Self { driver, ctx_id, primary, context: Mutex::default(), table: Mutex::default() }
    }

    /// Makes the context of a file that never chose one.
    fn ensure_context(&self) {
        if !self.driver.has(feature::VIRGL) {
            return;
        }
        let mut context = lock(&self.context);
        if !context.created {
            self.create_context(0, "loopback");
            context.created = true;
        }
    }

    fn create_context(&self, capset_id: u32, name: &str) {
        let mut body = wire::CtxCreate { context_init: capset_id.into(), ..wire::CtxCreate::default() };
        for (to, from) in body.debug_name.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        body.nlen = (name.len().min(body.debug_name.len()) as u32).into();
        self.driver.send(command(Command::CtxCreate, self.ctx_id, body, &[]));
    }

    fn gem(&self, bo_handle: u32) -> Result<Arc<Gem>, Errno> {
        lock(&self.table).gems.get(&bo_handle).cloned().ok_or(Errno::NOENT)
    }

    /// The file's handle for a buffer: the one that it has, or a new one, and then the context gets the resource too.
    fn handle_for(&self, gem: Arc<Gem>) -> u32 {
        let mut table = lock(&self.table);
        if let Some(handle) = table.handles.get(&gem.resource_id) {
            return *handle;
        }
        if self.driver.has(feature::VIRGL) {
            self.driver.send(on_resource(Command::CtxAttachResource, self.ctx_id, gem.resource_id));
        }
        table.last += 1;
        let handle = table.last;
        table.handles.insert(gem.resource_id, handle);
        table.gems.insert(handle, gem);
        handle
    }

    fn detach(&self, gem: &Gem) {
        if self.driver.has(feature::VIRGL) {
            self.driver.send(on_resource(Command::CtxDetachResource, self.ctx_id, gem.resource_id));
        }
    }

    fn blob(&self, blob: &BlobCreate<'_>, size: u64) -> Result<Arc<Gem>, Errno> {
        let resource_id = self.driver.next_resource_id();
        let body = wire::ResourceCreateBlob {
            resource_id: resource_id.into(),
            blob_mem: (blob.mem as u32).into(),
            blob_flags: blob.flags.bits().into(),
            blob_id: blob.blob_id.into(),
            size: size.into(),
            ..wire::ResourceCreateBlob::default()
        };
        let ctx_id = if blob.mem == BlobMem::Guest { 0 } else { self.ctx_id };
        if blob.mem == BlobMem::Host3d {
            self.driver.send(command(Command::ResourceCreateBlob, ctx_id, body, &[]));
            let mut gem = self.driver.host_gem(resource_id, blob.mem as u32, size);
            if blob.flags.contains(BlobFlags::MAPPABLE) {
                gem.map_into_window()?;
            }
            return Ok(Arc::new(gem));
        }
        let pages = self.driver.ram.allocate(size).map_err(|_| Errno::NOMEM)?;
        let (entry, nr_entries) = (mem_entry(&pages, size)?, 1.into());
        let body = wire::ResourceCreateBlob { nr_entries, ..body };
        self.driver.send(command(Command::ResourceCreateBlob, ctx_id, body, entry.as_bytes()));
        Ok(self.driver.guest_gem(resource_id, blob.mem as u32, pages, size))
    }

    /// RESOURCE_CREATE_2D with its pages.
    fn resource_2d(&self, format: u32, width: u32, height: u32, bytes: u64) -> Result<Arc<Gem>, Errno> {
        let size = bytes.max(1).checked_next_multiple_of(PAGE_BYTES).ok_or(Errno::NOMEM)?;
        let resource_id = self.driver.next_resource_id();
        let body = wire::ResourceCreate2d {
            resource_id: resource_id.into(),
            format: format.into(),
            width: width.into(),
            height: height.into(),
        };
        let pages = self.driver.ram.allocate(size).map_err(|_| Errno::NOMEM)?;
        let entry = mem_entry(&pages, size)?;
        self.driver.send(command(Command::ResourceCreate2d, 0, body, &[]));
        let backing = wire::AttachBacking { resource_id: resource_id.into(), nr_entries: 1.into() };
        self.driver.send(command(Command::ResourceAttachBacking, 0, backing, entry.as_bytes()));
        Ok(self.driver.guest_gem(resource_id, 0, pages, size))
    }

    /// What TRANSFER_TO_HOST does on a device without contexts.
    fn transfer_2d(&self, transfer: &Transfer) -> Result<(), Errno> {
        let gem = self.gem(transfer.bo_handle)?;
        let (x, y, width, height) = (transfer.x.into(), transfer.y.into(), transfer.width.into(), transfer.height.into());
        let body = wire::TransferToHost2d {
            rect: wire::Rect { x, y, width, height },
            offset: u64::from(transfer.offset).into(),
            resource_id: gem.resource_id.into(),
            ..wire::TransferToHost2d::default()
        };
        gem.add_fence(self.driver.send_fenced(command(Command::TransferToHost2d, 0, body, &[]), None));
        Ok(())
    }

    fn transfer(&self, number: Command, ioctl: Ioctl, transfer: &Transfer) -> Result<(), NodeError> {
        if !self.driver.has(feature::VIRGL) {
            let done = if number == Command::TransferToHost3d { self.transfer_2d(transfer) } else { Err(Errno::NOSYS) };
            return done.map_err(errno(ioctl));
        }
        self.ensure_context();
        let gem = self.gem(transfer.bo_handle).map_err(errno(ioctl))?;
        let area = wire::Box3d {
            x: transfer.x.into(),
            y: transfer.y.into(),
            w: transfer.width.into(),
            h: transfer.height.into(),
            d: 1.into(),
            ..wire::Box3d::default()
        };
        let body = wire::TransferHost3d {
            area,
            offset: u64::from(transfer.offset).into(),
            resource_id: gem.resource_id.into(),
            stride: transfer.stride.into(),
            level: transfer.level.into(),
            ..wire::TransferHost3d::default()
        };
        gem.add_fence(self.driver.send_fenced(command(number, self.ctx_id, body, &[]), None));
        Ok(())
    }
}

fn mem_entry(pages: &Pages, size: u64) -> Result<wire::MemEntry, Errno> {
    let length = u32::try_from(size).map_err(|_| Errno::NOMEM)?;
    Ok(wire::MemEntry { addr: pages.address.into(), length: length.into(), ..wire::MemEntry::default() })
}

impl Node for Loopback {
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn get_param(&self, param: Param) -> Result<u64, NodeError> {
        driver::param(&self.driver, param).map_err(errno(Ioctl::GetParam))
    }

    fn get_caps(&self, capset_id: u32, version: u32, buffer: &mut [u8]) -> Result<(), NodeError> {
        if buffer.is_empty() {
            return Err(NodeError::new(Ioctl::GetCaps, Errno::INVAL));
        }
        let capset = self.driver.capset(capset_id, version).map_err(errno(Ioctl::GetCaps))?;
        for (to, from) in buffer.iter_mut().zip(capset) {
            *to = from;
        }
        Ok(())
    }

    fn context_init(&self, init: &ContextInit<'_>) -> Result<(), NodeError> {
        let refuse = |errno| Err(NodeError::new(Ioctl::ContextInit, errno));
        let mut context = lock(&self.context);
        if context.created {
            return refuse(Errno::EXIST);
        }
        let offered = self.driver.capsets.iter().any(|capset| capset.id == init.capset_id);
        if !offered || init.num_rings > MAX_RINGS {
            return refuse(Errno::INVAL);
        }
        self.create_context(init.capset_id, init.debug_name);
        *context = ContextState { created: true, num_rings: init.num_rings };
        Ok(())
    }

    fn execbuffer(&self, submission: &Execbuffer<'_>) -> Result<Option<OwnedFd>, NodeError> {
        let fail = errno(Ioctl::Execbuffer);
        if !submission.in_syncobjs.is_empty() || !submission.out_syncobjs.is_empty() {
            return Err(fail(Errno::NOENT));
        }
        if !self.driver.has(feature::VIRGL) {
            return Err(fail(Errno::NOSYS));
        }
        self.ensure_context();
        let ring_idx = submission.ring_idx.filter(|ring| *ring < lock(&self.context).num_rings);
        if ring_idx != submission.ring_idx {
            return Err(fail(Errno::INVAL));
        }
        let gems: Result<Vec<_>, _> = submission.bo_handles.iter().map(|handle| self.gem(*handle)).collect();
        let gems = gems.map_err(&fail)?;
        if let Some(in_fence) = submission.in_fence {
            poll::wait_readable(in_fence, HOST_TIMEOUT).map_err(|source| NodeError { ioctl: Ioctl::Execbuffer, source })?;
        }
        let body = wire::Submit3d { size: (submission.command.len() as u32).into(), ..wire::Submit3d::default() };
        let request = command(Command::Submit3d, self.ctx_id, body, submission.command);
        let fence = self.driver.send_fenced(request, ring_idx.map(|ring| ring as u8));
        for gem in gems {
            gem.add_fence(fence.clone());
        }
        submission.out_fence.then(|| fence.descriptor()).transpose().map_err(fail)
    }

    fn resource_create(&self, resource: &ResourceCreate) -> Result<Handles, NodeError> {
        let fail = errno(Ioctl::ResourceCreate);
        if !self.driver.has(feature::VIRGL) {
            let flat = resource.target == wire::TARGET_TEXTURE_2D;
            let gem = flat.then(|| self.resource_2d(resource.format, resource.width, resource.height, resource.size.into()));
            let gem = gem.unwrap_or(Err(Errno::INVAL)).map_err(fail)?;
            let resource_id = gem.resource_id;
            return Ok(Handles { bo_handle: self.handle_for(gem), resource_id });
        }
        self.ensure_context();
        let size = u64::from(resource.size).max(1).next_multiple_of(PAGE_BYTES);
        let resource_id = self.driver.next_resource_id();
        let body = wire::ResourceCreate3d {
            resource_id: resource_id.into(),
            target: resource.target.into(),
            format: resource.format.into(),
            bind: resource.bind.into(),
            width: resource.width.into(),
            height: resource.height.into(),
            depth: 1.into(),
            array_size: 1.into(),
            ..wire::ResourceCreate3d::default()
        };
        let pages = self.driver.ram.allocate(size).map_err(|_| fail(Errno::NOMEM))?;
        let entry = mem_entry(&pages, size).map_err(&fail)?;
        let fence = self.driver.send_fenced(command(Command::ResourceCreate3d, 0, body, &[]), None);
        let backing = wire::AttachBacking { resource_id: resource_id.into(), nr_entries: 1.into() };
        self.driver.send(command(Command::ResourceAttachBacking, 0, backing, entry.as_bytes()));
        let gem = self.driver.guest_gem(resource_id, 0, pages, size);
        gem.add_fence(fence);
        Ok(Handles { bo_handle: self.handle_for(gem), resource_id })
    }

    fn resource_create_blob(&self, blob: &BlobCreate<'_>) -> Result<Handles, NodeError> {
        let fail = errno(Ioctl::ResourceCreateBlob);
        let guest = blob.mem == BlobMem::Guest;
        let unwanted = guest && (blob.blob_id != 0 || !blob.command.is_empty());
        let known = BlobFlags::all().contains(blob.flags);
        if !self.driver.has(feature::RESOURCE_BLOB)
            || unwanted
            || !known
            || !blob.command.len().is_multiple_of(4)
            || blob.size == 0
        {
            return Err(fail(Errno::INVAL));
        }
        let size = blob.size.checked_next_multiple_of(PAGE_BYTES).filter(|size| *size < 1 << MMAP_OFFSET_SHIFT);
        let size = size.ok_or_else(|| fail(Errno::NOSPC))?;
        self.ensure_context();
        if !blob.command.is_empty() {
            let body = wire::Submit3d { size: (blob.command.len() as u32).into(), ..wire::Submit3d::default() };
            self.driver.send(command(Command::Submit3d, self.ctx_id, body, blob.command));
        }
        let gem = self.blob(blob, size).map_err(fail)?;
        let resource_id = gem.resource_id;
        Ok(Handles { bo_handle: self.handle_for(gem), resource_id })
    }

    fn create_dumb(&self, width: u32, height: u32, bits_per_pixel: u32) -> Result<Dumb, NodeError> {
        let fail = errno(Ioctl::CreateDumb);
        if !self.primary {
            return Err(fail(Errno::ACCESS));
        }
        let stride = u64::from(width) * u64::from(bits_per_pixel.div_ceil(8));
        let size = stride * u64::from(height);
        let (Ok(stride_bytes), 1.., 32) = (u32::try_from(stride), size, bits_per_pixel) else {
            return Err(fail(Errno::INVAL));
        };
        let format = Format::XRGB8888.virtio_2d().unwrap_or(0);
        let gem = self.resource_2d(format, width, height, size).map_err(fail)?;
        let size = gem.size;
        Ok(Dumb { bo_handle: self.handle_for(gem), stride_bytes, size })
    }

    fn resource_info(&self, bo_handle: u32) -> Result<ResourceInfo, NodeError> {
        let gem = self.gem(bo_handle).map_err(errno(Ioctl::ResourceInfo))?;
        // The kernel's field has 32 bits and cuts off what is above.
        Ok(ResourceInfo { resource_id: gem.resource_id, size: gem.size as u32, blob_mem: gem.blob_mem })
    }

    fn map(&self, bo_handle: u32) -> Result<u64, NodeError> {
        let gem = self.gem(bo_handle).map_err(errno(Ioctl::Map))?;
        Ok(u64::from(gem.resource_id) << MMAP_OFFSET_SHIFT)
    }

    fn mmap(&self, offset: u64, length: u64) -> Result<Mmap, NodeError> {
        let fail = errno(Ioctl::Mmap);
        let resource_id = (offset >> MMAP_OFFSET_SHIFT) as u32;
        let gem = {
            let table = lock(&self.table);
            let handle = table.handles.get(&resource_id);
            handle.and_then(|handle| table.gems.get(handle)).cloned()
        };
        let gem = gem.ok_or_else(|| fail(Errno::INVAL))?;
        gem.mmap(length).map_err(|source| NodeError { ioctl: Ioctl::Mmap, source })
    }

    fn transfer_to_host(&self, transfer: &Transfer) -> Result<(), NodeError> {
        self.transfer(Command::TransferToHost3d, Ioctl::TransferToHost, transfer)
    }

    fn transfer_from_host(&self, transfer: &Transfer) -> Result<(), NodeError> {
        self.transfer(Command::TransferFromHost3d, Ioctl::TransferFromHost, transfer)
    }

    fn wait(&self, bo_handle: u32) -> Result<(), NodeError> {
        let gem = self.gem(bo_handle).map_err(errno(Ioctl::Wait))?;
        if gem.wait() { Ok(()) } else { Err(NodeError::new(Ioctl::Wait, Errno::BUSY)) }
    }

    fn prime_handle_to_fd(&self, bo_handle: u32) -> Result<OwnedFd, NodeError> {
        let fail = errno(Ioctl::PrimeHandleToFd);
        let gem = self.gem(bo_handle).map_err(&fail)?;
        gem.export().map_err(fail)
    }

    fn prime_fd_to_handle(&self, fd: BorrowedFd<'_>) -> Result<u32, NodeError> {
        log::trace!("import of descriptor {}", fd.as_raw_fd());
        let gem = self.driver.imported(fd).map_err(errno(Ioctl::PrimeFdToHandle))?;
        self.ensure_context();
        Ok(self.handle_for(gem))
    }

    fn gem_close(&self, bo_handle: u32) -> Result<(), NodeError> {
        let gem = {
            let mut table = lock(&self.table);
            let gem = table.gems.remove(&bo_handle).ok_or(NodeError::new(Ioctl::GemClose, Errno::INVAL))?;
            table.handles.remove(&gem.resource_id);
            gem
        };
        self.detach(&gem);
        Ok(())
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        for (_, gem) in lock(&self.table).gems.drain() {
            self.detach(&gem);
        }
        if lock(&self.context).created {
            let destroy = wire::CtrlHdr::command(Command::CtxDestroy, self.ctx_id);
            self.driver.send(destroy.as_bytes().to_vec());
        }
        self.driver.give_context_id_back(self.ctx_id);
    }
}

#[cfg(test)]
mod tests;
