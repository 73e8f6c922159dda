//! Memory goes from one Vulkan device to another a thousand times, and nothing grows.
//!
//! One test alone in its process, since it counts the process's descriptors and memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::fd::AsFd;
use virgbm::host::test_rig::gpu_demanded;
use virgbm::host::{Allocation, Export, ExportKind, Parameters, Resolver, VulkanOptions, VulkanResolver};
use virgbm::{BufferRequest, Format, SupportTable, Usage};

/// An image of 256 KiB: a thousand of them can't hide.
const SIDE: u32 = 256;
const GROWTH_KIB: u64 = 64 << 10;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn round(one: &VulkanResolver, other: &VulkanResolver, round: u32) -> &'static str {
    let request = BufferRequest::new(Format::ARGB8888, SIDE, SIDE, Usage::RENDER | Usage::TEXTURE | Usage::LINEAR);
    let table = SupportTable::new(one.support().to_vec(), one.largest());
    let layout = one.layout(&request, table.choose(&request).unwrap()).unwrap();
    let image = |allocation: Allocation| allocation.image;
    let made = one.allocate(&Parameters::Image { request: &request, layout: &layout }, layout.size_bytes).map(image).unwrap();
    let Export { fd, kind } = made.export().unwrap();
    let seen = match &kind {
        ExportKind::Opaque(told) => other.import_opaque(fd.as_fd(), told),
        _ => other.allocate(&Parameters::DmaBuf { fd: fd.as_fd(), request: &request, layout: &layout }, layout.size_bytes),
    };
    let seen = seen.map(image).unwrap();
    made.write(8, &round.to_le_bytes()).unwrap();
    let mut back = [0; 4];
    seen.read(8, &mut back).unwrap();
    assert_eq!(back, round.to_le_bytes());
    if matches!(kind, ExportKind::DmaBuf) { "dma-bufs" } else { "opaque descriptors" }
}

#[test]
fn a_thousand_images_go_from_one_device_to_another_and_nothing_grows() {
    let open = || VulkanResolver::new(&VulkanOptions { software: !gpu_demanded(), ..VulkanOptions::default() });
    let (one, other) = match (open(), open()) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("skipped: {error}");
            return;
        }
    };
    for number in 0..50 {
        round(&one, &other, number);
    }
    let (descriptors, resident) = (open_descriptors(), resident_kib());
    let mut kind = "";
    for number in 0..1000 {
        kind = round(&one, &other, number);
    }
    assert_eq!((open_descriptors(), one.live_objects(), other.live_objects()), (descriptors, 0, 0));
    let grown = resident_kib().saturating_sub(resident);
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    println!("1,000 images by {kind} between two devices of {}: {grown} KiB more", one.device_name());
}
