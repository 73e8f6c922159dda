//! What the guest kernel's driver keeps for the whole device: resources, contexts, the window, and the bytes it sends.

use super::memory::{Pages, Ram};
use super::queue::{Fence, Queue, is_ok};
use super::window::HostVisible;
use crate::host::Window;
use crate::wire::virtio_gpu::{self as wire, Command, CtrlHdr, Reply, feature};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The page of the guest: sizes are rounded up to it.
pub const PAGE_BYTES: u64 = 4096;

/// One capset as the driver learned of it when it was loaded.
#[derive(Clone, Copy, Debug)]
pub struct Capset {
    pub id: u32,
    pub max_version: u32,
    pub max_size: u32,
}

/// The device and inode of an exported descriptor.
type Inode = (u64, u64);

/// The driver, shared by every open file of the device.
pub struct Driver {
    pub queue: Queue,
    pub ram: Arc<Ram>,
    pub window: Arc<HostVisible>,
    pub capsets: Vec<Capset>,
    capset_cache: Mutex<HashMap<(u32, u32), Vec<u8>>>,
    resource_id: AtomicU32,
    fence_id: AtomicU64,
    contexts: Mutex<BTreeSet<u32>>,
    exported: Mutex<HashMap<Inode, Weak<Gem>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command as it lies in the queue.
pub fn command<T: IntoBytes + Immutable>(command: Command, ctx_id: u32, body: T, rest: &[u8]) -> Vec<u8> {
    [CtrlHdr::command(command, ctx_id).as_bytes(), body.as_bytes(), rest].concat()
}

pub fn on_resource(number: Command, ctx_id: u32, resource_id: u32) -> Vec<u8> {
    command(number, ctx_id, wire::ResourceId { resource_id: resource_id.into(), ..wire::ResourceId::default() }, &[])
}

impl Driver {
    /// Loads the driver: asks the device for its capsets.
    pub fn new(queue: Queue, ram: Arc<Ram>, window: Arc<HostVisible>) -> Self {
        let count = queue.device().config_space().num_capsets.get();
        let capsets = (0..count).filter_map(|index| capset_info(&queue, index)).collect();
        Self {
            queue,
            ram,
            window,
            capsets,
            capset_cache: Mutex::default(),
            resource_id: AtomicU32::new(0),
            fence_id: AtomicU64::new(0),
            contexts: Mutex::default(),
            exported: Mutex::default(),
        }
    }

    pub fn has(&self, bit: u32) -> bool {
        self.queue.device().features() & 1 << bit != 0
    }

    /// The capset's bytes, from the cache after the first time.
    pub fn capset(&self, id: u32, version: u32) -> Result<Vec<u8>, Errno> {
        if let Some(bytes) = lock(&self.capset_cache).get(&(id, version)) {
            return Ok(bytes.clone());
        }
        let offered = self.capsets.iter().find(|capset| capset.id == id && version <= capset.max_version);
        let size = offered.ok_or(Errno::INVAL)?.max_size as usize;
        let body = wire::GetCapset { capset_id: id.into(), version: version.into() };
        let reply = self.queue.call(command(Command::GetCapset, 0, body, &[]));
        if !is_ok(&reply) {
            return Err(Errno::INVAL);
        }
        let mut bytes = reply.get(size_of::<CtrlHdr>()..).unwrap_or(&[]).to_vec();
        bytes.resize(size, 0);
        lock(&self.capset_cache).insert((id, version), bytes.clone());
        Ok(bytes)
    }

    /// The lowest context number that is free.
    pub fn take_context_id(&self) -> u32 {
        let mut taken = lock(&self.contexts);
        let id = (1..u32::MAX).find(|id| !taken.contains(id)).unwrap_or(u32::MAX);
        taken.insert(id);
        id
    }

    pub fn give_context_id_back(&self, id: u32) {
        lock(&self.contexts).remove(&id);
    }

