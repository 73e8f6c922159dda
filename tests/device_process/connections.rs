//! One VMM after the other on the same process.

use crate::guest;
use crate::process::Process;
use crate::vmm::Vmm;
use std::time::Duration;
use virgbm::wire::virtio_gpu::Reply;

#[test]
fn what_a_guest_had_is_gone_when_its_vmm_goes() {
    let process = Process::start();
    drop(Vmm::connect(&process));
    let before = process.descriptors();
    let mut vmm = Vmm::connect(&process);
    assert_eq!(vmm.ask(&guest::create_context(1)), Reply::OkNoData.number());
    for id in 1..=100 {
        assert_eq!(vmm.ask(&guest::mappable_blob(1, id, 4096)), Reply::OkNoData.number());
    }
    for id in 1..=10 {
        assert_eq!(vmm.ask(&guest::map(id, u64::from(id) << 12)), Reply::OkMapInfo.number());
    }
    assert_eq!((process.stat("resources"), process.stat("mappings")), (100, 10));

    drop(vmm);
    let mut next = Vmm::connect(&process);

    assert_eq!(next.ask(&guest::display_info()), Reply::OkDisplayInfo.number());
    let names = ["contexts", "resources", "mappings", "bytes", "errors"];
    assert_eq!(names.map(|name| process.stat(name)), [0; 5]);
    drop(next);
    assert_eq!(process.descriptors(), before);
}

#[test]
fn a_second_vmm_waits_until_the_first_has_gone() {
    let process = Process::start();
    let mut first = Vmm::connect(&process);
    assert_eq!(first.ask(&guest::create_context(1)), Reply::OkNoData.number());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| process.assert_serves());
        for _ in 0..20 {
            assert_eq!(first.ask(&guest::display_info()), Reply::OkDisplayInfo.number());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(process.stat("contexts"), 1);
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap();
    });
}

#[test]
fn vmms_that_come_and_go_leave_no_descriptor() {
    let process = Process::start();
    process.assert_serves();
    let before = process.descriptors();
    for _ in 0..20 {
        process.assert_serves();
    }
    assert_eq!(process.descriptors(), before);
}

#[test]
fn a_vmm_may_go_while_its_guest_waits_for_answers() {
    let process = Process::start();
    for _ in 0..10 {
        let mut vmm = Vmm::connect(&process);
        (0..64).for_each(|_| vmm.offer(&guest::display_info()));
        vmm.queues[0].kick();
    }
    process.assert_serves();
}

#[test]
fn a_guest_that_takes_every_descriptor_gets_refusals_and_keeps_its_device() {
    let process = Process::start();
    process.limit_descriptors(150);
    // The device that waits already is of the time before.
    process.assert_serves();
    let mut vmm = Vmm::connect(&process);
    assert_eq!(vmm.ask(&guest::create_context(1)), Reply::OkNoData.number());
    let kinds: Vec<_> = (1..=150).map(|id| vmm.ask(&guest::mappable_blob(1, id, 4096))).collect();
    assert_eq!((kinds[0], kinds[149]), (Reply::OkNoData.number(), Reply::ErrOutOfMemory.number()));

    // The VMM's answer to a mapping brings a descriptor.
    assert_eq!(vmm.ask(&guest::map(1, 0)), Reply::OkMapInfo.number());
    assert_eq!(vmm.ask(&guest::display_info()), Reply::OkDisplayInfo.number());
    assert_eq!(process.stat("mappings"), 1);
    drop(vmm);
    process.assert_serves();
}
