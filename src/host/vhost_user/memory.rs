//! The guest's memory as vhost-user hands it over.

use super::sys;
use crate::host::{FilePiece, GuestMemory, OutsideGuestMemory};
use crate::sys::host_pages::HostPages;
use std::sync::atomic::Ordering;
use vm_memory::{
    Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

/// The memory table, which the VMM may replace at any time.
pub type Table = GuestMemoryAtomic<GuestMemoryMmap<()>>;

/// The guest's memory for the device.
pub struct VmMemory(pub Table);

fn outside(address: u64, length: usize) -> OutsideGuestMemory {
    OutsideGuestMemory { address, length: length as u64 }
}

impl GuestMemory for VmMemory {
    fn contains(&self, address: u64, length: u64) -> bool {
        let memory = self.0.memory();
        usize::try_from(length).is_ok_and(|length| GuestMemoryBackend::check_range(&*memory, GuestAddress(address), length))
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), OutsideGuestMemory> {
        let length = buffer.len();
        self.0.memory().read_slice(buffer, GuestAddress(address)).map_err(|_| outside(address, length))
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), OutsideGuestMemory> {
        self.0.memory().write_slice(data, GuestAddress(address)).map_err(|_| outside(address, data.len()))
    }

    fn file(&self, address: u64, length: u64) -> Option<FilePiece> {
        let memory = self.0.memory();
        let region = GuestMemoryBackend::find_region(&*memory, GuestAddress(address))?;
        let inside = address - region.start_addr().0;
        let backing = region.file_offset().filter(|_| length <= region.len() - inside)?;
        Some(FilePiece { file: backing.arc().clone(), offset: backing.start() + inside, length })
    }

    fn host_pages(&self, address: u64, length: u64) -> Option<HostPages> {
        sys::host_pages(self.0.memory().into_inner(), address, length)
    }

    fn store_release(&self, address: u64, value: u32) -> Result<(), OutsideGuestMemory> {
        let stored = self.0.memory().store(value.to_le(), GuestAddress(address), Ordering::Release);
        stored.map_err(|_| outside(address, size_of::<u32>()))
    }
}
