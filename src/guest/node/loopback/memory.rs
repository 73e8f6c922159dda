//! The guest's pages, each buffer's in a memfd of its own, at guest-physical addresses that are never used twice.

use crate::host::{FilePiece, GuestMemory, OutsideGuestMemory};
use crate::sys::{host_pages::HostPages, memfd, mmap::Mmap};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Where the guest's memory starts; below it there is nothing.
const START: u64 = 1 << 32;

/// The pages of one buffer.
#[derive(Debug)]
pub struct Pages {
    pub address: u64,
    pub file: Arc<File>,
    map: Arc<Mmap>,
}

#[derive(Debug, Default)]
struct Map {
    by_address: BTreeMap<u64, Arc<Pages>>,
    used: u64,
}

/// All pages that the guest has.
#[derive(Debug, Default)]
pub struct Ram(RwLock<Map>);

impl Ram {
    /// New zeroed pages.
    pub fn allocate(&self, bytes: u64) -> io::Result<Arc<Pages>> {
        let fd = memfd::sealed(bytes)?;
        let map = Arc::new(Mmap::shared(fd.as_fd(), 0, bytes, None)?);
        let mut ram = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let address = START + ram.used;
        // A hole behind each buffer: an access that runs over its end finds nothing.
        ram.used += bytes * 2;
        let pages = Arc::new(Pages { address, file: Arc::new(fd.into()), map });
        ram.by_address.insert(address, pages.clone());
        Ok(pages)
    }

    /// Takes pages out of the guest's memory.
    pub fn free(&self, pages: &Pages) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).by_address.remove(&pages.address);
    }

    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `each` with the buffer that holds the range, and where in it.
    fn at<T>(
        &self,
        address: u64,
        length: u64,
        each: impl FnOnce(&Arc<Mmap>, usize) -> Option<T>,
    ) -> Result<T, OutsideGuestMemory> {
        let ram = self.map();
        let pages = ram.by_address.range(..=address).next_back();
        pages
            .and_then(|(start, pages)| {
                let inside = usize::try_from(address - start).ok()?;
                let end = inside.checked_add(usize::try_from(length).ok()?)?;
                if end > pages.map.len() { None } else { each(&pages.map, inside) }
            })
            .ok_or(OutsideGuestMemory { address, length })
    }
}

impl GuestMemory for Ram {
    fn contains(&self, address: u64, length: u64) -> bool {
        self.at(address, length, |_, _| Some(())).is_ok()
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), OutsideGuestMemory> {
        self.at(address, buffer.len() as u64, |map, at| map.read(at, buffer))
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), OutsideGuestMemory> {
        self.at(address, data.len() as u64, |map, at| map.write(at, data))
    }

    fn file(&self, address: u64, length: u64) -> Option<FilePiece> {
        let ram = self.map();
        let (start, pages) = ram.by_address.range(..=address).next_back()?;
        let offset = address - start;
        let inside = offset.checked_add(length)? <= pages.map.len() as u64;
        inside.then(|| FilePiece { file: pages.file.clone(), offset, length })
    }

    fn host_pages(&self, address: u64, length: u64) -> Option<HostPages> {
        let bytes = usize::try_from(length).ok()?;
        self.at(address, length, |map, at| HostPages::of_mapping(map, at, bytes)).ok()
    }

    fn store_release(&self, address: u64, value: u32) -> Result<(), OutsideGuestMemory> {
        self.at(address, size_of::<u32>() as u64, |map, at| map.store_release(at, value.to_le()))
    }
}
