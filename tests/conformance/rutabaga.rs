//! The peer: rutabaga_gfx in this process, behind a node that does what the Linux driver does for a guest of crosvm.

use rustix::io::Errno;
use rutabaga_gfx::{RUTABAGA_BLOB_MEM_GUEST, RUTABAGA_CAPSET_CROSS_DOMAIN, ResourceCreateBlob, RutabagaIovec};
use rutabaga_gfx::{Rutabaga as Library, RutabagaBuilder, RutabagaFenceHandler};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use virgbm::guest::node::{
    BlobCreate, BlobMem, ContextInit, Dumb, Execbuffer, Handles, Ioctl, Node, NodeError, Param, ResourceCreate, ResourceInfo,
    Transfer,
};
use virgbm::sys::{memfd, mmap::Mmap};

const PAGE_BYTES: u64 = 4096;

/// Where a buffer's number is in its mmap offset.
const OFFSET_SHIFT: u32 = 40;

type Job = Box<dyn FnOnce(&mut Library) + Send>;

/// The library on a thread of its own, since it stays on the one where it was made.
#[derive(Clone)]
struct Host(Sender<Job>);

impl Host {
    fn start() -> Self {
        let (jobs, queue) = channel::<Job>();
        std::thread::spawn(move || {
            let fences = RutabagaFenceHandler::new(|_| {});
            let mut library = RutabagaBuilder::new(1 << RUTABAGA_CAPSET_CROSS_DOMAIN, fences).build().unwrap();
            queue.into_iter().for_each(|job| job(&mut library));
        });
        Self(jobs)
    }

    fn call<T: Send + 'static>(&self, work: impl FnOnce(&mut Library) -> T + Send + 'static) -> T {
        let (answer, answered) = channel();
        self.0.send(Box::new(move |library| answer.send(work(library)).unwrap())).unwrap();
        answered.recv().unwrap()
    }
}

/// A resource: the kernel lets go of it with its last file.
struct Resource {
    id: u32,
    size: u64,
    /// The guest's pages, or what the host has exported; none when the host refused.
    fd: Option<OwnedFd>,
    /// The pages as the library writes them.
    _pages: Option<Arc<Mmap>>,
    host: Host,
}

impl Drop for Resource {
    fn drop(&mut self) {
        let id = self.id;
        self.host.call(move |host| drop(host.unref_resource(id)));
    }
}

/// What all files of the device share.
struct Driver {
    host: Host,
    last: Mutex<u32>,
    /// What was exported, by inode.
    exported: Mutex<HashMap<u64, Arc<Resource>>>,
}

/// An open file.
pub struct RutabagaNode {
    driver: Arc<Driver>,
    context: u32,
    /// By handle, which is the resource's number.
    resources: Mutex<HashMap<u32, Arc<Resource>>>,
}

fn failed(ioctl: Ioctl, errno: Errno) -> NodeError {
    NodeError::new(ioctl, errno)
}

impl RutabagaNode {
    pub fn new() -> Self {
        let driver = Driver { host: Host::start(), last: Mutex::new(0), exported: Mutex::default() };
        Self { driver: Arc::new(driver), context: 1, resources: Mutex::default() }
    }

    pub fn open_again(&self) -> Self {
        Self { driver: self.driver.clone(), context: self.context + 1, resources: Mutex::default() }
    }

    fn host<T: Send + 'static>(&self, work: impl FnOnce(&mut Library) -> T + Send + 'static) -> T {
        self.driver.host.call(work)
    }

    fn resource(&self, handle: u32, ioctl: Ioctl) -> Result<Arc<Resource>, NodeError> {
        self.resources.lock().unwrap().get(&handle).cloned().ok_or(failed(ioctl, Errno::NOENT))
    }

    fn keep(&self, resource: Arc<Resource>) -> u32 {
        let id = resource.id;
        if self.resources.lock().unwrap().insert(id, resource).is_none() {
            let context = self.context;
            self.host(move |host| drop(host.context_attach_resource(context, id)));
        }
        id
    }
}

impl Node for RutabagaNode {
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn get_param(&self, param: Param) -> Result<u64, NodeError> {
        match param {
            Param::CrossDevice => Ok(0),
            Param::SupportedCapsetIds => Ok(1 << RUTABAGA_CAPSET_CROSS_DOMAIN),
            Param::BlobAlignment => Err(failed(Ioctl::GetParam, Errno::INVAL)),
            _ => Ok(1),
        }
    }

    fn get_caps(&self, capset_id: u32, version: u32, buffer: &mut [u8]) -> Result<(), NodeError> {
        let capset =
            self.host(move |host| host.get_capset(capset_id, version).ok()).ok_or(failed(Ioctl::GetCaps, Errno::INVAL))?;
        buffer.iter_mut().zip(capset).for_each(|(to, from)| *to = from);
        Ok(())
    }

    fn context_init(&self, context: &ContextInit<'_>) -> Result<(), NodeError> {
        let (id, capset, name) = (self.context, context.capset_id, context.debug_name.to_owned());
        let made = self.host(move |host| host.create_context(id, capset, Some(&name)).is_ok());
        if made { Ok(()) } else { Err(failed(Ioctl::ContextInit, Errno::INVAL)) }
    }

