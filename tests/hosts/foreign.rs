//! Hosts of the other protocols that fail, lie, or go away.

use crate::meddler::{Meddler, Meddling};
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::{Access, BackendKind, Device, DeviceOptions, Error};
use virgbm::host::{DeviceConfig, Features, Protocols};
use virgbm::wire::cross_domain::GetImageRequirements;
use virgbm::{BufferRequest, Format, Usage};

const CPU: Usage = Usage::CPU_READ_RARELY.union(Usage::CPU_WRITE_RARELY);

fn request() -> BufferRequest {
    BufferRequest::new(Format::XRGB8888, 64, 64, CPU)
}

/// A file of a host that speaks this, meddled with.
fn node(protocols: Protocols, primary: bool, meddling: &Arc<Meddling>) -> Meddler {
    let config = DeviceConfig { protocols, ..DeviceConfig::default() };
    let node = Loopback::with_options(LoopbackOptions { config, primary, ..LoopbackOptions::default() }).unwrap();
    Meddler { node, meddling: meddling.clone() }
}

fn chosen(device: &Device) -> BackendKind {
    device.verdicts().iter().find(|verdict| verdict.chosen).unwrap().kind
}

#[test]
fn a_host_that_offers_contexts_and_refuses_them_is_served_without() {
    for (protocols, index) in [(Protocols::CROSS_DOMAIN, 1), (Protocols::VIRGL, 2)] {
        let meddling = Arc::new(Meddling { without_context: true, ..Meddling::default() });
        let device = Device::open(node(protocols, true, &meddling)).unwrap();
        let reason = &device.verdicts()[index].reason;
        assert!(reason.contains("it is offered, and fails: CONTEXT_INIT"), "{reason}");
        assert_eq!(chosen(&device), BackendKind::Dumb);
        device.create(&request()).unwrap();
    }
}

#[test]
fn a_virgl_host_without_any_format_gives_way() {
    let meddling = Arc::new(Meddling { capset_end: Some(4), ..Meddling::default() });
    let device = Device::open(node(Protocols::VIRGL, true, &meddling)).unwrap();
    assert!(device.verdicts()[2].reason.contains("has no format that can be sampled"), "{:?}", device.verdicts());
    assert_eq!(chosen(&device), BackendKind::Dumb);
}

#[test]
fn a_virgl_capset_that_ends_with_its_first_version_is_enough() {
    let meddling = Arc::new(Meddling { capset_end: Some(308), ..Meddling::default() });
    let device = Device::open(node(Protocols::VIRGL, false, &meddling)).unwrap();
    assert_eq!(chosen(&device), BackendKind::Virgl);
    assert!(device.supports(Format::XRGB8888, Usage::SCANOUT | Usage::RENDER).is_ok());
}

#[test]
fn what_no_resource_can_hold_has_no_layout_either() {
    let two_dimensional = DeviceConfig { features: Features::empty(), ..DeviceConfig::default() };
    let virgl = DeviceConfig { protocols: Protocols::VIRGL, ..DeviceConfig::default() };
    // More than 64 MiB that are no pixels; rows of bytes that are longer than a texture can be wide.
    for (config, format, height) in [(two_dimensional, Format::NV12, 8192), (virgl, Format::YUYV, 16)] {
        let node = Loopback::with_options(LoopbackOptions { config, ..LoopbackOptions::default() }).unwrap();
        let device = Device::open(node).unwrap();
        let width = device.offer().table.largest().width;
        let large = BufferRequest::new(format, width, height, CPU);
        for refused in [device.layout(&large).map(drop), device.create(&large).map(drop)] {
            assert!(matches!(refused, Err(Error::BeyondHost { .. })), "{refused:?}");
        }
        device.create(&BufferRequest { width: 64, height: 64, ..large }).unwrap();
    }
}

#[test]
fn an_answer_for_another_request_is_refused() {
    let query = size_of::<GetImageRequirements>();
    // The width, the height, the format: the layout in the answer can't hold what was asked.
    for (offset, value) in [(8, 8), (12, 8), (16, Format::R8.fourcc())] {
        let meddling = Arc::new(Meddling { command: Some((query, offset, value)), ..Meddling::default() });
        let device = Device::open(node(Protocols::CROSS_DOMAIN, false, &meddling)).unwrap();
        let error = device.create(&request()).unwrap_err();
        assert!(matches!(error, Error::HostLayout { .. }), "{error}");
    }
}

#[test]
fn an_answer_that_is_left_from_an_earlier_query_is_none() {
    let meddling = Arc::new(Meddling::default());
    let device = Device::open(node(Protocols::CROSS_DOMAIN, false, &meddling)).unwrap();
    device.create(&request()).unwrap();
    meddling.deaf.store(true, Ordering::Relaxed);
    let other = BufferRequest { width: 32, ..request() };
    assert!(matches!(device.create(&other), Err(Error::RefusedQuery { width: 32, .. })));
    device.create(&request()).unwrap();
    meddling.deaf.store(false, Ordering::Relaxed);
    device.create(&other).unwrap();
}

#[test]
fn a_query_that_is_never_answered_ends_and_the_next_one_is_refused_at_once() {
    let meddling = Arc::new(Meddling::default());
    let options = DeviceOptions { patience: Duration::from_millis(20), ..DeviceOptions::default() };
    let device = Device::open_with(node(Protocols::CROSS_DOMAIN, false, &meddling), &options).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    *meddling.stuck.lock().unwrap() = Some(reader);
    for _ in 0..2 {
        assert!(matches!(device.create(&request()), Err(Error::SilentQuery)));
    }
    *meddling.stuck.lock().unwrap() = None;
    writer.write_all(b"x").unwrap();
    device.create(&request()).unwrap();
}

#[test]
fn a_device_that_is_lost_gives_errors_on_every_host() {
    let two_dimensional = Features::USUAL.difference(Features::VIRGL | Features::CONTEXT_INIT | Features::RESOURCE_BLOB);
    for (kind, protocols, features) in [
        (BackendKind::Alloc, Protocols::ALLOC, Features::USUAL),
        (BackendKind::CrossDomain, Protocols::CROSS_DOMAIN, Features::USUAL),
        (BackendKind::Virgl, Protocols::VIRGL, Features::USUAL),
        (BackendKind::Dumb, Protocols::ALLOC, two_dimensional),
    ] {
        let meddling = Arc::new(Meddling::default());
        let config = DeviceConfig { protocols, features, ..DeviceConfig::default() };
        let node = Loopback::with_options(LoopbackOptions { config, ..LoopbackOptions::default() }).unwrap();
        let device = Device::open(Meddler { node, meddling: meddling.clone() }).unwrap();
        assert_eq!(chosen(&device), kind);
        let buffer = device.create(&request()).unwrap();
        let (whole, exported) = (buffer.layout().whole(), buffer.export().unwrap());
        let mapping = buffer.map(whole, Access::WRITE).unwrap();
        meddling.lost.store(true, Ordering::Relaxed);
        mapping.write_row(0, 0, b"still there").unwrap();
        let lost = |error: Error| assert!(error.to_string().contains("No such device"), "{kind:?}: {error}");
        lost(device.create(&request()).unwrap_err());
        lost(device.create(&BufferRequest { width: 99, ..request() }).unwrap_err());
        lost(device.import_with_layout(exported.as_fd(), buffer.layout()).unwrap_err());
        lost(buffer.export().unwrap_err());
        drop((mapping, buffer));
    }
}
