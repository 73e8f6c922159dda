//! [`Allocator`]: from a descriptor to a buffer and its handle.

use crate::device::{self, NoDevice, Source};
use crate::handle::{BadHandle, Handle, check_words, describe};
use crate::metadata::{Constants, SharedMetadata, size_bytes};
use crate::resolve::{Descriptor, Resolved};
use std::io;
use std::os::fd::AsFd;
use virgbm::Layout;
use virgbm::guest::{BufferObject, Device};

pub use crate::refusal::{AllocationError, Refusal};

/// Buffers alike.
#[derive(Debug)]
pub struct Allocation {
    /// One for each buffer.
    pub handles: Vec<Handle>,
    /// In pixels.
    pub pixel_stride: u32,
}

/// Makes buffers on a device.
#[derive(Clone)]
pub struct Allocator {
    device: Device,
}

impl Allocator {
    /// On the machine's device.
    ///
    /// # Errors
    /// [`NoDevice`], which says why there is none.
    pub fn open() -> Result<Self, NoDevice> {
        Ok(Self::new(device::open()?))
    }

    /// On the device from which buffers are imported.
    ///
    /// # Errors
    /// [`NoDevice`], where a host of its own is needed.
    pub fn on(source: &Source) -> Result<Self, NoDevice> {
        match source {
            Source::Device(device) => Ok(Self::new(device.clone())),
            #[cfg(feature = "loopback")]
            Source::Files => Self::open(),
        }
    }

    /// On this device.
    pub fn new(device: Device) -> Self {
        Self { device }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether [`allocate`](Self::allocate) of one buffer can succeed, and why not. Allocates nothing.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn supports(&self, descriptor: &Descriptor) -> Result<(), Refusal> {
        self.resolve(descriptor).map(drop)
    }

    /// What is asked of the host, where it can have such a buffer and a handle the words for it.
    fn resolve(&self, descriptor: &Descriptor) -> Result<Resolved, Refusal> {
        let resolved = descriptor.resolve(&self.device)?;
        let layout = self.device.layout(&resolved.request)?;
        check_words(&layout).map_err(BadHandle::Layout)?;
        let offer = self.device.offer();
        let (bytes, limit) = (layout.size_bytes.checked_next_multiple_of(offer.blob_alignment.into()), offer.context_bytes);
        match bytes {
            Some(bytes) if bytes <= limit => Ok(resolved),
            _ => Err(Refusal::BeyondQuota { bytes: layout.size_bytes, limit }),
        }
    }

    /// Makes `count` buffers, with one submission and one wait: all or none.
    ///
    /// # Errors
    /// [`Refusal`], which says what is missing.
    pub fn allocate(&self, descriptor: &Descriptor, count: i32) -> Result<Allocation, Refusal> {
        let number = usize::try_from(count).ok().filter(|count| (1..=1024).contains(count)).ok_or(Refusal::Count(count))?;
        let resolved = self.resolve(descriptor)?;
        let buffers = self.device.create_many(&resolved.request, number)?;
        let mut allocation = Allocation { handles: Vec::with_capacity(number), pixel_stride: 0 };
        for buffer in &buffers {
            let (handle, pixel_stride) = handle_of(buffer, descriptor, &resolved)?;
            allocation.handles.push(handle);
            allocation.pixel_stride = pixel_stride;
        }
        Ok(allocation)
    }
}

fn handle_of(buffer: &BufferObject, descriptor: &Descriptor, resolved: &Resolved) -> Result<(Handle, u32), Refusal> {
    let (width, height) = resolved.size;
    let layout = Layout { width, height, ..*buffer.layout() };
    let asked = (descriptor.width.unsigned_abs(), descriptor.height.unsigned_abs());
    let mut constants = Constants::new(new_id().map_err(Refusal::Id)?, asked, layout.layers, layout.layer_stride_bytes);
    constants.name = descriptor.name;
    constants.reserved_bytes = descriptor.reserved_bytes.unsigned_abs();
    let (metadata, metadata_fd) = SharedMetadata::create(&constants)?;
    for (slot, value) in &resolved.settings {
        // Nobody else has it yet.
        let _ = metadata.set(*slot, Some(value));
    }
    let description = describe(&constants, layout, descriptor.format, descriptor.usage, buffer.size_bytes());
    let exported = buffer.export()?;
    let mut plane_fds = Vec::with_capacity(layout.planes.len());
    for _ in layout.planes.iter().skip(1) {
        plane_fds.push(exported.as_fd().try_clone_to_owned().map_err(BadHandle::Duplicate)?);
    }
    plane_fds.push(exported);
    let size = size_bytes(constants.reserved_bytes)?;
    Ok((Handle::new(&description, plane_fds, metadata_fd, size)?, description.pixel_stride))
}

/// An id that no other buffer has, of this process or another, now or after a restart: random, never 0.
fn new_id() -> io::Result<u64> {
    loop {
        let mut bytes = [0; size_of::<u64>()];
        if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())? == bytes.len() {
            match u64::from_ne_bytes(bytes) {
                0 => {}
                id => return Ok(id),
            }
        }
    }
}