    fn execbuffer(&self, submission: &Execbuffer<'_>) -> Result<Option<OwnedFd>, NodeError> {
        // The driver does not see whether the host has taken the commands.
        let (context, mut command) = (self.context, submission.command.to_vec());
        self.host(move |host| drop(host.submit_command(context, &mut command, &[])));
        let fence = || {
            let fence = rustix::event::eventfd(1, rustix::event::EventfdFlags::CLOEXEC);
            fence.map_err(|errno| failed(Ioctl::Execbuffer, errno))
        };
        submission.out_fence.then(fence).transpose()
    }

    fn resource_create(&self, _: &ResourceCreate) -> Result<Handles, NodeError> {
        Err(failed(Ioctl::ResourceCreate, Errno::NOSYS))
    }

    fn resource_create_blob(&self, blob: &BlobCreate<'_>) -> Result<Handles, NodeError> {
        let size = blob.size.next_multiple_of(PAGE_BYTES);
        let id = {
            let mut last = self.driver.last.lock().unwrap();
            *last += 1;
            *last
        };
        let asked = ResourceCreateBlob { blob_mem: blob.mem as u32, blob_flags: blob.flags.bits(), blob_id: blob.blob_id, size };
        let (fd, pages) = if blob.mem == BlobMem::Guest {
            assert_eq!(asked.blob_mem, RUTABAGA_BLOB_MEM_GUEST);
            let fd = memfd::sealed(size).unwrap();
            let pages = Arc::new(Mmap::shared(fd.as_fd(), 0, size, None).unwrap());
            let written = pages.clone();
            self.host(move |host| {
                let iovec = RutabagaIovec { base: written.as_ptr().cast(), len: written.len() };
                host.resource_create_blob(0, id, asked, Some(vec![iovec]), None).unwrap();
            });
            (Some(fd), Some(pages))
        } else {
            let context = self.context;
            let fd = self.host(move |host| {
                host.resource_create_blob(context, id, asked, None, None).ok()?;
                let exported = host.export_blob(id).ok()?;
                exported.as_mesa_handle()?.os_handle.as_fd().try_clone_to_owned().ok()
            });
            (fd, None)
        };
        let resource = Resource { id, size, fd, _pages: pages, host: self.driver.host.clone() };
        Ok(Handles { bo_handle: self.keep(Arc::new(resource)), resource_id: id })
    }

    fn create_dumb(&self, _: u32, _: u32, _: u32) -> Result<Dumb, NodeError> {
        Err(failed(Ioctl::CreateDumb, Errno::ACCESS))
    }

    fn resource_info(&self, bo_handle: u32) -> Result<ResourceInfo, NodeError> {
        let resource = self.resource(bo_handle, Ioctl::ResourceInfo)?;
        Ok(ResourceInfo { resource_id: resource.id, size: resource.size as u32, blob_mem: 2 })
    }

    fn map(&self, bo_handle: u32) -> Result<u64, NodeError> {
        Ok(u64::from(self.resource(bo_handle, Ioctl::Map)?.id) << OFFSET_SHIFT)
    }

    fn mmap(&self, offset: u64, length: u64) -> Result<Mmap, NodeError> {
        let resource = self.resource((offset >> OFFSET_SHIFT) as u32, Ioctl::Mmap)?;
        let fd = resource.fd.as_ref().ok_or(failed(Ioctl::Mmap, Errno::INVAL))?;
        Mmap::shared(fd.as_fd(), 0, length, Some(resource.clone())).map_err(|error| NodeError::new(Ioctl::Mmap, error))
    }

    fn transfer_to_host(&self, _: &Transfer) -> Result<(), NodeError> {
        Err(failed(Ioctl::TransferToHost, Errno::NOSYS))
    }

    fn transfer_from_host(&self, _: &Transfer) -> Result<(), NodeError> {
        Err(failed(Ioctl::TransferFromHost, Errno::NOSYS))
    }

    fn wait(&self, _: u32) -> Result<(), NodeError> {
        Ok(())
    }

    fn prime_handle_to_fd(&self, bo_handle: u32) -> Result<OwnedFd, NodeError> {
        let resource = self.resource(bo_handle, Ioctl::PrimeHandleToFd)?;
        let fd = resource.fd.as_ref().ok_or(failed(Ioctl::PrimeHandleToFd, Errno::INVAL))?.try_clone().unwrap();
        let inode = rustix::fs::fstat(&fd).unwrap().st_ino;
        self.driver.exported.lock().unwrap().insert(inode, resource);
        Ok(fd)
    }

    fn prime_fd_to_handle(&self, fd: BorrowedFd<'_>) -> Result<u32, NodeError> {
        let inode = rustix::fs::fstat(fd).map_err(|errno| failed(Ioctl::PrimeFdToHandle, errno))?.st_ino;
        let resource = self.driver.exported.lock().unwrap().get(&inode).cloned();
        Ok(self.keep(resource.ok_or(failed(Ioctl::PrimeFdToHandle, Errno::NODEV))?))
    }

    fn gem_close(&self, bo_handle: u32) -> Result<(), NodeError> {
        let gone = self.resources.lock().unwrap().remove(&bo_handle);
        gone.map(drop).ok_or(failed(Ioctl::GemClose, Errno::INVAL))
    }
}
