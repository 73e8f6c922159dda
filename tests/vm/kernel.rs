//! The kernel's interface: opening, contexts, fences, syncobjs, the screen's modes.

use crate::{fill, open, path, request};
use drm::control::Device as _;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use virgbm::Format;
use virgbm::guest::node::drm::{DrmNode, OpenError};
use virgbm::guest::node::{ContextInit, Counted, Execbuffer, Ioctl, Node, Syncobj};
use virgbm::guest::{Device, Error};
use virgbm::sys::poll::wait_readable;
use virgbm::wire::alloc::CAPSET_ID;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn nodes_of_other_drivers_and_other_files_are_refused() {
    let vgem = DrmNode::open(path("VIRGBM_VGEM")).unwrap_err();
    assert!(matches!(vgem, OpenError::OtherDriver { .. }), "{vgem}");
    assert!(matches!(DrmNode::open("/dev/null"), Err(OpenError::NotDrm { .. })));
    let (_, device) = open();
    assert!(matches!(device.import(File::open("/dev/null").unwrap().as_fd()), Err(Error::Node(_))));
}

#[test]
fn a_search_finds_the_render_node_of_the_driver() {
    let found = DrmNode::open_first().unwrap();
    let link = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found.as_fd()))).unwrap();
    assert_eq!(link.to_str(), Some(path("VIRGBM_NODE").as_str()));
}

#[test]
fn a_node_that_may_not_be_opened_says_so() {
    for node in ["VIRGBM_NODE", "VIRGBM_CARD"] {
        let node = path(node);
        let output = Command::new("virgbm").args(["info", "--node", &node]).uid(65_534).gid(65_534).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(&node) && told.contains("Permission denied"), "{told}");
    }
}

#[test]
fn devices_on_one_open_file_are_one() {
    let file = File::options().read(true).write(true).open(path("VIRGBM_NODE")).unwrap();
    let device = || Device::open(DrmNode::from_borrowed_fd(file.as_fd()).unwrap()).unwrap();
    let (one, other) = (device(), device());
    let buffer = one.create(&request(Format::R8, 64, 64)).unwrap();
    let twin = other.import(buffer.export().unwrap().as_fd()).unwrap();
    assert_eq!(twin.bo_handle(), buffer.bo_handle());
    drop((twin, other));
    fill(&buffer);
}

#[test]
fn a_context_is_initialised_once_and_with_a_capset_that_is_offered() {
    let node = DrmNode::open(path("VIRGBM_NODE")).unwrap();
    let init = |capset_id| node.context_init(&ContextInit { capset_id, num_rings: 2, debug_name: "twice" });
    assert!(init(4).unwrap_err().is(rustix::io::Errno::INVAL));
    init(CAPSET_ID).unwrap();
    assert!(init(CAPSET_ID).unwrap_err().is(rustix::io::Errno::EXIST));
    let error = Device::open(node).err().unwrap();
    assert!(matches!(&error, Error::Node(error) if error.ioctl == Ioctl::ContextInit), "{error}");
}

#[test]
fn submissions_take_and_give_sync_files_on_their_ring() {
    let node = DrmNode::open(path("VIRGBM_NODE")).unwrap();
    node.context_init(&ContextInit { capset_id: CAPSET_ID, num_rings: 2, debug_name: "fences" }).unwrap();
    let on_ring = Execbuffer { ring_idx: Some(1), out_fence: true, ..Execbuffer::default() };
    let first = node.execbuffer(&on_ring).unwrap().unwrap();
    let second = node.execbuffer(&Execbuffer { in_fence: Some(first.as_fd()), ..on_ring }).unwrap().unwrap();
    wait_readable(second.as_fd(), SECOND).unwrap();
    wait_readable(first.as_fd(), Duration::ZERO).unwrap();
    let beyond = node.execbuffer(&Execbuffer { ring_idx: Some(2), ..Execbuffer::default() }).unwrap_err();
    assert!(beyond.is(rustix::io::Errno::INVAL), "{beyond}");
}

#[test]
fn submissions_wait_for_syncobjs_and_signal_them() {
    let node = DrmNode::open(path("VIRGBM_NODE")).unwrap();
    let [before, after] = [true, false].map(|signalled| node.create_syncobj(signalled).unwrap());
    let of = |handle: drm::control::syncobj::Handle| [Syncobj { handle: handle.into(), ..Syncobj::default() }];
    let submission = Execbuffer { in_syncobjs: &of(before), out_syncobjs: &of(after), ..Execbuffer::default() };
    node.execbuffer(&submission).unwrap();
    node.syncobj_wait(&[after], i64::MAX, true, false).unwrap();
    let unknown = [Syncobj { handle: 999, ..Syncobj::default() }];
    assert!(node.execbuffer(&Execbuffer { in_syncobjs: &unknown, ..Execbuffer::default() }).is_err());
}

#[test]
fn a_buffer_gives_a_sync_file_of_what_is_done_to_it() {
    let (node, device) = open();
    let buffer = device.create(&request(Format::R8, 64, 64)).unwrap();
    let bo_handles = &[buffer.bo_handle()];
    node.execbuffer(&Execbuffer { bo_handles, ..Execbuffer::default() }).unwrap();
    let fence = buffer.export_sync_file().unwrap();
    wait_readable(fence.as_fd(), SECOND).unwrap();
}

#[test]
fn wait_returns_when_the_host_has_executed_and_refuses_unknown_handles() {
    let node = Arc::new(Counted::new(DrmNode::open(path("VIRGBM_NODE")).unwrap()));
    let device = Device::open(node.clone()).unwrap();
    let buffer = device.create(&request(Format::R8, 64, 64)).unwrap();
    node.execbuffer(&Execbuffer { bo_handles: &[buffer.bo_handle()], ..Execbuffer::default() }).unwrap();
    node.wait(buffer.bo_handle()).unwrap();
    assert!(node.wait(999).unwrap_err().is(rustix::io::Errno::NOENT));
}

#[test]
fn the_kernel_has_read_the_edid_and_takes_its_mode() {
    let card = DrmNode::open(path("VIRGBM_CARD")).unwrap();
    let connector = card.get_connector(card.resource_handles().unwrap().connectors()[0], true).unwrap();
    let entry = format!("/sys/class/drm/{}-Virtual-1/edid", path("VIRGBM_CARD").rsplit('/').next().unwrap());
    let edid = std::fs::read(entry).unwrap();
    assert!(edid.len() == 128 && edid.windows(6).any(|bytes| bytes == b"virgbm"), "{edid:?}");
    let mode = connector.modes()[0];
    assert_eq!((mode.size(), mode.vrefresh()), ((1024, 768), 60));
    let (width, height) = connector.size().unwrap();
    assert!((260..280).contains(&width) && (195..210).contains(&height), "{width} mm by {height} mm");
}
