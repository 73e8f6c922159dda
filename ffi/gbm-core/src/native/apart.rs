//! An open file of one's own on a node that the caller has open: beside Mesa, which has the context and the handles of the caller's.

use super::device::{self, DeviceState, NotServed};
use drm::Device as _;
use rustix::fs::{fstat, major, minor};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use virgbm::guest::node::drm::DrmNode;
use virgbm::guest::node::{Node, Param};

/// Opens the node of a descriptor anew.
///
/// # Errors
/// As [`open`](super::open).
pub fn open_apart(fd: BorrowedFd<'_>) -> Result<DeviceState, NotServed> {
    device::open_with(|| {
        let caller = DrmNode::from_borrowed_fd(fd)?;
        // A device without contexts has its buffers for the screen on the primary node only.
        let has_contexts = matches!(caller.get_param(Param::Features3d), Ok(value) if value != 0);
        let render = render_node(fd).filter(|_| has_contexts);
        if let Some(node) = render.and_then(|path| DrmNode::open(path).ok()) {
            return Ok(node);
        }
        let node = DrmNode::open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
        // Who opens a primary node while nobody is its master becomes that. A render node, or one that has a master, refuses.
        let _not_master = node.release_master_lock();
        Ok(node)
    })
}

/// The render node of the device that a node is of.
fn render_node(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    let number = fstat(fd).ok()?.st_rdev;
    let siblings = std::fs::read_dir(format!("/sys/dev/char/{}:{}/device/drm", major(number), minor(number))).ok()?;
    let is_render = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("renderD"));
    let name = siblings.flatten().map(|entry| entry.file_name()).find(|name| is_render(name))?;
    Some(PathBuf::from("/dev/dri").join(name))
}
