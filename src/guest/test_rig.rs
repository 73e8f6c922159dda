//! What tests and fuzz targets of the guest library stand on: a node whose host says whatever it is told to.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::node::{
    BlobCreate, ContextInit, Dumb, Execbuffer, Handles, Ioctl, Node, NodeError, Param, ResourceCreate, ResourceInfo, Transfer,
};
use crate::sys::{memfd, mmap::Mmap};
use crate::wire::alloc::{CAPSET_ID, Capabilities};
use crate::{Alignment, BufferRequest, Extent, Format, Modifier, Offer, Support, SupportTable, Usage};
use rustix::event::EventfdFlags;
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

/// The largest buffer that it makes.
const LARGEST_BYTES: u64 = 1 << 20;

/// Where a buffer's handle is in its mmap offset.
const OFFSET_SHIFT: u32 = 32;

/// A node that answers with the bytes that it was given, round and round: parameters, capsets, and what lies in every buffer
/// after each command. Its calls fail now and then.
pub struct Babbler {
    bytes: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    at: usize,
    buffers: HashMap<u32, OwnedFd>,
    last: u32,
}

impl Babbler {
    /// A node with these answers.
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: if bytes.is_empty() { vec![0] } else { bytes.to_vec() }, state: Mutex::default() }
    }

    /// The next so many bytes.
    fn next(&self, count: usize) -> Vec<u8> {
        let mut state = self.state.lock().unwrap();
        let said: Vec<u8> = self.bytes.iter().copied().cycle().skip(state.at).take(count).collect();
        state.at = (state.at + count) % self.bytes.len();
        said
    }

    fn number(&self) -> u64 {
        self.next(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Fails one call in sixteen.
    fn fate(&self, ioctl: Ioctl) -> Result<(), NodeError> {
        if self.number().is_multiple_of(16) { Err(NodeError::new(ioctl, Errno::INVAL)) } else { Ok(()) }
    }

    /// What the host does when it has commands: it writes into everything that it knows.
    fn babble(&self) {
        let said = self.next(512);
        for buffer in self.state.lock().unwrap().buffers.values() {
            let _short = memfd::write_all(buffer.as_fd(), &said, 0);
        }
    }

    fn make(&self, size: u64, ioctl: Ioctl) -> Result<u32, NodeError> {
        self.fate(ioctl)?;
        if size == 0 || size > LARGEST_BYTES {
            return Err(NodeError::new(ioctl, Errno::NOMEM));
        }
        let pages = memfd::sealed(size.next_multiple_of(4096)).map_err(|error| NodeError::new(ioctl, error))?;
        let mut state = self.state.lock().unwrap();
        state.last += 1;
        let handle = state.last;
        state.buffers.insert(handle, pages);
        Ok(handle)
    }
}

/// An offer with a format of each kind: one that the guest lays out, one that the host does.
fn offer() -> Offer {
    let support = |format: Format, guest_layout| Support {
        format,
        modifier: Modifier::LINEAR,
        usages: Usage::all().difference(Usage::LINEAR),
        plane_count: format.planes().len() as u32,
        alignment: Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 },
        guest_layout,
        transfers: false,
    };
    let entries = vec![support(Format::XRGB8888, true), support(Format::NV12, false), support(Format::R8, true)];
    Offer {
        capabilities: Capabilities::HOST_VISIBLE,
        table: SupportTable::new(entries, Extent { width: 4096, height: 4096, layers: 1 }),
        blob_alignment: 4096,
        context_bytes: 1 << 30,
        context_objects: 1024,
    }
}

impl Node for Babbler {
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn get_param(&self, param: Param) -> Result<u64, NodeError> {
        let said = self.number();
        match param {
            Param::SupportedCapsetIds | Param::BlobAlignment => Ok(said),
            _ => Ok(u64::from(!said.is_multiple_of(4))),
        }
    }

