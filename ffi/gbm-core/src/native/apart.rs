//! Open files of one's own: on a node that the caller has open, beside Mesa, which has the context and the handles of the caller's;
//! and on a node that nobody has named.

use super::device::{self, DeviceState, NotServed};
use crate::Flavour;
use drm::Device as _;
use rustix::fs::{fstat, major, minor};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use virgbm::guest::node::drm::{DrmNode, OpenError};
use virgbm::guest::node::{Node, Param};

/// Opens the node of a descriptor anew, for callers of Mesa's libgbm.
///
/// # Errors
/// As [`open`](super::open).
pub fn open_apart(fd: BorrowedFd<'_>) -> Result<DeviceState, NotServed> {
    device::open_with(Flavour::Mesa, || {
        let caller = DrmNode::from_borrowed_fd(fd)?;
        // A device without contexts has its buffers for the screen on the primary node only.
        let has_contexts = matches!(caller.get_param(Param::Features3d), Ok(value) if value != 0);
        let render = render_node(fd).filter(|_| has_contexts);
        if let Some(node) = render.and_then(|path| DrmNode::open(path).ok()) {
            return Ok(node);
        }
        let node = DrmNode::open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
        give_up_master(&node);
        Ok(node)
    })
}

/// Opens the first node that is served, render nodes first.
///
/// # Errors
/// [`NotServed`], which says of each node why it is not taken.
pub fn open_first() -> Result<OwnedFd, NotServed> {
    #[cfg(feature = "loopback")]
    if super::loopback::is_asked_for() {
        return super::loopback::device_file().map_err(NotServed::Loopback);
    }
    let node = DrmNode::open_first()?;
    give_up_master(&node);
    node.as_fd().try_clone_to_owned().map_err(|error| OpenError::Descriptor(error).into())
}

/// Who opens a primary node while nobody is its master becomes that. A render node, or one that has a master, refuses.
fn give_up_master(node: &DrmNode) {
    let _not_master = node.release_master_lock();
}

/// The render node of the device that a node is of.
fn render_node(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    let number = fstat(fd).ok()?.st_rdev;
    let siblings = std::fs::read_dir(format!("/sys/dev/char/{}:{}/device/drm", major(number), minor(number))).ok()?;
    let is_render = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("renderD"));
    let name = siblings.flatten().map(|entry| entry.file_name()).find(|name| is_render(name))?;
    Some(PathBuf::from("/dev/dri").join(name))
}
