//! The semantics of the Linux driver, as its users meet them.

use super::*;
use crate::guest::node::Syncobj;
use crate::host::{Amount, Quota};
use crate::wire::alloc::CAPSET_ID;
use std::os::fd::AsFd;

fn init(capset_id: u32, num_rings: u32) -> ContextInit<'static> {
    ContextInit { capset_id, num_rings, debug_name: "test" }
}

fn blob(mem: BlobMem, flags: BlobFlags, size: u64) -> BlobCreate<'static> {
    BlobCreate { mem, flags, size, blob_id: 0, command: &[] }
}

fn refused_with<T>(result: Result<T, NodeError>, errno: Errno) {
    let error = result.err().unwrap();
    assert!(error.is(errno), "{error}");
}

fn threaded(delay: Duration) -> Loopback {
    Loopback::with_options(LoopbackOptions { thread: Some(delay), ..LoopbackOptions::default() }).unwrap()
}

#[test]
fn parameters_are_those_of_the_device() {
    let node = Loopback::new().unwrap();
    let params = Param::ALL.map(|param| node.get_param(param).ok());
    assert_eq!(params, [Some(1), Some(1), Some(1), Some(1), Some(1), Some(1), Some(1 << 20 | 1 << 5), Some(1), None]);
}

#[test]
fn capsets_are_truncated_to_the_buffer_and_others_refused() {
    let node = Loopback::new().unwrap();
    let mut start = [0xaa; 4];
    node.get_caps(CAPSET_ID, 1, &mut start).unwrap();
    assert_eq!(&start, b"VGBM");
    let mut long = vec![0xaa; 1 << 16];
    node.get_caps(CAPSET_ID, 1, &mut long).unwrap();
    assert_eq!(long.last(), Some(&0xaa), "bytes beyond the capset stay");
    refused_with(node.get_caps(CAPSET_ID, 2, &mut start), Errno::INVAL);
    refused_with(node.get_caps(4, 1, &mut start), Errno::INVAL);
    refused_with(node.get_caps(CAPSET_ID, 1, &mut []), Errno::INVAL);
}

#[test]
fn a_context_is_chosen_once() {
    let node = Loopback::new().unwrap();
    refused_with(node.context_init(&init(4, 1)), Errno::INVAL);
    refused_with(node.context_init(&init(CAPSET_ID, 65)), Errno::INVAL);
    node.context_init(&init(CAPSET_ID, 1)).unwrap();
    refused_with(node.context_init(&init(CAPSET_ID, 1)), Errno::EXIST);
}

#[test]
fn the_first_call_that_needs_a_context_makes_one_without_a_capset() {
    let node = Loopback::new().unwrap();
    assert_eq!(node.host().stats().contexts, 0);
    node.execbuffer(&Execbuffer::default()).unwrap();
    assert_eq!(node.host().stats().contexts, 1);
    refused_with(node.context_init(&init(CAPSET_ID, 1)), Errno::EXIST);
    drop(node.open_again());
    drop(node);
}

#[test]
fn rings_beyond_those_of_the_context_are_refused() {
    let node = Loopback::new().unwrap();
    node.context_init(&init(CAPSET_ID, 2)).unwrap();
    let on_ring = |ring| node.execbuffer(&Execbuffer { ring_idx: Some(ring), ..Execbuffer::default() });
    on_ring(1).unwrap();
    refused_with(on_ring(2), Errno::INVAL);
    refused_with(node.execbuffer(&Execbuffer { bo_handles: &[9], ..Execbuffer::default() }), Errno::NOENT);
}

#[test]
fn guest_blobs_carry_no_command_and_no_id() {
    let node = Loopback::new().unwrap();
    let guest = blob(BlobMem::Guest, BlobFlags::MAPPABLE, 4096);
    refused_with(node.resource_create_blob(&BlobCreate { blob_id: 1, ..guest }), Errno::INVAL);
    refused_with(node.resource_create_blob(&BlobCreate { command: &[0; 4], ..guest }), Errno::INVAL);
    refused_with(node.resource_create_blob(&BlobCreate { flags: BlobFlags::from_bits_retain(8), ..guest }), Errno::INVAL);
    refused_with(node.resource_create_blob(&BlobCreate { size: 0, ..guest }), Errno::INVAL);
    let host = blob(BlobMem::Host3d, BlobFlags::MAPPABLE, 4096);
    refused_with(node.resource_create_blob(&BlobCreate { command: &[0; 5], ..host }), Errno::INVAL);
    refused_with(node.resource_create_blob(&BlobCreate { size: 1 << 40, ..host }), Errno::NOSPC);
    assert_eq!(node.host().stats().held, Amount::default());
}

