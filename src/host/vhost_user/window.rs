//! The host-visible window: blobs go into it by SHMEM_MAP on the backend channel.

use crate::host::Window;
use crate::wire::virtio_gpu::SHM_ID_HOST_VISIBLE;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags};
use vhost::vhost_user::{Backend, VhostUserFrontendReqHandler};

/// How long to wait for the VMM's memory table to show a mapping.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The window of a VMM.
///
/// A VMM answers SHMEM_MAP before its guest can see the mapping: that is so when the new region comes in its memory table, on
/// another socket and thread. So no lock is held while the VMM is asked, and the answer waits for the table.
pub struct ShmemWindow {
    size_bytes: u64,
    channel: Mutex<Option<Backend>>,
    /// How many regions the guest's memory has.
    regions: Mutex<usize>,
    changed: Condvar,
}

impl ShmemWindow {
    pub fn new(size_bytes: u64) -> Self {
        Self { size_bytes, channel: Mutex::default(), regions: Mutex::default(), changed: Condvar::new() }
    }

    /// The channel by which the VMM is asked.
    pub fn set_channel(&self, channel: Option<Backend>) {
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = channel;
    }

    /// The VMM has replaced the memory table.
    pub fn table_changed(&self, regions: usize) {
        *self.regions.lock().unwrap_or_else(PoisonError::into_inner) = regions;
        self.changed.notify_all();
    }

    fn regions(&self) -> usize {
        *self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channel(&self) -> io::Result<Backend> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        channel.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Waits until the table has another number of regions than before.
    fn wait_for_commit(&self, before: usize) {
        let regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(regions, COMMIT_TIMEOUT, |regions| *regions == before);
        if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            log::debug!("the memory table does not show the change of the window");
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

    fn map(&self, offset: u64, length: u64, source: BorrowedFd<'_>, source_offset: u64) -> io::Result<()> {
        let before = self.regions();
        self.channel()?.shmem_map(&range(offset, length, source_offset), &source.as_raw_fd())?;
        self.wait_for_commit(before);
        Ok(())
    }

    fn unmap(&self, offset: u64, length: u64) -> io::Result<()> {
        let before = self.regions();
        self.channel()?.shmem_unmap(&range(offset, length, 0))?;
        self.wait_for_commit(before);
        Ok(())
    }
}