    pub fn next_resource_id(&self) -> u32 {
        self.resource_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Sends a command whose answer nobody waits for.
    pub fn send(&self, request: Vec<u8>) {
        self.queue.send(request, |reply| {
            if !is_ok(reply) {
                log::debug!("the host refused a command, as the guest kernel prints in its log");
            }
        });
    }

    /// Sends a command with a fence, on a ring or on the device's own timeline.
    pub fn send_fenced(&self, mut request: Vec<u8>, ring_idx: Option<u8>) -> Arc<Fence> {
        let fence = Arc::new(Fence::default());
        let fence_id = self.fence_id.fetch_add(1, Ordering::Relaxed) + 1;
        if let Ok((header, _)) = CtrlHdr::mut_from_prefix(&mut request) {
            let ring = ring_idx.map_or(0, |_| wire::FLAG_INFO_RING_IDX);
            header.flags = (wire::FLAG_FENCE | ring).into();
            header.fence_id = fence_id.into();
            header.ring_idx = ring_idx.unwrap_or(0);
        }
        let signal = fence.clone();
        self.queue.send(request, move |reply| signal.signal(is_ok(reply)));
        fence
    }

    /// A buffer of guest pages; the command that makes its resource is sent already or sent next.
    pub fn guest_gem(self: &Arc<Self>, resource_id: u32, blob_mem: u32, pages: Arc<Pages>, size: u64) -> Arc<Gem> {
        let memory = GemMemory::Guest(pages);
        Arc::new(Gem::new(self.clone(), resource_id, blob_mem, size, memory))
    }

    /// A buffer of host memory.
    pub fn host_gem(self: &Arc<Self>, resource_id: u32, blob_mem: u32, size: u64) -> Gem {
        Gem::new(self.clone(), resource_id, blob_mem, size, GemMemory::Host(None))
    }

    /// The buffer behind a descriptor that some file of this device exported.
    pub fn imported(&self, fd: BorrowedFd<'_>) -> Result<Arc<Gem>, Errno> {
        let gem = lock(&self.exported).get(&inode(fd)?).and_then(Weak::upgrade);
        // Stock kernels before 6.14 refuse everybody else's dma-bufs.
        gem.ok_or(Errno::NODEV)
    }
}

fn inode(fd: BorrowedFd<'_>) -> Result<Inode, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn capset_info(queue: &Queue, index: u32) -> Option<Capset> {
    let body = wire::GetCapsetInfo { capset_index: index.into(), ..wire::GetCapsetInfo::default() };
    let reply = queue.call(command(Command::GetCapsetInfo, 0, body, &[]));
    let (header, rest) = CtrlHdr::read_from_prefix(&reply).ok()?;
    let (info, _) = wire::CapsetInfo::read_from_prefix(rest).ok()?;
    (header.ctype.get() == Reply::OkCapsetInfo.number()).then(|| Capset {
        id: info.capset_id.get(),
        max_version: info.max_version.get(),
        max_size: info.max_size.get(),
    })
}

/// A buffer object of the kernel, alive while a file has a handle for it or a process maps it.
pub struct Gem {
    driver: Arc<Driver>,
    pub resource_id: u32,
    pub blob_mem: u32,
    pub size: u64,
    memory: GemMemory,
    fences: Mutex<Vec<Arc<Fence>>>,
    inodes: Mutex<Vec<Inode>>,
}

enum GemMemory {
    Guest(Arc<Pages>),
    /// Where it is in the window, and whether the host agreed.
    Host(Option<(u64, Arc<Fence>)>),
}

impl Gem {
    fn new(driver: Arc<Driver>, resource_id: u32, blob_mem: u32, size: u64, memory: GemMemory) -> Self {
        Self { driver, resource_id, blob_mem, size, memory, fences: Mutex::default(), inodes: Mutex::default() }
    }

    /// Takes a range of the window and sends MAP_BLOB.
    pub fn map_into_window(&mut self) -> Result<(), Errno> {
        let offset = self.driver.window.take(self.size).ok_or(Errno::NOSPC)?;
        let body = wire::MapBlob { resource_id: self.resource_id.into(), offset: offset.into(), ..wire::MapBlob::default() };
        let state = self.driver.send_fenced(command(Command::ResourceMapBlob, 0, body, &[]), None);
        self.memory = GemMemory::Host(Some((offset, state)));
        Ok(())
    }

