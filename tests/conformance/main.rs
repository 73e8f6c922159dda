//! The same buffers on every host that runs in a process: what each can and cannot is printed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod suite;

use std::time::Duration;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::{BackendKind, Device};
use virgbm::host::{DeviceConfig, Features};

/// Runs the suite on two files of an embedded host, with the commands executed at once and by a thread behind their back.
fn conforms(host: &str, backend: BackendKind, drawn: bool, options: impl Fn() -> LoopbackOptions) {
    for thread in [None, Some(Duration::ZERO)] {
        let node = Loopback::with_options(LoopbackOptions { thread, ..options() }).unwrap();
        let other = Device::open(node.open_again()).unwrap();
        let module = node.host().clone();
        let device = Device::open(node).unwrap();
        assert!(device.verdicts().iter().any(|verdict| verdict.chosen && verdict.kind == backend), "{:?}", device.verdicts());
        let line = suite::run(host, &device, &other, drawn);
        if thread.is_none() {
            println!("{line}");
        }
        drop((device, other));
        assert_eq!(module.stats().errors, 0, "the host has refused nothing");
    }
}

#[test]
fn our_protocol() {
    conforms("virgbm", BackendKind::Alloc, true, LoopbackOptions::default);
}

#[test]
fn our_protocol_without_a_window() {
    conforms("virgbm without a window", BackendKind::Alloc, true, || LoopbackOptions {
        window_bytes: 0,
        ..LoopbackOptions::default()
    });
}

fn two_dimensional(primary: bool) -> LoopbackOptions {
    let features = Features::USUAL.difference(Features::VIRGL | Features::CONTEXT_INIT | Features::RESOURCE_BLOB);
    let config = DeviceConfig { features, ..DeviceConfig::default() };
    LoopbackOptions { config, primary, ..LoopbackOptions::default() }
}

#[test]
fn a_2d_host_on_a_primary_node() {
    conforms("2D, primary node", BackendKind::Dumb, false, || two_dimensional(true));
}

#[test]
fn a_2d_host_on_a_render_node() {
    conforms("2D, render node", BackendKind::Dumb, false, || two_dimensional(false));
}