#[test]
fn sizes_are_rounded_up_to_a_page() {
    let node = Loopback::new().unwrap();
    let handles = node.resource_create_blob(&blob(BlobMem::Host3d, BlobFlags::MAPPABLE, 4196)).unwrap();
    assert_eq!(
        node.resource_info(handles.bo_handle).unwrap(),
        ResourceInfo { resource_id: handles.resource_id, size: 8192, blob_mem: 2 }
    );
}

#[test]
fn host_memory_is_seen_by_both_sides() {
    for node in [Loopback::new().unwrap(), threaded(Duration::from_millis(1))] {
        let handles = node.resource_create_blob(&blob(BlobMem::Host3d, BlobFlags::MAPPABLE, 4096)).unwrap();
        let map = node.mmap(node.map(handles.bo_handle).unwrap(), 4096).unwrap();
        map.write(10, b"guest").unwrap();
        let mut seen = [0; 5];
        node.host().read_resource(handles.resource_id, 10, &mut seen).unwrap();
        assert_eq!(&seen, b"guest");
    }
}

#[test]
fn a_refused_blob_is_created_exported_and_waited_for_but_not_mapped() {
    for node in [Loopback::new().unwrap(), threaded(Duration::from_millis(1))] {
        node.context_init(&init(CAPSET_ID, 1)).unwrap();
        let refused = BlobCreate { blob_id: 77, ..blob(BlobMem::Host3d, BlobFlags::MAPPABLE, 4096) };
        let handles = node.resource_create_blob(&refused).unwrap();
        node.wait(handles.bo_handle).unwrap();
        node.prime_handle_to_fd(handles.bo_handle).unwrap();
        refused_with(node.mmap(node.map(handles.bo_handle).unwrap(), 4096), Errno::INVAL);
        node.gem_close(handles.bo_handle).unwrap();
    }
}

#[test]
fn only_mappable_memory_is_mapped_and_not_beyond_its_end() {
    let node = Loopback::new().unwrap();
    let handles = node.resource_create_blob(&blob(BlobMem::Host3d, BlobFlags::SHAREABLE, 4096)).unwrap();
    refused_with(node.mmap(node.map(handles.bo_handle).unwrap(), 4096), Errno::INVAL);
    let handles = node.resource_create_blob(&blob(BlobMem::Host3d, BlobFlags::MAPPABLE, 4096)).unwrap();
    refused_with(node.mmap(node.map(handles.bo_handle).unwrap(), 8192), Errno::INVAL);
    refused_with(node.mmap(12345, 4096), Errno::INVAL);
    refused_with(node.map(99), Errno::NOENT);
}

#[test]
fn a_window_that_is_full_refuses_the_blob_and_frees_it() {
    let node = Loopback::with_options(LoopbackOptions { window_bytes: 8192, ..LoopbackOptions::default() }).unwrap();
    let mappable = blob(BlobMem::Host3d, BlobFlags::MAPPABLE, 8192);
    let first = node.resource_create_blob(&mappable).unwrap();
    refused_with(node.resource_create_blob(&mappable), Errno::NOSPC);
    assert_eq!(node.host().stats().resources, 1);
    node.gem_close(first.bo_handle).unwrap();
    node.resource_create_blob(&mappable).unwrap();
}

#[test]
fn a_mapping_keeps_the_buffer_when_its_handle_is_closed() {
    let node = Loopback::new().unwrap();
    let handles = node.resource_create_blob(&blob(BlobMem::Host3d, BlobFlags::MAPPABLE, 4096)).unwrap();
    let map = node.mmap(node.map(handles.bo_handle).unwrap(), 4096).unwrap();
    node.gem_close(handles.bo_handle).unwrap();
    assert_eq!(node.host().stats().resources, 1);
    drop(map);
    assert_eq!(node.host().stats().resources, 0);
    refused_with(node.gem_close(handles.bo_handle), Errno::INVAL);
}

#[test]
fn a_file_has_one_handle_for_a_buffer_however_often_it_is_imported() {
    let node = Loopback::new().unwrap();
    for mem in [BlobMem::Host3d, BlobMem::Guest] {
        let handles = node.resource_create_blob(&blob(mem, BlobFlags::MAPPABLE, 4096)).unwrap();
        let fds = [(); 2].map(|()| node.prime_handle_to_fd(handles.bo_handle).unwrap());
        for fd in &fds {
            assert_eq!(node.prime_fd_to_handle(fd.as_fd()).unwrap(), handles.bo_handle);
        }
        let other = node.open_again();
        let imported = other.prime_fd_to_handle(fds[0].as_fd()).unwrap();
        assert_eq!(other.resource_info(imported).unwrap().resource_id, handles.resource_id);
    }
    let foreign = crate::sys::memfd::sealed(4096).unwrap();
    refused_with(node.prime_fd_to_handle(foreign.as_fd()), Errno::NODEV);
}

