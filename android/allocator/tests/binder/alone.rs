//! Each in a run of its own, while the host or the job does something.

use crate::importer::start;
use crate::{
    BGRA_8888, CLIENT_TARGET, CPU_OFTEN, YV12, descriptor, descriptors_of_the_service, service, service_process, settles,
};
use rsbinder::{Status, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use std::time::{Duration, Instant};
use virgbm_android_allocator::aidl::BufferDescriptorInfo;
use virgbm_android_handle::allocate::AllocationError;

/// The host looks at the buffer meanwhile.
#[test]
fn a_third_process_fills_a_buffer() {
    let asked = BufferDescriptorInfo { format: YV12, ..descriptor("held", 129, 67) };
    let found = service().allocate2(&asked, 1).unwrap();
    assert!(start("importer::fills", &found.buffers[0]).wait().unwrap().success());
    std::thread::sleep(Duration::from_secs(4));
}

/// The host takes screenshots meanwhile.
#[test]
fn a_third_process_shows_a_buffer() {
    let (width, height) = crate::importer::screen();
    let usage = CPU_OFTEN | CLIENT_TARGET;
    let asked = BufferDescriptorInfo { format: BGRA_8888, usage, ..descriptor("screen", width, height) };
    let found = service().allocate2(&asked, 1).unwrap();
    assert!(start("importer::shows", &found.buffers[0]).wait().unwrap().success());
}

/// A signal ends the service while it allocates: what it has handed out until then stays.
#[test]
fn the_service_is_killed() {
    let service = service();
    let mut found = vec![service.allocate2(&descriptor("", 64, 64), 1).unwrap()];
    let process = Pid::from_raw(service_process()).unwrap();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        kill_process(process, Signal::KILL).unwrap();
    });
    let end = loop {
        match service.allocate2(&descriptor("", 64, 64), 1) {
            Ok(more) => found.push(more),
            Err(status) => break status,
        }
    };
    killer.join().unwrap();
    assert_eq!(StatusCode::from(end), StatusCode::DeadObject, "after {} buffers", found.len());
    let last = &found.last().unwrap().buffers[0];
    for role in ["importer::fills", "importer::finds_what_was_filled"] {
        assert!(start(role, last).wait().unwrap().success(), "{role}");
    }
}

/// The buffers live as long as somebody has their descriptors, so the host has no room at last.
#[test]
fn ten_thousand_requests_without_a_free() {
    limit_descriptors(65_536);
    let service = service();
    let mut held = Vec::new();
    let mut refused = Vec::new();
    for _ in 0..10_000 {
        match service.allocate2(&descriptor("", 512, 512), 1) {
            Ok(found) => held.push(found),
            Err(status) => refused.push(status),
        }
    }
    println!("{} buffers, then {:?}", held.len(), refused.first());
    assert!(!held.is_empty() && !refused.is_empty());
    let clear = |status: &Status| status.service_specific_error() == AllocationError::NoResources as i32;
    assert!(refused.iter().all(clear));
    drop(held);
    assert!(settles(|| service.allocate2(&descriptor("", 512, 512), 1).is_ok()), "after all are gone");
}

/// What a request costs from end to end, told and not judged.
#[test]
fn requests_one_after_the_other() {
    let service = service();
    for (width, height) in [(64, 64), (1920, 1080)] {
        let mut took: Vec<Duration> = Vec::new();
        for _ in 0..200 {
            let start = Instant::now();
            let found = service.allocate2(&descriptor("", width, height), 1).unwrap();
            took.push(start.elapsed());
            assert_eq!(found.buffers.len(), 1);
        }
        took.sort();
        println!("allocate2 of {width}x{height} over binder: {:?}", took[took.len() / 2]);
    }
}

/// The kernel can't hand over what the client has no room for; the service keeps nothing of it.
#[test]
fn a_client_without_room_for_descriptors() {
    let service = service();
    drop(service.allocate2(&descriptor("", 64, 64), 1).unwrap());
    let before = descriptors_of_the_service();
    limit_descriptors(64);
    assert!(service.allocate2(&descriptor("", 64, 64), 100).is_err());
    assert_eq!(service.allocate2(&descriptor("", 64, 64), 2).unwrap().buffers.len(), 2);
    assert!(settles(|| descriptors_of_the_service() <= before));
}

/// How many descriptors this process may have from now on.
fn limit_descriptors(count: u64) {
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: Some(65_536) }).unwrap();
}
