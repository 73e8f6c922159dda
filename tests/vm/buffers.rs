//! Making buffers, mapping them, and what that costs.

use crate::{check, fill, open, request};
use std::os::fd::AsFd;
use std::time::Instant;
use virgbm::guest::node::Ioctl;
use virgbm::guest::{Access, Error};
use virgbm::wire::alloc::Status;
use virgbm::{BufferRequest, Format, Usage};

#[test]
fn every_format_is_filled_and_found_again_through_another_file() {
    let ((_, device), (_, other)) = (open(), open());
    for &format in Format::all().iter().filter(|format| !format.planes().is_empty()) {
        let buffer = device.create(&request(format, 129, 67)).unwrap();
        fill(&buffer);
        let imported = other.import(buffer.export().unwrap().as_fd()).unwrap();
        assert_eq!(imported.layout(), buffer.layout(), "the host describes it");
        check(&imported);
    }
}

#[test]
fn a_linear_allocation_is_one_ioctl_and_one_wait() {
    let (node, device) = open();
    let asked = BufferRequest::new(Format::XRGB8888, 1920, 1080, Usage::RENDER | Usage::SCANOUT);
    drop(device.create(&asked).unwrap());
    let mut lone = 0;
    for _ in 0..100 {
        let (calls, round_trips) = (node.calls(), device.round_trips());
        drop(device.create(&asked).unwrap());
        let calls = node.calls() - calls;
        assert_eq!((calls.of(Ioctl::ResourceCreateBlob), device.round_trips() - round_trips), (1, 1), "{calls}");
        lone += u32::from(calls.total() == 2);
    }
    println!("of 100 allocations {lone} were told by the slot alone, with RESOURCE_CREATE_BLOB and GEM_CLOSE as their calls");
    assert!(lone > 0, "the slot is to be seen before the kernel is asked to wait");
}

#[test]
fn a_swapchain_is_one_submission() {
    let (node, device) = open();
    let calls = node.calls();
    let buffers = device.create_many(&BufferRequest::new(Format::XRGB8888, 1920, 1080, Usage::RENDER), 3).unwrap();
    let calls = node.calls() - calls;
    assert_eq!((buffers.len(), calls.of(Ioctl::ResourceCreateBlob)), (3, 3));
    println!("a swapchain of three: {calls}");
}

#[test]
fn mapping_again_costs_no_call() {
    let (node, device) = open();
    let buffer = device.create(&request(Format::XRGB8888, 640, 480)).unwrap();
    fill(&buffer);
    let calls = node.calls();
    check(&buffer);
    assert_eq!((node.calls() - calls).total(), 0);
}

#[test]
fn fresh_memory_is_zero_every_time() {
    let (_, device) = open();
    for round in 0..20_000 {
        let buffer = device.create(&request(Format::R8, 4096, 1)).unwrap();
        let mapping = buffer.map(buffer.layout().whole(), Access::READ | Access::WRITE).unwrap();
        let mut row = [1; 4096];
        mapping.read_row(0, 0, &mut row).unwrap();
        assert_eq!(row, [0; 4096], "round {round}");
        mapping.write_row(0, 0, &[0xee; 4096]).unwrap();
    }
}

#[test]
fn hundreds_of_mapped_buffers_are_alive_at_once() {
    let (_, device) = open();
    let buffers: Vec<_> = (1..=600).map(|width| device.create(&request(Format::R8, width, 3)).unwrap()).collect();
    buffers.iter().for_each(fill);
    buffers.iter().for_each(check);
}

#[test]
fn a_mapping_does_not_make_an_allocation_dearer() {
    let (node, device) = open();
    let create = |usage| {
        let asked = BufferRequest::new(Format::XRGB8888, 1920, 1080, usage);
        let mut times: Vec<_> = (0..200)
            .map(|_| {
                let (start, calls) = (Instant::now(), node.calls());
                let buffer = device.create(&asked).unwrap();
                assert_eq!((node.calls() - calls).of(Ioctl::ResourceCreateBlob), 1);
                drop(buffer);
                start.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let (unmapped, mapped) = (create(Usage::RENDER), create(Usage::RENDER | Usage::CPU_WRITE_RARELY));
    println!("1920x1080, created and destroyed, medians of 200: {unmapped:?} without and {mapped:?} with MAPPABLE");
}

#[test]
fn threads_share_a_device() {
    let (_, device) = open();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let device = &device;
            scope.spawn(move || {
                for round in 0..20 {
                    let buffer = device.create(&request(Format::NV12, 33 + thread, 17 + round)).unwrap();
                    fill(&buffer);
                    check(&buffer);
                }
            });
        }
    });
}

#[test]
fn thousands_of_buffers_leave_no_descriptor() {
    let (_, device) = open();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let asked = BufferRequest::new(Format::XRGB8888, 1920, 1080, Usage::RENDER);
    drop(device.create(&asked).unwrap());
    let before = descriptors();
    for _ in 0..10_000 {
        device.create(&asked).unwrap();
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn refusals_of_the_host_come_back_typed() {
    let (_, device) = open();
    let error = device.create(&request(Format::XRGB8888, 65_535, 65_535)).unwrap_err();
    assert!(matches!(error, Error::Node(_) | Error::Refused { status: Status::Quota, .. }), "{error}");
    let render = BufferRequest::new(Format::XRGB8888, 65_535, 65_535, Usage::RENDER);
    let error = device.create(&render).unwrap_err();
    assert!(matches!(error, Error::Refused { status: Status::Quota, .. }), "{error}");
    device.create(&request(Format::R8, 64, 64)).unwrap();
}

#[test]
fn a_window_that_is_full_gives_an_error_and_the_device_goes_on() {
    let (_, device) = open();
    let large = request(Format::XRGB8888, 4096, 2048);
    let mut kept = Vec::new();
    let error = loop {
        match device.create(&large) {
            Ok(buffer) => kept.push(buffer),
            Err(error) => break error,
        }
        assert!(kept.len() < 100, "the window has no end");
    };
    assert!(matches!(error, Error::Node(_)), "{error}");
    // The kernel gives a range of the window back when the host has answered: wait for that.
    kept.clear();
    let again = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        device.create(&large).ok()
    });
    fill(&again.expect("the window has room again"));
}
