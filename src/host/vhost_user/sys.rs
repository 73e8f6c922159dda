//! The event that ends a queue thread, with an owner for the descriptor that the vhost-user crate forgets; and pointers into the guest's
//! memory.

#![allow(unsafe_code)]

use crate::sys::host_pages::HostPages;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, MemoryRegionAddress};
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

/// The event of one queue thread. It must outlive the daemon that has the thread.
#[derive(Debug)]
pub struct ExitEvent {
    notifier: EventNotifier,
    forgotten: RawFd,
}

impl ExitEvent {
    /// A new event, and the pair that the daemon takes.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new() -> io::Result<(Self, (EventConsumer, EventNotifier))> {
        let (consumer, notifier) = new_event_consumer_and_notifier(EventFlag::NONBLOCK | EventFlag::CLOEXEC)?;
        let event = Self { notifier: notifier.try_clone()?, forgotten: consumer.as_raw_fd() };
        Ok((event, (consumer, notifier)))
    }

    /// Ends the thread.
    pub fn notify(&self) -> io::Result<()> {
        self.notifier.notify()
    }
}

impl Drop for ExitEvent {
    fn drop(&mut self) {
        // SAFETY: `VringEpollHandler::new` of vhost-user-backend 0.24.0, the version that Cargo.toml pins, turns the consumer into
        // this number by `into_raw_fd` and never closes it; the daemon that polled it is gone, so nobody owns it but this.
        drop(unsafe { OwnedFd::from_raw_fd(self.forgotten) });
    }
}

/// Where a range of one region of a memory table lies in this process.
pub fn host_pages(table: Arc<GuestMemoryMmap<()>>, address: u64, length: u64) -> Option<HostPages> {
    let region = table.find_region(GuestAddress(address))?;
    let inside = address.checked_sub(region.start_addr().0)?;
    if length > region.len().checked_sub(inside)? {
        return None;
    }
    let start = NonNull::new(region.get_host_address(MemoryRegionAddress(inside)).ok()?)?;
    // SAFETY: the range is inside of a region, which vm-memory maps readable and writable for as long as any table that has it.
    Some(unsafe { HostPages::new(start, usize::try_from(length).ok()?, table) })
}
