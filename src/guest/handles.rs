//! The handles of an open file, counted: the kernel has one handle for a buffer in a file however often it is imported, so a
//! handle may be closed only when the last buffer object that uses it goes.

use super::node::{Node, NodeError, ResourceInfo};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The handles of one open file.
pub(super) struct HandleTable {
    node: Arc<dyn Node>,
    known: Mutex<HashMap<u32, Known>>,
}

/// What is known of a handle while somebody uses it.
#[derive(Default)]
struct Known {
    uses: usize,
    /// What the kernel has told of it, which stays.
    info: Option<ResourceInfo>,
}

/// One use of a handle.
pub(super) struct Handle {
    table: Arc<HandleTable>,
    bo_handle: u32,
}

impl HandleTable {
    pub fn new(node: Arc<dyn Node>) -> Arc<Self> {
        Arc::new(Self { node, known: Mutex::default() })
    }

    /// Counts the handle of a buffer that was just made: nobody else has it, so the kernel was asked without the lock.
    pub fn adopt(self: &Arc<Self>, bo_handle: u32) -> Handle {
        self.known().entry(bo_handle).or_default().uses += 1;
        Handle { table: self.clone(), bo_handle }
    }

    /// Imports a buffer. The kernel may give a handle that others have, so the lock is held while it is asked: nobody closes the
    /// handle between the kernel's answer and the count.
    pub fn import(self: &Arc<Self>, fd: BorrowedFd<'_>) -> Result<Handle, NodeError> {
        let mut known = self.known();
        let bo_handle = self.node.prime_fd_to_handle(fd)?;
        known.entry(bo_handle).or_default().uses += 1;
        Ok(Handle { table: self.clone(), bo_handle })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u32, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    pub fn bo_handle(&self) -> u32 {
        self.bo_handle
    }

    /// What the kernel tells of the buffer, asked once for each handle.
    pub fn info(&self) -> Result<ResourceInfo, NodeError> {
        if let Some(info) = self.table.known().get(&self.bo_handle).and_then(|known| known.info) {
            return Ok(info);
        }
        let info = self.table.node.resource_info(self.bo_handle)?;
        if let Some(known) = self.table.known().get_mut(&self.bo_handle) {
            known.info = Some(info);
        }
        Ok(info)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut known = self.table.known();
        let Entry::Occupied(mut handle) = known.entry(self.bo_handle) else { return };
        handle.get_mut().uses -= 1;
        if handle.get().uses == 0 {
            handle.remove();
            if let Err(error) = self.table.node.gem_close(self.bo_handle) {
                log::warn!("closing handle {}: {error}", self.bo_handle);
            }
        }
    }
}
