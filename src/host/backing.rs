//! [`Backing`]: the guest pages behind a resource, as one range of bytes.

use super::quota::{Account, Amount, Charge};
use super::{CommandError, FilePiece, GuestMemory, OutsideGuestMemory};
use crate::sys::host_pages::HostPages;
use crate::wire::virtio_gpu::MemEntry;
use std::sync::Arc;

/// One run of contiguous guest pages.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Where the run starts in the resource.
    start: u64,
    address: u64,
    length: u64,
}

/// Guest pages in the order of the resource's bytes, and what the host's list of them costs.
#[derive(Debug)]
pub(super) struct Backing {
    runs: Vec<Run>,
    size_bytes: u64,
    _charge: Charge,
}

impl Backing {
    /// The pages that these entries list; each must be in guest memory, and together they must hold `needed_bytes`.
    pub fn new(
        entries: &[MemEntry],
        needed_bytes: u64,
        memory: &dyn GuestMemory,
        account: &Arc<Account>,
    ) -> Result<Self, CommandError> {
        let bytes = (entries.len() * size_of::<Run>()) as u64;
        let charge = account.charge(Amount { bytes, ..Amount::default() })?;
        let mut size_bytes = 0u64;
        let mut runs = Vec::with_capacity(entries.len());
        for entry in entries {
            let (address, length) = (entry.addr.get(), u64::from(entry.length.get()));
            if length == 0 || !memory.contains(address, length) {
                return Err(OutsideGuestMemory { address, length }.into());
            }
            runs.push(Run { start: size_bytes, address, length });
            // At most 2^32 entries of less than 2^32 bytes: no overflow.
            size_bytes += length;
        }
        if size_bytes < needed_bytes {
            return Err(CommandError::BackingTooSmall { size_bytes, needed_bytes });
        }
        Ok(Self { runs, size_bytes, _charge: charge })
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether every run starts and ends at a multiple of `bytes`, so that no aligned piece of that size is split.
    pub fn is_divided_by(&self, bytes: u64) -> bool {
        self.runs.iter().all(|run| run.address.is_multiple_of(bytes) && run.length.is_multiple_of(bytes))
    }

    /// Where the pages lie in the files that back the guest's memory, neighbours joined.
    pub fn files(&self, memory: &dyn GuestMemory) -> Result<Vec<FilePiece>, CommandError> {
        let mut pieces: Vec<FilePiece> = Vec::new();
        for run in &self.runs {
            let Some(piece) = memory.file(run.address, run.length) else {
                return Err(CommandError::NoFile { address: run.address });
            };
            match pieces.last_mut() {
                Some(last) if Arc::ptr_eq(&last.file, &piece.file) && last.offset + last.length == piece.offset => {
                    last.length += piece.length;
                }
                _ => pieces.push(piece),
            }
        }
        Ok(pieces)
    }

    /// Where the pages lie in this process; `None` where the guest's memory is not mapped.
    pub fn host_pages(&self, memory: &dyn GuestMemory) -> Option<Vec<HostPages>> {
        self.runs.iter().map(|run| memory.host_pages(run.address, run.length)).collect()
    }

    /// The guest-physical address of a piece that lies in one run.
    pub fn address_of(&self, offset: u64, length: u64) -> Option<u64> {
        let run = self.run_at(offset)?;
        let inside = offset - run.start;
        (length <= run.length - inside).then(|| run.address + inside)
    }

    pub fn read(&self, memory: &dyn GuestMemory, offset: u64, buffer: &mut [u8]) -> Result<(), CommandError> {
        self.pieces(offset, buffer.len(), |address, from, to| {
            buffer.get_mut(from..to).map_or(Ok(()), |piece| memory.read(address, piece))
        })
    }

    pub fn write(&self, memory: &dyn GuestMemory, offset: u64, data: &[u8]) -> Result<(), CommandError> {
        self.pieces(offset, data.len(), |address, from, to| {
            data.get(from..to).map_or(Ok(()), |piece| memory.write(address, piece))
        })
    }

    /// Calls `each` with the address of every piece of a range and where the piece lies in it.
    fn pieces(
        &self,
        offset: u64,
        length: usize,
        mut each: impl FnMut(u64, usize, usize) -> Result<(), OutsideGuestMemory>,
    ) -> Result<(), CommandError> {
        let outside = CommandError::Range { offset, length: length as u64, size_bytes: self.size_bytes };
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(outside);
        }
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let Some(run) = self.run_at(at) else { return Err(outside) };
            let inside = at - run.start;
            let step = (length - done).min(usize::try_from(run.length - inside).unwrap_or(usize::MAX));
            each(run.address + inside, done, done + step)?;
            done += step;
        }
        Ok(())
    }

    fn run_at(&self, offset: u64) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.start <= offset);
        self.runs.get(after.checked_sub(1)?).filter(|run| offset - run.start < run.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::test_rig::Pages;

    fn backing(entries: &[MemEntry], needed_bytes: u64, pages: &Pages) -> Result<Backing, CommandError> {
        let account = Account::device(Amount { bytes: 1000, objects: 0, fds: 0 });
        Backing::new(entries, needed_bytes, pages, &account)
    }

    fn entry(addr: u64, length: u32) -> MemEntry {
        MemEntry { addr: addr.into(), length: length.into(), ..MemEntry::default() }
    }

    #[test]
    fn bytes_go_to_the_pages_in_the_order_of_the_entries() {
        let pages = Pages::new(4096);
        let backing = backing(&[entry(3000, 4), entry(100, 6)], 10, &pages).unwrap();
        backing.write(&pages, 2, b"abcdef").unwrap();
        let mut back = [0; 6];
        backing.read(&pages, 2, &mut back).unwrap();
        assert_eq!(&back, b"abcdef");
        let mut piece = [0; 4];
        pages.read(100, &mut piece).unwrap();
        assert_eq!(&piece, b"cdef");
    }

    #[test]
    fn entries_outside_memory_or_too_short_are_refused() {
        let pages = Pages::new(4096);
        for bad in [entry(4095, 2), entry(u64::MAX, 1), entry(0, 0), entry(4096, 1)] {
            assert!(matches!(backing(&[bad], 1, &pages), Err(CommandError::GuestMemory(_))));
        }
        assert!(matches!(backing(&[entry(0, 10)], 11, &pages), Err(CommandError::BackingTooSmall { .. })));
    }

    #[test]
    fn ranges_beyond_the_end_are_refused() {
        let pages = Pages::new(4096);
        let backing = backing(&[entry(0, 10)], 10, &pages).unwrap();
        assert!(backing.read(&pages, 5, &mut [0; 6]).is_err());
        assert!(backing.write(&pages, u64::MAX, &[0; 2]).is_err());
    }

    #[test]
    fn a_piece_has_an_address_when_it_lies_in_one_run() {
        let pages = Pages::new(4096);
        let backing = backing(&[entry(256, 256), entry(1024, 256)], 512, &pages).unwrap();
        assert_eq!(backing.address_of(256, 256), Some(1024));
        assert_eq!(backing.address_of(128, 256), None);
        assert_eq!(backing.address_of(512, 1), None);
        assert!(backing.is_divided_by(256) && !backing.is_divided_by(1024));
    }
}
