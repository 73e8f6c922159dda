//! The guest's window, and VMMs that do not do what the device asks for it.

use crate::guest::{self, is_refusal};
use crate::process::Process;
use crate::vmm::Vmm;
use std::sync::atomic::Ordering;
use std::time::Duration;
use vhost::VhostBackend;
use virgbm::wire::virtio_gpu::Reply;

/// A guest with a context and two mappable blobs, numbers 1 and 2, of 8192 bytes each.
fn with_blobs(process: &Process) -> Vmm {
    let mut vmm = Vmm::connect(process);
    for command in [guest::create_context(1), guest::mappable_blob(1, 1, 8192), guest::mappable_blob(1, 2, 8192)] {
        assert_eq!(vmm.ask(&command), Reply::OkNoData.number());
    }
    vmm
}

fn assert_goes_on(vmm: &mut Vmm) {
    assert_eq!(vmm.ask(&guest::display_info()), Reply::OkDisplayInfo.number());
}

#[test]
fn blobs_beside_each_other_in_the_window_are_apart() {
    let process = Process::start();
    let mut vmm = with_blobs(&process);
    for (id, offset) in [(1, 0), (2, 8192)] {
        assert_eq!(vmm.ask(&guest::map(id, offset)), Reply::OkMapInfo.number());
        vmm.window.write(offset, &[id as u8; 8192]).unwrap();
    }
    assert_eq!(vmm.window.read(0, 8192).unwrap(), [1; 8192]);
    assert_eq!(vmm.window.read(8192, 8192).unwrap(), [2; 8192]);
}

#[test]
fn a_blob_keeps_its_bytes_when_it_moves_in_the_window() {
    let process = Process::start();
    let mut vmm = with_blobs(&process);
    assert_eq!(vmm.ask(&guest::map(1, 0)), Reply::OkMapInfo.number());
    vmm.window.write(4096, b"here").unwrap();
    assert_eq!(vmm.ask(&guest::unmap(1)), Reply::OkNoData.number());
    assert_eq!(vmm.ask(&guest::map(1, 1 << 20)), Reply::OkMapInfo.number());
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(process.ctl(&["dump", "1", file.path().to_str().unwrap()]).status.success());
    assert_eq!(&std::fs::read(file.path()).unwrap()[4096..4100], b"here");
    assert_eq!(vmm.window.read((1 << 20) + 4096, 4).unwrap(), b"here");
}

#[test]
fn a_new_blob_in_a_place_of_the_window_that_was_used_is_zeroes() {
    let process = Process::start();
    let mut vmm = with_blobs(&process);
    assert_eq!(vmm.ask(&guest::map(1, 0)), Reply::OkMapInfo.number());
    vmm.window.write(0, b"secret").unwrap();
    for command in [guest::unmap(1), guest::unref(1), guest::mappable_blob(1, 3, 8192)] {
        assert_eq!(vmm.ask(&command), Reply::OkNoData.number());
    }
    assert_eq!(vmm.ask(&guest::map(3, 0)), Reply::OkMapInfo.number());
    assert_eq!(vmm.window.read(0, 8192).unwrap(), [0; 8192]);
}

#[test]
fn what_can_not_be_mapped_is_refused() {
    let process = Process::start();
    let mut vmm = with_blobs(&process);
    assert_eq!(vmm.ask(&guest::guest_blob(3, 0x10_0000, 4096)), Reply::OkNoData.number());
    assert_eq!(vmm.ask(&guest::host_blob(1, 4, 4096, 0)), Reply::OkNoData.number());
    assert_eq!(vmm.ask(&guest::map(1, 0)), Reply::OkMapInfo.number());
    let window = 256 << 20;
    let refused = [
        ("a blob of the guest's pages", guest::map(3, 1 << 20)),
        ("a blob that is not mappable", guest::map(4, 1 << 20)),
        ("no blob", guest::map(9, 1 << 20)),
        ("mapped already", guest::map(1, 1 << 20)),
        ("where another is", guest::map(2, 4096)),
        ("within a page", guest::map(2, 100)),
        ("at the window's end", guest::map(2, window)),
        ("over the window's end", guest::map(2, window - 4096)),
        ("beyond all", guest::map(2, u64::MAX - 4095)),
        ("not mapped", guest::unmap(2)),
    ];
    for (why, command) in refused {
        assert!(is_refusal(&vmm.send(&[&command], 512)), "{why}");
    }
    assert_eq!(vmm.ask(&guest::map(2, window - 8192)), Reply::OkMapInfo.number());
}

