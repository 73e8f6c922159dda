//! The node that a command works on: the embedded host's, or one of this machine's.

use crate::Failure;
use std::path::Path;
use std::sync::Arc;
use virgbm::guest::node::{Counted, Node, drm::DrmNode, drm::OpenError, loopback::Loopback};

/// What `--node` takes instead of a path for the first node of the driver.
const ANY: &str = "auto";

/// Any node, its calls counted.
pub type CountedNode = Arc<Counted<Arc<dyn Node>>>;

/// A node and what to call it.
pub struct Opened {
    pub node: CountedNode,
    pub name: String,
}

/// Opens the node at a path, or the first one for `auto`.
pub fn open_drm(path: &Path) -> Result<DrmNode, OpenError> {
    if path == Path::new(ANY) { DrmNode::open_first() } else { DrmNode::open(path) }
}

/// Opens the node at a path, or without one a node of the embedded host.
pub fn open(path: Option<&Path>) -> Result<Opened, Failure> {
    let (node, name): (Arc<dyn Node>, _) = match path {
        Some(path) => (Arc::new(open_drm(path)?), path.display().to_string()),
        None => (Arc::new(Loopback::new()?), "the embedded host".to_owned()),
    };
    Ok(Opened { node: Arc::new(Counted::new(node)), name })
}
