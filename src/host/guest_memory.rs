//! [`GuestMemory`]: what the device needs of the guest's pages.

use crate::sys::host_pages::HostPages;
use std::fs::File;
use std::sync::Arc;
use thiserror::Error;

/// A range that is not in the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("guest memory has no {length} bytes at {address:#x}")]
pub struct OutsideGuestMemory {
    /// Guest-physical address.
    pub address: u64,
    /// In bytes.
    pub length: u64,
}

/// A range of a file that backs guest memory.
#[derive(Clone, Debug)]
pub struct FilePiece {
    /// The file.
    pub file: Arc<File>,
    /// In bytes from its start.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

/// The guest's memory by guest-physical address, as a VMM has it. It may change between calls, so every access is checked.
pub trait GuestMemory: Send + Sync {
    /// Whether the whole range is there now.
    fn contains(&self, address: u64, length: u64) -> bool;

    /// Fills `buffer` from `address`.
    ///
    /// # Errors
    /// [`OutsideGuestMemory`]; then the buffer may be partly filled.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), OutsideGuestMemory>;

    /// Writes `data` to `address`.
    ///
    /// # Errors
    /// [`OutsideGuestMemory`]; then part of it may be written.
    fn write(&self, address: u64, data: &[u8]) -> Result<(), OutsideGuestMemory>;

    /// Where a range lies in the file that backs it, `None` when no file does, or more than one.
    fn file(&self, address: u64, length: u64) -> Option<FilePiece>;

    /// Where a range lies in this process, for libraries of the host that take pointers; `None` when it is not mapped in one piece.
    fn host_pages(&self, address: u64, length: u64) -> Option<HostPages>;

    /// Stores an aligned little-endian number so that the guest sees all earlier writes when it sees the number.
    ///
    /// # Errors
    /// [`OutsideGuestMemory`], also for an address that is no multiple of 4.
    fn store_release(&self, address: u64, value: u32) -> Result<(), OutsideGuestMemory>;
}
