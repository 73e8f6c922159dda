//! The handles of an open file, counted: the kernel has one handle for a buffer in a file however often it is imported, so a
//! handle may be closed only when the last buffer object that uses it goes.

use super::node::{Node, NodeError};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counts of one open file.
pub(super) struct HandleTable {
    node: Arc<dyn Node>,
    counts: Mutex<HashMap<u32, usize>>,
}

/// One use of a handle.
pub(super) struct Handle {
    table: Arc<HandleTable>,
    bo_handle: u32,
}

impl HandleTable {
    pub fn new(node: Arc<dyn Node>) -> Arc<Self> {
        Arc::new(Self { node, counts: Mutex::default() })
    }

    /// Counts the handle of a buffer that was just made: nobody else has it, so the kernel was asked without the lock.
    pub fn adopt(self: &Arc<Self>, bo_handle: u32) -> Handle {
        *self.counts().entry(bo_handle).or_default() += 1;
        Handle { table: self.clone(), bo_handle }
    }

    /// Imports a buffer. The kernel may give a handle that others have, so the lock is held while it is asked: nobody closes the
    /// handle between the kernel's answer and the count.
    pub fn import(self: &Arc<Self>, fd: BorrowedFd<'_>) -> Result<Handle, NodeError> {
        let mut counts = self.counts();
        let bo_handle = self.node.prime_fd_to_handle(fd)?;
        *counts.entry(bo_handle).or_default() += 1;
        Ok(Handle { table: self.clone(), bo_handle })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    pub fn bo_handle(&self) -> u32 {
        self.bo_handle
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut counts = self.table.counts();
        let Entry::Occupied(mut count) = counts.entry(self.bo_handle) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
            if let Err(error) = self.table.node.gem_close(self.bo_handle) {
                log::warn!("closing handle {}: {error}", self.bo_handle);
            }
        }
    }
}
