//! The host-visible window: what goes into it goes by SHMEM_MAP on the backend channel.

use crate::host::Window;
use crate::sys::memfd;
use crate::wire::virtio_gpu::SHM_ID_HOST_VISIBLE;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags};
use vhost::vhost_user::{Backend, VhostUserFrontendReqHandler};

/// How long to wait for the VMM's memory table to show a mapping.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How many regions a VMM's memory table may have before a map is refused: QEMU ends itself at some 512, and its guest could make
/// it do so.
const MOST_REGIONS: usize = 480;

/// What the VMM does with the pages of the whole window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    Away,
    Shown,
    Refused,
}

/// What is known of the guest's memory table.
#[derive(Clone, Copy, Debug, Default)]
struct TableState {
    regions: usize,
    /// Whether a map has ever changed it: crosvm and libkrun tell the device nothing.
    follows_maps: bool,
    /// Whether a map was waited for in vain, so that it is known that it does not.
    ignores_maps: bool,
}

/// The window of a VMM. Its own pages, in one memfd, are mapped over all of it when the guest maps its first blob, and taken away
/// when nobody needs them, since QEMU 11.1 ends when a guest resets a device that has anything mapped.
///
/// A VMM answers SHMEM_MAP before its guest can see the mapping: that is so when the new region comes in its memory table, on
/// another socket and thread. So no lock is held while the VMM is asked, and the answer waits for the table.
pub struct ShmemWindow {
    size_bytes: u64,
    /// `None` where every blob is a map of its own.
    pages: Option<Arc<OwnedFd>>,
    whole: Mutex<Whole>,
    channel: Mutex<Option<Backend>>,
    table: Mutex<TableState>,
    changed: Condvar,
}

impl ShmemWindow {
    /// A window; with `separate_maps` it has no pages of its own.
    pub fn new(size_bytes: u64, separate_maps: bool) -> io::Result<Self> {
        let pages = if separate_maps || size_bytes == 0 { None } else { Some(Arc::new(memfd::sealed(size_bytes)?)) };
        let whole = Mutex::new(Whole::Away);
        Ok(Self { size_bytes, pages, whole, channel: Mutex::default(), table: Mutex::default(), changed: Condvar::new() })
    }

    /// The channel by which the VMM is asked.
    pub fn set_channel(&self, channel: Option<Backend>) {
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = channel;
    }

    /// The VMM has replaced the memory table.
    pub fn table_changed(&self, regions: usize) {
        self.table().regions = regions;
        self.changed.notify_all();
    }

    fn table(&self) -> MutexGuard<'_, TableState> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn regions(&self) -> usize {
        self.table().regions
    }

    fn channel(&self) -> io::Result<Backend> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        channel.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn whole(&self) -> MutexGuard<'_, Whole> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, channel: &Backend, range: &VhostUserMMap, source: BorrowedFd<'_>) -> io::Result<()> {
        let before = self.regions();
        channel.shmem_map(range, &source.as_raw_fd())?;
        self.wait_for_commit(before);
        Ok(())
    }

    /// Waits until the table has another number of regions than before; not for a VMM whose table never had.
    fn wait_for_commit(&self, before: usize) {
        let waiting = |table: &mut TableState| table.regions == before && !table.ignores_maps;
        let waited = self.changed.wait_timeout_while(self.table(), COMMIT_TIMEOUT, waiting);
        let (mut table, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            log::debug!("the memory table does not show the change of the window");
            table.ignores_maps = !table.follows_maps;
        } else {
            table.follows_maps |= table.regions != before;
        }
    }
}

fn range(offset: u64, length: u64, source_offset: u64) -> VhostUserMMap {
    VhostUserMMap {
        shmid: SHM_ID_HOST_VISIBLE,
        padding: [0; 7],
        fd_offset: source_offset,
        shm_offset: offset,
        len: length,
        flags: VhostUserMMapFlags::WRITABLE.bits(),
    }
}

impl Window for ShmemWindow {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn pages(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        let (channel, whole) = (self.channel()?, *self.whole());
        let Some(pages) = self.pages.as_ref().filter(|_| whole != Whole::Refused) else { return Ok(None) };
        if whole == Whole::Away {
            let shown = self.show(&channel, &range(0, self.size_bytes, 0), pages.as_fd());
            *self.whole() = if shown.is_ok() { Whole::Shown } else { Whole::Refused };
            if let Err(error) = shown {
                log::warn!("the VMM does not map the whole window ({error}): every blob will be a map of its own");
                return Ok(None);
            }
        }
        Ok(Some(pages.clone()))
    }

    fn map(&self, offset: u64, length: u64, source: BorrowedFd<'_>, source_offset: u64) -> io::Result<()> {
        if self.regions() >= MOST_REGIONS {
            let why = format!("the VMM has {MOST_REGIONS} regions of memory, and may end itself with more");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, why));
        }
        self.show(&self.channel()?, &range(offset, length, source_offset), source)
    }

    fn unmap(&self, offset: u64, length: u64) -> io::Result<()> {
        // A VMM that has gone has taken its maps along.
        let Ok(channel) = self.channel() else { return Ok(()) };
        let before = self.regions();
        channel.shmem_unmap(&range(offset, length, 0))?;
        self.wait_for_commit(before);
        Ok(())
    }

    fn rest(&self) -> io::Result<()> {
        if *self.whole() != Whole::Shown {
            return Ok(());
        }
        *self.whole() = Whole::Away;
        self.unmap(0, self.size_bytes)
    }
}
