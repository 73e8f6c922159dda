//! Hosts other than the usual one: tiled layouts that only they know, hosts that fail, and hosts that lie.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod foreign;
mod meddler;

use meddler::{Meddler, Meddling};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::{BackendKind, Device, DeviceOptions, Error};
use virgbm::host::resolver::OutOfMemory;
use virgbm::host::{Allocation, Amount, Features, MemoryResolver, Parameters, Protocols, ResolveError, Resolver};
use virgbm::wire::alloc::{Backing, Capabilities, Opcode, Status};
use virgbm::{
    Alignment, BufferRequest, Extent, Format, Layout, LayoutError, Modifier, OfferError, Plane, Planes, Support, Usage,
};

const TILED: Modifier = Modifier::new(0x0100_0000_0000_0002);

/// How the test host misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It reports planes that overlap.
    Overlap,
    /// It reports a smaller buffer than it was asked for.
    OtherSize,
    /// Its second layout of the same picture differs from the first.
    Fickle,
    /// It has no memory.
    NoMemory,
}

/// A resolver that prefers a tiling whose layout the guest can't compute, and keeps it in plain memory.
struct TiledHost {
    memory: MemoryResolver,
    support: Vec<Support>,
    fault: Fault,
    layouts: Arc<AtomicUsize>,
}

impl TiledHost {
    fn new(fault: Fault) -> Self {
        let support = |modifier, guest_layout| Support {
            format: Format::XRGB8888,
            modifier,
            usages: Usage::RENDER | Usage::TEXTURE | Usage::CPU,
            plane_count: 1,
            alignment: Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 },
            guest_layout,
            transfers: false,
        };
        Self {
            memory: MemoryResolver::without_udmabuf(),
            support: vec![support(TILED, false), support(Modifier::LINEAR, true)],
            fault,
            layouts: Arc::default(),
        }
    }
}

impl Resolver for TiledHost {
    fn name(&self) -> &'static str {
        "tiled"
    }

    fn backing(&self) -> Backing {
        Backing::Memory
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::empty()
    }

    fn largest(&self) -> Extent {
        Extent { width: 8192, height: 8192, layers: 1 }
    }

    fn support(&self) -> &[Support] {
        &self.support
    }

    fn layout(&self, request: &BufferRequest, support: &Support) -> Result<Layout, ResolveError> {
        let mut layout = Layout::linear(request, support.alignment)?;
        if support.modifier == Modifier::LINEAR {
            return Ok(layout);
        }
        let before = self.layouts.fetch_add(1, Ordering::Relaxed);
        // Tiles of 128 bytes by 32 rows, and a plane of compression data behind them.
        let stride = layout.planes[0].stride_bytes.next_multiple_of(128);
        let main = u64::from(stride) * u64::from(request.height.next_multiple_of(32));
        let plane = |offset_bytes, size_bytes| Plane { stride_bytes: stride, offset_bytes, size_bytes };
        let aux_offset = if self.fault == Fault::Overlap { main - 1 } else { main };
        layout.planes = Planes::new(&[plane(0, main), plane(aux_offset, 4096)]).unwrap();
        layout.layer_stride_bytes = main + 4096;
        layout.size_bytes = (main + 4096).next_multiple_of(4096);
        layout.modifier = TILED;
        match self.fault {
            Fault::OtherSize => layout.height /= 2,
            Fault::Fickle if before > 0 => layout.planes = Planes::new(&[plane(0, main)]).unwrap(),
            _ => {}
        }
        Ok(layout)
    }

    fn allocate(&self, parameters: &Parameters<'_>, size_bytes: u64) -> Result<Allocation, ResolveError> {
        if self.fault == Fault::NoMemory {
            let source = std::io::Error::from_raw_os_error(12);
            return Err(ResolveError::Memory(OutOfMemory { bytes: size_bytes, source }));
        }
        self.memory.allocate(parameters, size_bytes)
    }
}

fn tiled(fault: Fault) -> (Loopback, Arc<AtomicUsize>) {
    let host = TiledHost::new(fault);
    let layouts = host.layouts.clone();
    let options = LoopbackOptions { resolvers: vec![Box::new(host)], ..LoopbackOptions::default() };
    (Loopback::with_options(options).unwrap(), layouts)
}

fn request() -> BufferRequest {
    BufferRequest::new(Format::XRGB8888, 100, 100, Usage::RENDER)
}

#[test]
fn a_layout_that_only_the_host_knows_costs_one_query_once() {
    let (node, _) = tiled(Fault::None);
    let device = Device::open(node).unwrap();
    let trips = |work: &dyn Fn()| {
        let before = device.round_trips();
        work();
        device.round_trips() - before
    };
    let create = || {
        let buffer = device.create(&request()).unwrap();
        assert_eq!((buffer.layout().modifier, buffer.layout().planes.len()), (TILED, 2));
        assert_eq!(buffer.layout().planes[1].offset_bytes, 512 * 128);
    };
    assert_eq!([trips(&create), trips(&create)], [2, 1]);
    let linear = || drop(device.create(&request().with_modifiers([Modifier::LINEAR])).unwrap());
    assert_eq!(trips(&linear), 1, "the guest computes linear layouts");
}

