//! Nothing is left behind: descriptors, bytes and objects after thousands of buffers, and after every way a life can end.
//!
//! One test alone in its process, since it counts the process's descriptors.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::fd::AsFd;
use std::time::Duration;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::{Access, Device};
use virgbm::host::{Amount, MemoryResolver};
use virgbm::{BufferRequest, Format, Usage};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn request(width: u32) -> BufferRequest {
    BufferRequest::new(Format::XRGB8888, width, 64, Usage::RENDER | Usage::CPU_WRITE_OFTEN)
}

fn node(thread: Option<Duration>) -> Loopback {
    let resolvers: Vec<Box<dyn virgbm::host::Resolver>> = vec![Box::new(MemoryResolver::without_udmabuf())];
    Loopback::with_options(LoopbackOptions { thread, resolvers, ..LoopbackOptions::default() }).unwrap()
}

/// Makes and drops buffers until `rounds` are done, with descriptors out and mappings in.
fn churn(device: &Device, other: &Device, rounds: u32) {
    for round in 0..rounds {
        let buffer = device.create(&request(64 + round % 7)).unwrap();
        let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
        mapping.write_row(0, 0, &[round as u8; 16]).unwrap();
        if round % 10 == 0 {
            let imported = other.import(buffer.export().unwrap().as_fd()).unwrap();
            drop(buffer);
            imported.map(imported.layout().whole(), Access::READ).unwrap();
        }
    }
}

#[test]
fn nothing_is_left_behind() {
    let before = open_descriptors();
    for thread in [None, Some(Duration::ZERO)] {
        let first = node(thread);
        let (host, second) = (first.host().clone(), first.open_again());
        let (device, other) = (Device::open(first).unwrap(), Device::open(second).unwrap());
        churn(&device, &other, 500);
        let (held, descriptors) = (host.stats().held, open_descriptors());
        churn(&device, &other, 10_000);
        // A recycled memfd more or less is no leak: the pool has 64 places.
        assert!(open_descriptors() <= descriptors + 64, "{} after {descriptors}", open_descriptors());
        drop(device.create(&request(1)).unwrap());
        assert!(host.stats().held.objects <= held.objects + 2, "{:?} after {held:?}", host.stats().held);

        // Refusals of every kind, each at its own stage, leave nothing either.
        let (held, descriptors) = (host.stats().held, open_descriptors());
        let huge = BufferRequest::new(Format::XRGB8888, 65_535, 65_535, Usage::CPU_READ_RARELY);
        let large = BufferRequest::new(Format::XRGB8888, 16_384, 8_192, Usage::RENDER);
        for _ in 0..100 {
            device.create(&huge).unwrap_err();
            device.create_many(&large, 5).unwrap_err();
            device.create(&BufferRequest::new(Format::NV12, 64, 64, Usage::SCANOUT)).unwrap_err();
            device.import(std::io::stdin().as_fd()).unwrap_err();
        }
        drop(device.create(&request(1)).unwrap());
        assert!(open_descriptors() <= descriptors + 64, "{} after {descriptors}", open_descriptors());
        assert_eq!(host.stats().objects, 0);
        assert!(host.stats().held.objects <= held.objects + 2, "{:?} after {held:?}", host.stats().held);

        // The device goes while mappings of its buffers live, and they stay valid.
        let buffers = device.create_many(&request(64), 3).unwrap();
        let mappings: Vec<_> = buffers.iter().map(|buffer| buffer.map(buffer.layout().whole(), Access::WRITE).unwrap()).collect();
        drop((buffers, device, other));
        for mapping in &mappings {
            mapping.write_row(0, 63, &[1; 256]).unwrap();
        }
        assert_eq!(host.stats().mappings, 3);
        drop(mappings);
        let after = host.stats();
        assert_eq!((after.contexts, after.resources, after.objects, after.held), (0, 0, 0, Amount::default()));
        drop(host);
        assert_eq!(open_descriptors(), before);
    }
}
