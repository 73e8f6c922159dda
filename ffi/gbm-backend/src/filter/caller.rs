//! The caller's open file, in which handles are given to it.

use super::buffers::Identity;
use rustix::fs::fstat;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use virgbm::guest::node::drm::DrmNode;
use virgbm::guest::node::{Node, NodeError, Param};
use virgbm::wire::virgl::{CAPSET_ID_VIRGL, CAPSET_ID_VIRGL2};
use virgbm_gbm_core::trace;

/// The caller's open file; without a node where a host in the process serves it, whose handles are everybody's.
pub struct Caller {
    node: Option<DrmNode>,
    /// Whether Mesa draws there with virgl.
    pub has_virgl: bool,
}

impl Caller {
    pub fn new(fd: BorrowedFd<'_>) -> Self {
        let node = DrmNode::from_borrowed_fd(fd).ok();
        let has_virgl = node.as_ref().is_some_and(has_virgl);
        Self { node, has_virgl }
    }

    /// A buffer's handle there.
    pub fn lend(&self, fd: BorrowedFd<'_>) -> Result<Option<u32>, NodeError> {
        self.node.as_ref().map(|node| node.prime_fd_to_handle(fd)).transpose()
    }

    /// Takes a handle back.
    pub fn take_back(&self, bo_handle: u32) {
        let Some(node) = &self.node else { return };
        if let Err(error) = node.gem_close(bo_handle) {
            trace::note(format_args!("  closing handle {bo_handle}: {error}"));
        }
    }

    /// A new descriptor, for reading and writing, of what a handle is; `None` where the kernel does not give it.
    pub fn export(&self, bo_handle: u32) -> Option<OwnedFd> {
        self.node.as_ref()?.prime_handle_to_fd(bo_handle).ok()
    }
}

/// Kernels without CONTEXT_INIT tell of no capset, and have virgl's.
fn has_virgl(node: &DrmNode) -> bool {
    let has_contexts = matches!(node.get_param(Param::Features3d), Ok(value) if value != 0);
    let is_virgl = |mask: u64| mask & (1 << CAPSET_ID_VIRGL | 1 << CAPSET_ID_VIRGL2) != 0;
    has_contexts && node.get_param(Param::SupportedCapsetIds).map_or(true, is_virgl)
}

/// What tells a dma-buf from all others, whichever descriptor of it one has.
pub fn identity(fd: impl AsFd) -> Option<Identity> {
    fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
