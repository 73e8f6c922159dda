//! The open files of this process that have a device.
//!
//! The kernel has one context and one table of handles for an open file, whoever in the process has a descriptor of it, so two
//! devices on one file must be one. This is the only state that devices share.

use super::error::Error;
use super::node::Node;
use super::shared::Shared;
use crate::sys::kcmp::is_same_file;
use std::sync::{Arc, Mutex, PoisonError, Weak};

static OPEN: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// What the devices on a node's file share: what is there already, or what `make` makes.
pub(super) fn shared(node: &dyn Node, make: impl FnOnce() -> Result<Shared, Error>) -> Result<Arc<Shared>, Error> {
    let Some(file) = node.file() else { return make().map(Arc::new) };
    // Held while it is made: two threads must not both make a context of the same file.
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|shared| shared.strong_count() > 0);
    let mut alive = open.iter().filter_map(Weak::upgrade);
    if let Some(shared) = alive.find(|shared| shared.node.file().is_some_and(|other| is_same_file(file, other))) {
        return Ok(shared);
    }
    let shared = make().map(Arc::new)?;
    open.push(Arc::downgrade(&shared));
    Ok(shared)
}
