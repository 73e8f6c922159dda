//! In a guest: what this library's operations take on a real device, beside a C client of libgbm in the same run.
//!
//! `VIRGBM_NODE` names the node, `ROUNDS` how often. Prints `operation microseconds calls` lines: medians, and what one takes of the
//! kernel. benches/in_guest builds it and runs it in a VM.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::{Duration, Instant};
use virgbm::guest::node::{Counted, drm::DrmNode};
use virgbm::guest::{Access, BufferObject, Device};
use virgbm::layout::Region;
use virgbm::{BufferRequest, Format, Usage};

/// Writes a region, row by row, through a mapping of its own.
fn write(buffer: &BufferObject, region: Region) {
    let row = vec![0x5a; region.width as usize * 4];
    let mapping = buffer.map(region, Access::WRITE).unwrap();
    for at in 0..region.height {
        mapping.write_row(0, at.into(), &row).unwrap();
    }
}

fn median(rounds: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let Some(path) = std::env::var_os("VIRGBM_NODE") else {
        println!("skipped: VIRGBM_NODE names no node; benches/in_guest runs this in a VM");
        return;
    };
    let rounds = std::env::var("ROUNDS").map_or(51, |rounds| rounds.parse().unwrap());
    let node = Arc::new(Counted::new(DrmNode::open(path).unwrap()));
    let device = Device::open(node.clone()).unwrap();
    for (width, height) in [(1920, 1080), (64, 64)] {
        // What compositors ask for, and that the CPU may write it, which gbm allows for every buffer.
        let usage = Usage::SCANOUT | Usage::RENDER | Usage::CPU_READ_RARELY | Usage::CPU_WRITE_RARELY;
        let asked = BufferRequest::new(Format::XRGB8888, width, height, usage);
        let buffer = device.create(&asked).unwrap();
        let whole = buffer.layout().whole();
        let corner = Region { x: 0, y: 0, width: 64, height: 64 };
        write(&buffer, whole);
        let report = |name: &str, work: &mut dyn FnMut()| {
            let before = node.calls();
            work();
            let calls = node.calls() - before;
            println!("{name}_{width}x{height} {:.1} {calls}", median(rounds, work).as_secs_f64() * 1e6);
        };
        report("create_destroy", &mut || drop(device.create(&asked).unwrap()));
        report("map_write_part_unmap", &mut || write(&buffer, corner));
        report("map_write_all_unmap", &mut || write(&buffer, whole));
    }
}
