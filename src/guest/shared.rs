//! [`Shared`]: what a device and its buffers share.

use super::backend::Backend;
use super::handles::HandleTable;
use super::node::Node;
use super::verdict::Verdict;
use std::sync::Arc;

/// An open node with its backend, alive while a device or a buffer of it is.
pub(super) struct Shared {
    // The backend closes its reply ring, the table its handles, and only then the node goes: fields drop in this order.
    pub backend: Box<dyn Backend>,
    pub handles: Arc<HandleTable>,
    pub node: Arc<dyn Node>,
    pub verdicts: Vec<Verdict>,
}
