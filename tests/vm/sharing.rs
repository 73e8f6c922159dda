//! Buffers that go elsewhere: to another file, another driver, another process.

use crate::{Other, check, fill, open, path, request};
use drm::control::Device as _;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use virgbm::guest::Access;
use virgbm::guest::node::drm::DrmNode;
use virgbm::guest::node::{Counted, Node};
use virgbm::sys::mmap::Mmap;
use virgbm::{BufferRequest, Format, Usage};

#[test]
fn a_self_import_has_the_same_handle_and_does_not_close_it() {
    let (_, device) = open();
    let buffer = device.create(&request(Format::R8, 64, 64)).unwrap();
    let twin = device.import(buffer.export().unwrap().as_fd()).unwrap();
    assert_eq!(twin.bo_handle(), buffer.bo_handle());
    drop(twin);
    fill(&buffer);
    check(&buffer);
}

#[test]
fn vgem_imports_a_buffer_and_gives_it_back() {
    let vgem = Other::vgem();
    let (node, device) = open();
    let buffer = device.create(&request(Format::XRGB8888, 64, 64)).unwrap();
    fill(&buffer);
    let handle = vgem.prime_fd_to_buffer(buffer.export().unwrap().as_fd()).unwrap();
    let back = vgem.buffer_to_prime_fd(handle, drm::CLOEXEC | drm::RDWR).unwrap();
    assert_eq!(node.prime_fd_to_handle(back.as_fd()).unwrap(), buffer.bo_handle());
    // What vgem gives back is mapped as it is: the same bytes.
    let map = Mmap::shared(back.as_fd(), 0, buffer.size_bytes(), None).unwrap();
    let mapping = buffer.map(buffer.layout().whole(), Access::READ).unwrap();
    let (mut ours, mut theirs) = ([0; 256], [1; 256]);
    mapping.read_row(0, 0, &mut ours).unwrap();
    map.read(0, &mut theirs).unwrap();
    assert_eq!(ours, theirs);
    vgem.close_buffer(handle).unwrap();
}

#[test]
fn another_process_asks_for_the_layout_of_a_buffer_that_it_was_sent() {
    let (_, device) = open();
    let buffer = device.create(&request(Format::NV12, 129, 67)).unwrap();
    fill(&buffer);
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "held::a_process_that_is_sent_a_buffer", "--nocapture"])
        .stdin(Stdio::from(theirs))
        .spawn();
    let dma_buf = buffer.export().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let sent = [dma_buf.as_fd()];
    assert!(rights.push(SendAncillaryMessage::ScmRights(&sent)));
    sendmsg(&ours, &[IoSlice::new(b"x")], &mut rights, SendFlags::empty()).unwrap();
    assert!(other.unwrap().wait().unwrap().success());
}

#[test]
fn a_buffer_for_other_devices_is_exported_with_a_name() {
    let node = std::sync::Arc::new(Counted::new(DrmNode::open(path("VIRGBM_NODE")).unwrap()));
    let device = virgbm::guest::Device::open(node).unwrap();
    let asked = BufferRequest::new(Format::NV12, 64, 64, Usage::VIDEO_DECODER | Usage::CPU_WRITE_RARELY | Usage::CPU_READ_RARELY);
    let buffer = device.create(&asked).unwrap();
    let imported = device.import(buffer.export().unwrap().as_fd()).unwrap();
    fill(&buffer);
    check(&imported);
}

#[test]
fn an_imported_buffer_is_a_dma_buf_to_its_mappings_from_the_first_on() {
    let (_, device) = open();
    let (node, other) = open();
    let buffer = device.create(&request(Format::R8, 64, 64)).unwrap();
    let imported = other.import(buffer.export().unwrap().as_fd()).unwrap();
    let map = || {
        let before = node.calls();
        drop(imported.map(imported.layout().whole(), Access::READ).unwrap());
        (node.calls() - before).to_string()
    };
    assert_eq!((&map()[..], &map()[..]), ("1 MAP, 1 mmap, 1 PRIME_HANDLE_TO_FD", "none"));
}

#[test]
fn what_the_kernel_tells_of_a_handle_is_asked_once() {
    let (node, device) = open();
    let buffer = device.create(&request(Format::R8, 64, 64)).unwrap();
    let dma_buf = buffer.export().unwrap();
    let import = || {
        let before = node.calls();
        drop(device.import_with_layout(dma_buf.as_fd(), buffer.layout()).unwrap());
        (node.calls() - before).to_string()
    };
    assert_eq!((&import()[..], &import()[..]), ("1 RESOURCE_INFO, 1 PRIME_FD_TO_HANDLE", "1 PRIME_FD_TO_HANDLE"));
}
