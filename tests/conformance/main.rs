//! The same buffers on every host that runs in a process: what each can and cannot is printed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod rutabaga;
mod suite;

use rutabaga::RutabagaNode;
use std::sync::Arc;
use std::time::Duration;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{Counted, Node};
use virgbm::guest::{Access, BackendKind, Device, DeviceOptions};
use virgbm::host::{DeviceConfig, Features, Protocols};
use virgbm::layout::Region;
use virgbm::{BufferRequest, Format, Usage};

/// Runs the suite on two files of an embedded host, with the commands executed at once and by a thread behind their back.
fn conforms(host: &str, backend: BackendKind, drawn: bool, options: impl Fn() -> LoopbackOptions) {
    for thread in [None, Some(Duration::ZERO)] {
        let node = Loopback::with_options(LoopbackOptions { thread, ..options() }).unwrap();
        let choice = DeviceOptions { backend: Some(backend), ..DeviceOptions::default() };
        let other = Device::open_with(node.open_again(), &choice).unwrap();
        let module = node.host().clone();
        let device = Device::open_with(node, &choice).unwrap();
        assert!(device.verdicts().iter().any(|verdict| verdict.chosen && verdict.kind == backend), "{:?}", device.verdicts());
        let report = suite::run(host, &device, &other, drawn);
        assert!(!report.contains("comes back changed"), "{report}");
        if thread.is_none() {
            println!("{report}");
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

fn speaking(protocols: Protocols) -> LoopbackOptions {
    let config = DeviceConfig { protocols, ..DeviceConfig::default() };
    LoopbackOptions { config, ..LoopbackOptions::default() }
}

#[test]
fn our_host_by_cross_domain() {
    conforms("virgbm by cross-domain", BackendKind::CrossDomain, true, || speaking(Protocols::CROSS_DOMAIN));
}

#[test]
fn our_host_by_cross_domain_without_a_window() {
    conforms("virgbm by cross-domain without a window", BackendKind::CrossDomain, false, || LoopbackOptions {
        window_bytes: 0,
        ..speaking(Protocols::CROSS_DOMAIN)
    });
}

#[test]
fn our_host_by_virgl() {
    conforms("virgbm by virgl", BackendKind::Virgl, true, || speaking(Protocols::VIRGL));
}

#[test]
fn rutabaga_by_cross_domain() {
    let node = RutabagaNode::new();
    let other = Device::open(node.open_again()).unwrap();
    let device = Device::open(node).unwrap();
    println!("{}", suite::run("rutabaga_gfx", &device, &other, false));
}

/// A buffer's calls to the kernel: made, mapped, mapped again, written through, destroyed.
fn calls(node: impl Node + 'static, format: Format, usage: Usage) -> [String; 5] {
    let node = Arc::new(Counted::new(node));
    let device = Device::open(node.clone()).unwrap();
    let asked = BufferRequest::new(format, 640, 480, usage);
    device.layout(&asked).unwrap();
    let counted = |work: &mut dyn FnMut()| {
        let before = node.calls();
        work();
        (node.calls() - before).to_string()
    };
    let (mut buffer, mut mapping) = (None, None);
    let part = Region { x: 64, y: 64, width: 64, height: 64 };
    let create = counted(&mut || buffer = Some(device.create(&asked).unwrap()));
    let made = buffer.clone().unwrap();
    let map = counted(&mut || mapping = Some(made.map(made.layout().whole(), Access::READ).unwrap()));
    let again = counted(&mut || drop(made.map(made.layout().whole(), Access::READ).unwrap()));
    let write = counted(&mut || drop(made.map(part, Access::WRITE).unwrap()));
    drop((made, mapping));
    [create, map, again, write, counted(&mut || drop(buffer.take()))]
}

#[test]
fn each_operation_costs_the_calls_that_it_must() {
    let cpu = Usage::CPU_READ_OFTEN | Usage::CPU_WRITE_OFTEN;
    let host_blob = ["1 RESOURCE_CREATE_BLOB", "1 MAP, 1 mmap", "none", "none", "1 GEM_CLOSE"];
    assert_eq!(calls(Loopback::new().unwrap(), Format::NV12, cpu), host_blob);
    assert_eq!(calls(RutabagaNode::new(), Format::NV12, cpu), host_blob);
    let cross_domain = Loopback::with_options(speaking(Protocols::CROSS_DOMAIN)).unwrap();
    assert_eq!(calls(cross_domain, Format::NV12, cpu), host_blob);
    let dumb = ["1 MODE_CREATE_DUMB", "1 MAP, 1 mmap", "none", "none", "1 GEM_CLOSE"];
    assert_eq!(calls(Loopback::with_options(two_dimensional(true)).unwrap(), Format::XRGB8888, cpu), dumb);
    let classic = ["1 RESOURCE_CREATE", "1 MAP, 1 mmap", "none", "1 TRANSFER_TO_HOST", "1 GEM_CLOSE"];
    assert_eq!(calls(Loopback::with_options(two_dimensional(false)).unwrap(), Format::XRGB8888, cpu), classic);
    // One transfer carries all planes that a texture has.
    for format in [Format::XRGB8888, Format::NV12] {
        assert_eq!(calls(Loopback::with_options(speaking(Protocols::VIRGL)).unwrap(), format, cpu), classic);
    }
    let planes = ["1 RESOURCE_CREATE", "1 MAP, 1 mmap", "none", "2 TRANSFER_TO_HOST", "1 GEM_CLOSE"];
    assert_eq!(calls(Loopback::with_options(two_dimensional(false)).unwrap(), Format::NV12, cpu), planes);
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