#[test]
fn a_vmm_that_refuses_a_mapping_is_asked_again_for_the_next() {
    let process = Process::start();
    let mut vmm = with_blobs(&process);
    vmm.window.refuses.store(true, Ordering::Release);
    assert!(is_refusal(&vmm.send(&[&guest::map(1, 0)], 512)));
    // A guest kernel says so even when the mapping was refused.
    assert!(is_refusal(&vmm.send(&[&guest::unmap(1)], 512)));
    assert_goes_on(&mut vmm);
    assert_eq!(process.stat("mappings"), 0);
    vmm.window.refuses.store(false, Ordering::Release);
    assert_eq!(vmm.ask(&guest::map(1, 0)), Reply::OkMapInfo.number());
}

#[test]
fn a_vmm_that_closes_its_channel_gets_refusals_and_goes_on() {
    let process = Process::start();
    let mut vmm = with_blobs(&process);
    vmm.close_channel();
    assert!(is_refusal(&vmm.send(&[&guest::map(1, 0)], 512)));
    assert_goes_on(&mut vmm);
    assert_eq!(vmm.ask(&guest::unref(1)), Reply::OkNoData.number());
}

#[test]
fn a_vmm_that_closes_its_channel_while_a_blob_is_mapped_can_still_free_it() {
    let process = Process::start();
    let mut vmm = with_blobs(&process);
    assert_eq!(vmm.ask(&guest::map(1, 0)), Reply::OkMapInfo.number());
    vmm.close_channel();
    assert!(vmm.ask(&guest::unmap(1)) != 0);
    assert_eq!(vmm.ask(&guest::unref(1)), Reply::OkNoData.number());
    assert_eq!((process.stat("resources"), process.stat("mappings")), (1, 0));
}

#[test]
fn a_vmm_without_a_channel_gets_refusals_until_it_gives_one() {
    let process = Process::start();
    let mut vmm = with_blobs(&process);
    vmm.close_channel();
    assert!(is_refusal(&vmm.send(&[&guest::map(1, 0)], 512)));
    vmm.open_channel();
    assert_eq!(vmm.ask(&guest::map(1, 0)), Reply::OkMapInfo.number());
}

#[test]
fn a_vmm_that_commits_no_mapping_gets_its_answer_all_the_same() {
    let process = Process::start();
    let mut vmm = with_blobs(&process);
    vmm.window.commits_nothing.store(true, Ordering::Release);
    assert_eq!(vmm.ask(&guest::map(1, 0)), Reply::OkMapInfo.number());
    assert_goes_on(&mut vmm);
}

/// A VMM that does not listen, and owes its guest a mapping.
fn with_a_mapping_in_flight(process: &Process) -> Vmm {
    let mut vmm = with_blobs(process);
    vmm.window.is_deaf.store(true, Ordering::Release);
    vmm.offer(&guest::map(1, 0));
    vmm.queues[0].kick();
    assert_eq!(vmm.queues[0].used_within(Duration::from_millis(200)), None);
    vmm
}

#[test]
fn a_vmm_that_goes_without_an_answer_to_a_mapping_leaves_nothing() {
    let process = Process::start();
    drop(with_a_mapping_in_flight(&process));
    process.assert_serves();
    process.assert_idle();
}

#[test]
fn a_queue_that_is_stopped_while_a_mapping_is_in_flight_answers_it_when_it_goes_on() {
    let process = Process::start();
    let mut vmm = with_a_mapping_in_flight(&process);
    // The VMM may ask for this on the thread that owes the mapping: it gets its answer, and the command is not yet done.
    let done = vmm.frontend.get_vring_base(0).unwrap();
    assert_eq!(done, 3);
    // What the guest has there now is no room for an answer any more.
    vmm.ram.write(vmm.queues[0].answer(), &[0xee; 32]);
    vmm.window.is_deaf.store(false, Ordering::Release);
    process.wait_for(|_| vmm.window.read(0, 1).is_some());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(vmm.ram.read(vmm.queues[0].answer(), 32), [0xee; 32]);
    vmm.resume(0, done);
    assert!(vmm.queues[0].used().is_some());
    assert_goes_on(&mut vmm);
}