#[test]
fn threads_that_ask_for_the_same_layout_first_make_one_query() {
    let (node, layouts) = tiled(Fault::None);
    let device = Device::open(node).unwrap();
    let before = device.round_trips();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| device.layout(&request()).unwrap());
        }
    });
    assert_eq!((device.round_trips() - before, layouts.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn modifiers_are_offered_in_the_hosts_order_and_narrowed_by_usage() {
    let (node, _) = tiled(Fault::None);
    let device = Device::open(node).unwrap();
    assert_eq!(device.modifiers(Format::XRGB8888, Usage::RENDER), [TILED, Modifier::LINEAR]);
    assert_eq!(device.modifiers(Format::XRGB8888, Usage::RENDER | Usage::LINEAR), [Modifier::LINEAR]);
    let implicit = device.create(&request().with_modifiers([Modifier::INVALID])).unwrap();
    assert_eq!(implicit.layout().modifier, TILED, "the real one, whatever was left open");
}

#[test]
fn a_host_that_reports_nonsense_is_caught_before_anything_is_allocated() {
    let (node, _) = tiled(Fault::Overlap);
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    let error = device.create(&request()).unwrap_err();
    assert!(matches!(error, Error::HostLayout { source: LayoutError::Overlap(0, 1) }), "{error}");
    assert_eq!(host.stats().held.objects, 1, "the reply ring");
    let (node, _) = tiled(Fault::OtherSize);
    let error = Device::open(node).unwrap().layout(&request()).unwrap_err();
    assert!(matches!(error, Error::OtherLayout { .. }), "{error}");
}

#[test]
fn a_host_that_makes_another_layout_than_it_told_is_caught_and_the_buffers_freed() {
    let (node, _) = tiled(Fault::Fickle);
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    let held = host.stats().held;
    let error = device.create_many(&request(), 3).unwrap_err();
    assert!(matches!(error, Error::OtherLayout { .. }), "{error}");
    assert_eq!((host.stats().held, host.stats().objects), (held, 0));
}

#[test]
fn a_host_without_memory_tells_its_errno_and_nothing_leaks() {
    let (node, _) = tiled(Fault::NoMemory);
    let host = node.host().clone();
    let device = Device::open(node).unwrap();
    let held = host.stats().held;
    for count in [1, 3, 40] {
        let error = device.create_many(&request().with_modifiers([Modifier::LINEAR]), count).unwrap_err();
        assert!(matches!(error, Error::Refused { status: Status::OutOfMemory, detail: 12, .. }), "{error}");
        assert!(error.to_string().contains("Cannot allocate memory"), "{error}");
    }
    assert_eq!((host.stats().held, host.stats().objects), (held, 0));
}

#[test]
fn a_host_with_neither_window_nor_guest_memory_says_that_the_cpu_has_no_access() {
    let options =
        LoopbackOptions { resolvers: vec![Box::new(TiledHost::new(Fault::None))], window_bytes: 0, ..LoopbackOptions::default() };
    let device = Device::open(Loopback::with_options(options).unwrap()).unwrap();
    let cpu = BufferRequest { usage: Usage::CPU_READ_RARELY, ..request() };
    assert!(matches!(device.create(&cpu), Err(Error::NoCpuAccess)));
    device.create(&request()).unwrap();
}

#[test]
fn a_node_that_no_backend_serves_tells_why_for_each() {
    let options = DeviceOptions { capset_id: 21, ..DeviceOptions::default() };
    let mut host = LoopbackOptions::default();
    host.config.protocols = Protocols::ALLOC;
    let error = Device::open_with(Loopback::with_options(host).unwrap(), &options).err().unwrap();
    let Error::NoBackend { verdicts } = &error else { panic!("{error}") };
    assert_eq!(verdicts.iter().map(|verdict| verdict.kind).collect::<Vec<_>>(), BackendKind::ALL);
    assert!(error.to_string().contains("does not offer capset 21"), "{error}");
}

#[test]
fn a_device_that_lacks_a_feature_is_refused_with_the_feature_as_the_reason() {
    for (missing, name) in [
        (Features::VIRGL, "feature VIRGL"),
        (Features::RESOURCE_BLOB, "feature RESOURCE_BLOB"),
        (Features::CONTEXT_INIT, "feature CONTEXT_INIT"),
    ] {
        let mut options = LoopbackOptions::default();
        options.config.features.remove(missing);
        let node = Loopback::with_options(options).unwrap();
        let only = DeviceOptions { backend: Some(BackendKind::Alloc), ..DeviceOptions::default() };
        let error = Device::open_with(node, &only).err().unwrap();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_backend_that_is_offered_and_fails_gives_way_to_the_next_one() {
    let meddling = Arc::new(Meddling { capset: Some((0, 1)), ..Meddling::default() });
    let mut options = LoopbackOptions { primary: true, ..LoopbackOptions::default() };
    options.config.protocols = Protocols::ALLOC;
    let device = Device::open(Meddler { node: Loopback::with_options(options).unwrap(), meddling }).unwrap();
    let verdicts = device.verdicts();
    assert!(verdicts[0].reason.contains("it is offered, and fails"), "{verdicts:?}");
    assert!(verdicts.iter().any(|verdict| verdict.chosen && verdict.kind == BackendKind::Dumb), "{verdicts:?}");
}

#[test]
fn a_host_that_does_not_answer_is_named_and_the_device_goes_on() {
    let node = Loopback::new().unwrap();
    let host = node.host().clone();
    let meddling = Arc::new(Meddling::default());
    let device = Device::open(Meddler { node, meddling: meddling.clone() }).unwrap();
    let held = host.stats().held;
    meddling.deaf.store(true, Ordering::Relaxed);
    let plain = BufferRequest::new(Format::R8, 64, 64, Usage::TEXTURE);
    for _ in 0..100 {
        let error = device.create(&plain).unwrap_err();
        assert!(matches!(error, Error::Silent { opcode: Opcode::AllocImage }), "{error}");
    }
    meddling.deaf.store(false, Ordering::Relaxed);
    device.create(&plain).unwrap();
    assert_eq!((host.stats().held, host.stats().objects), (held, 0));
}

#[test]
fn a_host_that_is_silent_for_five_seconds_gives_an_error_then_and_at_once_afterwards() {
    let meddling = Arc::new(Meddling::default());
    let device = Device::open(Meddler { node: Loopback::new().unwrap(), meddling: meddling.clone() }).unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    meddling.deaf.store(true, Ordering::Relaxed);
    *meddling.stuck.lock().unwrap() = Some(reader);
    let plain = BufferRequest::new(Format::R8, 64, 64, Usage::TEXTURE);
    let start = Instant::now();
    // More than there are reply slots: what a host that has gone is not sent can't fill the kernel's queue.
    for round in 0..40 {
        let error = device.create_many(&plain, 1 + round % 3).unwrap_err();
        assert!(matches!(error, Error::Silent { opcode: Opcode::AllocImage }), "{error}");
    }
    assert!((5..10).contains(&start.elapsed().as_secs()));
}

#[test]
fn a_host_that_answers_late_is_used_again() {
    let meddling = Arc::new(Meddling::default());
    let options = DeviceOptions { patience: Duration::from_millis(20), ..DeviceOptions::default() };
    let node = Meddler { node: Loopback::new().unwrap(), meddling: meddling.clone() };
    let device = Device::open_with(node, &options).unwrap();
    let plain = BufferRequest::new(Format::R8, 64, 64, Usage::TEXTURE);
    // More often than there are reply slots: none is lost.
    for _ in 0..40 {
        let (reader, mut writer) = std::io::pipe().unwrap();
        meddling.deaf.store(true, Ordering::Relaxed);
        *meddling.stuck.lock().unwrap() = Some(reader);
        device.create(&plain).unwrap_err();
        meddling.deaf.store(false, Ordering::Relaxed);
        assert!(matches!(device.create(&plain), Err(Error::Silent { .. })), "the fence has not come");
        *meddling.stuck.lock().unwrap() = None;
        writer.write_all(b"x").unwrap();
        device.create(&plain).unwrap();
    }
}

#[test]
fn a_capset_of_another_magic_version_or_size_is_refused() {
    let open = |offset, value| {
        let meddling = Arc::new(Meddling { capset: Some((offset, value)), ..Meddling::default() });
        let node = Loopback::new().unwrap();
        let host = node.host().clone();
        let only = DeviceOptions { backend: Some(BackendKind::Alloc), ..DeviceOptions::default() };
        let error = Device::open_with(Meddler { node, meddling }, &only).err().unwrap();
        assert_eq!(host.stats().held, Amount::default());
        match error {
            Error::Offer { capset_id: 20, source } => source,
            other => panic!("{other}"),
        }
    };
    assert_eq!(open(0, 1), OfferError::Magic(1));
    assert_eq!(open(4, 9), OfferError::Version(9));
    assert!(matches!(open(36, u32::MAX), OfferError::Size { .. }));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn a_host_that_babbles_gives_errors_and_never_a_panic_or_a_hang(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        virgbm::guest::test_rig::use_a_babbling_host(&bytes);
    }
}
