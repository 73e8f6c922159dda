//! In a guest, on the Linux driver: what `tests/rig/boot` runs. `VIRGBM_NODE` names the node, `VIRGBM_CARD` the same as a card,
//! `VIRGBM_VGEM` a node of vgem. What is in `held` is run alone, each test with something that the host does meanwhile.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod buffers;
mod conformance;
mod held;
mod inside;
mod kernel;
mod sharing;

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use virgbm::guest::node::{Counted, drm::DrmNode};
use virgbm::guest::{Access, BufferObject, Device};
use virgbm::{BufferRequest, Format, Usage};

/// A path that the rig's job has told.
fn path(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run this by tests/rig/boot"))
}

fn open() -> (Arc<Counted<DrmNode>>, Device) {
    let node = Arc::new(Counted::new(DrmNode::open(path("VIRGBM_NODE")).unwrap()));
    (node.clone(), Device::open(node).unwrap())
}

fn request(format: Format, width: u32, height: u32) -> BufferRequest {
    BufferRequest::new(format, width, height, Usage::CPU_READ_RARELY | Usage::CPU_WRITE_RARELY)
}

/// What a byte of a buffer is filled with.
fn byte(plane: usize, row: u64, at: u64) -> u8 {
    (at * 7 + row * 13 + plane as u64 * 101 + 1) as u8
}

fn fill(buffer: &BufferObject) {
    let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
    for plane in 0..buffer.layout().planes.len() {
        let rows = mapping.plane(plane).unwrap();
        for row in 0..rows.rows {
            let bytes: Vec<u8> = (0..rows.row_bytes).map(|at| byte(plane, row, at)).collect();
            mapping.write_row(plane, row, &bytes).unwrap();
        }
    }
}

fn check(buffer: &BufferObject) {
    let mapping = buffer.map(buffer.layout().whole(), Access::READ).unwrap();
    for plane in 0..buffer.layout().planes.len() {
        let rows = mapping.plane(plane).unwrap();
        for row in 0..rows.rows {
            let mut bytes = vec![0; rows.row_bytes as usize];
            mapping.read_row(plane, row, &mut bytes).unwrap();
            let right = (0..).zip(&bytes).all(|(at, found)| *found == byte(plane, row, at));
            assert!(right, "{buffer:?} plane {plane} row {row}");
        }
    }
}

/// A node of another driver, for what the drm crate can do with it.
struct Other(File);

impl AsFd for Other {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
impl drm::Device for Other {}
impl drm::control::Device for Other {}

impl Other {
    fn vgem() -> Self {
        Self(OpenOptions::new().read(true).write(true).open(path("VIRGBM_VGEM")).unwrap())
    }
}
