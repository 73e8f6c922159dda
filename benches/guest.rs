//! In a guest: what this library's operations take on a real device, beside a C client of libgbm in the same run.
//!
//! `VIRGBM_NODE` names the node. Prints `operation microseconds` lines, medians, and the calls to the kernel of each.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::{Duration, Instant};
use virgbm::guest::node::{Counted, drm::DrmNode};
use virgbm::guest::{Access, BufferObject, Device};
use virgbm::layout::Region;
use virgbm::{BufferRequest, Format, Usage};

const ROUNDS: usize = 200;

/// Writes a region, row by row, through a mapping of its own.
fn write(buffer: &BufferObject, region: Region) {
    let row = vec![0x5a; region.width as usize * 4];
    let mapping = buffer.map(region, Access::WRITE).unwrap();
    for at in 0..region.height {
        mapping.write_row(0, at.into(), &row).unwrap();
    }
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS)
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
        println!("skipped: VIRGBM_NODE names no node; tests/rig/stage runs this in a guest");
        return;
    };
    let node = Arc::new(Counted::new(DrmNode::open(path).unwrap()));
    let device = Device::open(node.clone()).unwrap();
    for (width, height) in [(1920, 1080), (64, 64)] {
        let usage = Usage::RENDER | Usage::LINEAR | Usage::CPU_READ_RARELY | Usage::CPU_WRITE_RARELY;
        let asked = BufferRequest::new(Format::ARGB8888, width, height, usage);
        let buffer = device.create(&asked).unwrap();
        let whole = buffer.layout().whole();
        let corner = Region { x: 0, y: 0, width: 64, height: 64 };
        write(&buffer, whole);
        let report = |name: &str, work: &mut dyn FnMut()| {
            let before = node.calls();
            work();
            let calls = node.calls() - before;
            println!("{name}_{width}x{height} {:.1} ({calls})", median(work).as_secs_f64() * 1e6);
        };
        report("create_destroy", &mut || drop(device.create(&asked).unwrap()));
        report("map_write_64x64_unmap", &mut || write(&buffer, corner));
        report("map_write_all_unmap", &mut || write(&buffer, whole));
        report("export_close", &mut || drop(buffer.export().unwrap()));
    }
}
