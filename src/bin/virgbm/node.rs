//! The node that a command works on: the embedded host's, or one of this machine's.

use crate::Failure;
use std::path::Path;
use std::sync::Arc;
use virgbm::guest::node::{Counted, Node, drm::DrmNode, loopback::Loopback};

/// Any node, its calls counted.
pub type CountedNode = Arc<Counted<Arc<dyn Node>>>;

/// A node and what to call it.
pub struct Opened {
    pub node: CountedNode,
    pub name: String,
}

/// Opens the node at a path, or without one a node of the embedded host.
pub fn open(path: Option<&Path>) -> Result<Opened, Failure> {
    let (node, name): (Arc<dyn Node>, _) = match path {
        Some(path) => (Arc::new(DrmNode::open(path)?), path.display().to_string()),
        None => (Arc::new(Loopback::new()?), "the embedded host".to_owned()),
    };
    Ok(Opened { node: Arc::new(Counted::new(node)), name })
}