#[test]
fn wait_returns_when_the_host_has_executed() {
    let node = threaded(Duration::from_millis(20));
    let handles = node.resource_create_blob(&blob(BlobMem::Guest, BlobFlags::MAPPABLE, 4096)).unwrap();
    let before = node.host().stats().commands;
    node.execbuffer(&Execbuffer { bo_handles: &[handles.bo_handle], ..Execbuffer::default() }).unwrap();
    node.wait(handles.bo_handle).unwrap();
    assert!(node.host().stats().commands > before);
    refused_with(node.wait(99), Errno::NOENT);
}

#[test]
fn a_fence_is_a_descriptor_that_another_submission_waits_for() {
    let node = threaded(Duration::from_millis(20));
    node.context_init(&init(CAPSET_ID, 1)).unwrap();
    let before = node.host().stats().commands;
    let fence = node.execbuffer(&Execbuffer { out_fence: true, ..Execbuffer::default() }).unwrap().unwrap();
    assert!(poll::wait_readable(fence.as_fd(), Duration::ZERO).is_err());
    node.execbuffer(&Execbuffer { in_fence: Some(fence.as_fd()), ..Execbuffer::default() }).unwrap();
    assert!(node.host().stats().commands > before, "it was sent when the fence had come");
    poll::wait_readable(fence.as_fd(), Duration::ZERO).unwrap();
    let syncobj = [Syncobj { handle: 1, ..Syncobj::default() }];
    refused_with(node.execbuffer(&Execbuffer { out_syncobjs: &syncobj, ..Execbuffer::default() }), Errno::NOENT);
}

#[test]
fn a_wait_is_not_cut_short_by_another_for_the_same_buffer() {
    let node = threaded(Duration::from_millis(30));
    let handles = node.resource_create_blob(&blob(BlobMem::Guest, BlobFlags::MAPPABLE, 4096)).unwrap();
    let fenced = Execbuffer { bo_handles: &[handles.bo_handle], ..Execbuffer::default() };
    node.execbuffer(&fenced).unwrap();
    node.wait(handles.bo_handle).unwrap();
    let before = node.host().stats().commands;
    for _ in 0..2 {
        node.execbuffer(&fenced).unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| node.wait(handles.bo_handle).unwrap());
        std::thread::sleep(Duration::from_millis(10));
        node.wait(handles.bo_handle).unwrap();
        assert_eq!(node.host().stats().commands, before + 2);
    });
}

#[test]
fn classic_resources_are_transferred() {
    let node = Loopback::new().unwrap();
    let resource = ResourceCreate { target: 2, format: 64, bind: 1 << 3, width: 16, height: 16, size: 256 };
    let handles = node.resource_create(&resource).unwrap();
    let map = node.mmap(node.map(handles.bo_handle).unwrap(), 4096).unwrap();
    map.write(0, &[3; 256]).unwrap();
    let bo_handle = handles.bo_handle;
    let transfer = Transfer { bo_handle, x: 0, y: 4, width: 16, height: 2, offset: 0, stride: 0, level: 0 };
    node.transfer_to_host(&transfer).unwrap();
    node.wait(bo_handle).unwrap();
    let mut seen = [0; 256];
    node.host().read_resource(handles.resource_id, 0, &mut seen).unwrap();
    assert_eq!((seen[63], seen[64], seen[95], seen[96]), (0, 3, 3, 0));
    node.transfer_from_host(&Transfer { y: 0, ..transfer }).unwrap();
    node.wait(bo_handle).unwrap();
    let mut back = [9; 32];
    map.read(0, &mut back).unwrap();
    assert_eq!(back, [0; 32]);
}

#[test]
fn a_closed_file_leaves_nothing_on_the_host() {
    for node in [Loopback::new().unwrap(), threaded(Duration::ZERO)] {
        let host = node.host().clone();
        let keeper = node.open_again();
        node.context_init(&init(CAPSET_ID, 1)).unwrap();
        for mem in [BlobMem::Guest, BlobMem::Host3d] {
            node.resource_create_blob(&blob(mem, BlobFlags::MAPPABLE, 4096)).unwrap();
        }
        drop(node);
        // Waits until the thread has executed what the close has sent.
        keeper.get_caps(CAPSET_ID, 1, &mut [0; 4]).unwrap();
        let stats = host.stats();
        assert_eq!((stats.contexts, stats.resources, stats.mappings, stats.held), (0, 0, 0, Amount::default()));
    }
}

#[test]
fn a_quota_of_resources_is_an_error_that_the_guest_sees_at_mmap() {
    let quota = Quota { device: Amount { bytes: 4096, objects: 10, fds: 10 }, ..Quota::default() };
    let config = DeviceConfig { quota, ..DeviceConfig::default() };
    let node = Loopback::with_options(LoopbackOptions { config, ..LoopbackOptions::default() }).unwrap();
    let handles = node.resource_create_blob(&blob(BlobMem::Host3d, BlobFlags::MAPPABLE, 8192)).unwrap();
    refused_with(node.mmap(node.map(handles.bo_handle).unwrap(), 8192), Errno::INVAL);
}