    fn get_caps(&self, capset_id: u32, _: u32, buffer: &mut [u8]) -> Result<(), NodeError> {
        self.fate(Ioctl::GetCaps)?;
        let said = self.next(buffer.len());
        buffer.copy_from_slice(&said);
        // Mostly a capset of our protocol with one byte wrong, since few others get beyond its magic.
        if capset_id == CAPSET_ID && !self.number().is_multiple_of(4) {
            let mut capset = offer().encode();
            let wrong = self.number() as usize % capset.len();
            capset[wrong] ^= self.next(1)[0];
            buffer.iter_mut().zip(capset).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }

    fn context_init(&self, _: &ContextInit<'_>) -> Result<(), NodeError> {
        self.fate(Ioctl::ContextInit)
    }

    fn execbuffer(&self, submission: &Execbuffer<'_>) -> Result<Option<OwnedFd>, NodeError> {
        self.fate(Ioctl::Execbuffer)?;
        self.babble();
        let signalled = u32::from(!self.number().is_multiple_of(8));
        let fence =
            || rustix::event::eventfd(signalled, EventfdFlags::CLOEXEC).map_err(|errno| NodeError::new(Ioctl::Execbuffer, errno));
        submission.out_fence.then(fence).transpose()
    }

    fn resource_create(&self, resource: &ResourceCreate) -> Result<Handles, NodeError> {
        let bo_handle = self.make(resource.size.into(), Ioctl::ResourceCreate)?;
        Ok(Handles { bo_handle, resource_id: bo_handle })
    }

    fn resource_create_blob(&self, blob: &BlobCreate<'_>) -> Result<Handles, NodeError> {
        let bo_handle = self.make(blob.size, Ioctl::ResourceCreateBlob)?;
        self.babble();
        Ok(Handles { bo_handle, resource_id: bo_handle })
    }

    fn create_dumb(&self, width: u32, height: u32, bits_per_pixel: u32) -> Result<Dumb, NodeError> {
        let size = u64::from(width) * u64::from(height) * u64::from(bits_per_pixel / 8);
        let bo_handle = self.make(size, Ioctl::CreateDumb)?;
        Ok(Dumb { bo_handle, stride_bytes: self.number() as u32, size: self.number() })
    }

    fn resource_info(&self, bo_handle: u32) -> Result<ResourceInfo, NodeError> {
        self.fate(Ioctl::ResourceInfo)?;
        Ok(ResourceInfo { resource_id: bo_handle, size: self.number() as u32, blob_mem: self.number() as u32 })
    }

    fn map(&self, bo_handle: u32) -> Result<u64, NodeError> {
        self.fate(Ioctl::Map)?;
        Ok(u64::from(bo_handle) << OFFSET_SHIFT)
    }

    fn mmap(&self, offset: u64, length: u64) -> Result<Mmap, NodeError> {
        let state = self.state.lock().unwrap();
        let buffer = state.buffers.get(&((offset >> OFFSET_SHIFT) as u32)).ok_or(NodeError::new(Ioctl::Mmap, Errno::INVAL))?;
        // The kernel maps no more than there is.
        let size = rustix::fs::fstat(buffer).map_or(0, |stat| stat.st_size as u64);
        if length > size {
            return Err(NodeError::new(Ioctl::Mmap, Errno::INVAL));
        }
        Mmap::shared(buffer.as_fd(), 0, length, None).map_err(|error| NodeError::new(Ioctl::Mmap, error))
    }

    fn transfer_to_host(&self, _: &Transfer) -> Result<(), NodeError> {
        self.fate(Ioctl::TransferToHost)
    }

    fn transfer_from_host(&self, _: &Transfer) -> Result<(), NodeError> {
        self.babble();
        self.fate(Ioctl::TransferFromHost)
    }

    fn wait(&self, _: u32) -> Result<(), NodeError> {
        self.fate(Ioctl::Wait)
    }

    fn prime_handle_to_fd(&self, bo_handle: u32) -> Result<OwnedFd, NodeError> {
        self.fate(Ioctl::PrimeHandleToFd)?;
        let state = self.state.lock().unwrap();
        let buffer = state.buffers.get(&bo_handle).and_then(|buffer| buffer.try_clone().ok());
        buffer.ok_or(NodeError::new(Ioctl::PrimeHandleToFd, Errno::NOENT))
    }

    fn prime_fd_to_handle(&self, fd: BorrowedFd<'_>) -> Result<u32, NodeError> {
        self.fate(Ioctl::PrimeFdToHandle)?;
        let size = rustix::fs::fstat(fd).map_or(0, |stat| stat.st_size as u64);
        self.make(size, Ioctl::PrimeFdToHandle)
    }

    fn gem_close(&self, bo_handle: u32) -> Result<(), NodeError> {
        self.state.lock().unwrap().buffers.remove(&bo_handle);
        Ok(())
    }
}

/// Does with a host that babbles what a compositor does: everything may fail, and nothing may panic or wait long.
pub fn use_a_babbling_host(bytes: &[u8]) {
    use super::{Access, Device, DeviceOptions};
    let options = DeviceOptions { patience: std::time::Duration::from_micros(50), ..DeviceOptions::default() };
    let Ok(device) = Device::open_with(Babbler::new(bytes), &options) else { return };
    let cpu = Usage::CPU_READ_OFTEN | Usage::CPU_WRITE_OFTEN;
    for (format, width, height, usage) in [
        (Format::XRGB8888, 16, 16, cpu | Usage::RENDER),
        (Format::NV12, 65, 33, cpu),
        (Format::R8, 4096, 1, cpu | Usage::GPU_DATA),
        (Format::ARGB8888, 64, 64, Usage::TEXTURE),
    ] {
        let _modifiers = (device.modifiers(format, usage), device.plane_count(format, Modifier::LINEAR));
        let Ok(buffers) = device.create_many(&BufferRequest::new(format, width, height, usage), 2) else { continue };
        for buffer in buffers {
            if let Ok(mapping) = buffer.map(buffer.layout().whole(), Access::READ | Access::WRITE) {
                let _read = mapping.read_row(0, 0, &mut [0; 16]);
                let _written = mapping.write_row(1, 3, &[0; 16]);
            }
            if let Ok(dma_buf) = buffer.export() {
                let _imported = device.import(dma_buf.as_fd());
                let _imported = device.import_with_layout(dma_buf.as_fd(), buffer.layout());
            }
        }
    }
}