    pub fn pages(&self) -> Option<&Arc<Pages>> {
        match &self.memory {
            GemMemory::Guest(pages) => Some(pages),
            GemMemory::Host(_) => None,
        }
    }

    /// Maps it; for host memory that waits until the host has answered the MAP_BLOB.
    pub fn mmap(self: &Arc<Self>, length: u64) -> io::Result<crate::sys::mmap::Mmap> {
        if length > self.size {
            return Err(Errno::INVAL.into());
        }
        match &self.memory {
            GemMemory::Guest(pages) => crate::sys::mmap::Mmap::shared(pages.file.as_fd(), 0, length, Some(self.clone())),
            GemMemory::Host(Some((offset, state))) if state.wait(super::HOST_TIMEOUT) == Some(true) => {
                self.driver.window.mmap(*offset, length, self.clone())
            }
            GemMemory::Host(_) => Err(Errno::INVAL.into()),
        }
    }

    /// Remembers a fence that WAIT must wait for.
    pub fn add_fence(&self, fence: Arc<Fence>) {
        let mut fences = lock(&self.fences);
        fences.retain(|fence| !fence.is_signalled());
        fences.push(fence);
    }

    /// Waits for every fence; whether all were signalled in time. They stay in the list: others may wait for them too.
    pub fn wait(&self) -> bool {
        let fences = lock(&self.fences).clone();
        fences.iter().all(|fence| fence.wait(super::HOST_TIMEOUT).is_some())
    }

    /// A descriptor that any file of the device can import.
    pub fn export(self: &Arc<Self>) -> Result<OwnedFd, Errno> {
        let fd = match &self.memory {
            GemMemory::Guest(pages) => rustix::io::fcntl_dupfd_cloexec(&pages.file, 0)?,
            // The kernel exports also what the host refused to make: its descriptor shows nothing.
            GemMemory::Host(_) => match self.driver.queue.device().export(self.resource_id) {
                Ok(export) => export.fd,
                Err(_) => crate::sys::memfd::sealed(self.size).map_err(|_| Errno::NOMEM)?,
            },
        };
        let inode = inode(fd.as_fd())?;
        lock(&self.driver.exported).insert(inode, Arc::downgrade(self));
        lock(&self.inodes).push(inode);
        Ok(fd)
    }
}

impl Drop for Gem {
    fn drop(&mut self) {
        let driver = self.driver.clone();
        for inode in lock(&self.inodes).iter() {
            lock(&driver.exported).remove(inode);
        }
        if let GemMemory::Host(Some((offset, _))) = self.memory {
            let window = driver.window.clone();
            // The kernel sends this for a refused mapping too, and reuses the range when the host has answered.
            let unmap = on_resource(Command::ResourceUnmapBlob, 0, self.resource_id);
            driver.queue.send(unmap, move |_| window.give_back(offset));
        }
        let (ram, pages) = (driver.ram.clone(), self.pages().cloned());
        driver.queue.send(on_resource(Command::ResourceUnref, 0, self.resource_id), move |_| {
            if let Some(pages) = pages {
                ram.free(&pages);
            }
        });
    }
}

/// What GETPARAM answers, as the kernel's driver of Linux 6.12 does.
pub fn param(driver: &Driver, param: super::Param) -> Result<u64, Errno> {
    use super::Param;
    let host_visible = driver.window.size_bytes() > 0;
    Ok(match param {
        Param::Features3d => driver.has(feature::VIRGL).into(),
        Param::CapsetQueryFix | Param::ExplicitDebugName => 1,
        Param::ResourceBlob => driver.has(feature::RESOURCE_BLOB).into(),
        Param::HostVisible => host_visible.into(),
        Param::CrossDevice => driver.has(feature::RESOURCE_UUID).into(),
        Param::ContextInit => driver.has(feature::CONTEXT_INIT).into(),
        Param::SupportedCapsetIds => driver.capsets.iter().fold(0, |mask, capset| mask | 1 << capset.id),
        Param::BlobAlignment => return Err(Errno::INVAL),
    })
}
