//! What an allocation costs this library itself, without a VM: computing layouts, the protocol's bytes, and whole operations on
//! the loopback node, where the caller executes the host's part too.
//!
//! Before the timings it prints counts: how often each operation calls the node, waits for the host and sends the host a command.
//! In a VM those decide, and they are the same there; the loopback's timings leave out the kernel and the exits.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use criterion::Criterion;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use virgbm::guest::node::Counted;
use virgbm::guest::node::loopback::Loopback;
use virgbm::guest::{Access, BufferObject, Device};
use virgbm::wire::alloc::{Claim, FLAG_REPLY_AT_CLAIM, ImageRequest, Opcode, Stream, frames};
use virgbm::{Alignment, BufferRequest, Format, Layout, Modifier, Offer, Usage};
use zerocopy::IntoBytes;

/// What the memory resolver offers: strides of whole cache lines, sizes of whole pages.
const ALIGNMENT: Alignment = Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 };

const WIDTH: u32 = 1920;
const HEIGHT: u32 = 1080;

fn main() {
    print_counts();
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut criterion = criterion.configure_from_args();
    time_layouts(&mut criterion);
    time_protocol(&mut criterion);
    time_operations(&mut criterion);
    criterion.final_summary();
}

fn scanout() -> BufferRequest {
    BufferRequest::new(Format::XRGB8888, WIDTH, HEIGHT, Usage::SCANOUT | Usage::RENDER)
}

/// Mappable: the CPU touches it, so it takes a range of the window when it is made.
fn painted() -> BufferRequest {
    BufferRequest::new(Format::XRGB8888, WIDTH, HEIGHT, Usage::SCANOUT | Usage::CPU_WRITE_OFTEN)
}

fn video() -> BufferRequest {
    BufferRequest::new(Format::NV12, WIDTH, HEIGHT, Usage::VIDEO_DECODER | Usage::TEXTURE)
}

/// An operation on an open device that leaves nothing behind.
struct Operation {
    name: &'static str,
    run: Box<dyn Fn(&Device)>,
}

impl Operation {
    fn new(name: &'static str, run: impl Fn(&Device) + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }
}

fn operations(device: &Device) -> Vec<Operation> {
    let create = |request: BufferRequest| move |device: &Device| drop(black_box(device.create(&request).unwrap()));
    let mapped = device.create(&painted()).unwrap();
    // The first map makes the mapping, which the buffer keeps.
    map(&mapped);
    vec![
        Operation::new("create and destroy XRGB8888", create(scanout())),
        Operation::new("create and destroy XRGB8888 mappable", create(painted())),
        Operation::new("create and destroy NV12", create(video())),
        Operation::new("create, map and destroy XRGB8888", |device| map(&device.create(&painted()).unwrap())),
        Operation::new("map and unmap XRGB8888 again", move |_| map(&mapped)),
        Operation::new("create and destroy 3 XRGB8888", |device| drop(black_box(device.create_many(&scanout(), 3).unwrap()))),
    ]
}

fn map(buffer: &BufferObject) {
    drop(black_box(buffer.map(buffer.layout().whole(), Access::WRITE).unwrap()));
}

fn print_counts() {
    let node = Arc::new(Counted::new(Loopback::new().unwrap()));
    let device = Device::open(node.clone()).unwrap();
    let host_commands = || node.node().host().stats().commands;
    println!("{:<38} {:>5} {:>11} {:>13}  calls of the node", "operation at 1920x1080", "calls", "round trips", "host commands");
    for operation in operations(&device) {
        // What the library learns once, such as a layout that it asks for, is not what an operation costs.
        (operation.run)(&device);
        let before = (node.calls(), device.round_trips(), host_commands());
        (operation.run)(&device);
        let calls = node.calls() - before.0;
        let (round_trips, commands) = (device.round_trips() - before.1, host_commands() - before.2);
        println!("{:<38} {:>5} {round_trips:>11} {commands:>13}  {calls}", operation.name, calls.total());
    }
    assert_eq!(node.node().host().stats().errors, 0, "every command must have been executed");
    println!();
}

fn time_layouts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layout");
    for (name, request) in [("XRGB8888", scanout()), ("NV12", video())] {
        group.bench_function(name, |bencher| bencher.iter(|| Layout::linear(black_box(&request), ALIGNMENT).unwrap()));
    }
}

fn time_protocol(criterion: &mut Criterion) {
    let device = Device::open(Loopback::new().unwrap()).unwrap();
    let offer = device.offer().clone();
    let capset = offer.encode();
    assert_eq!(Offer::decode(&capset).as_ref(), Ok(&offer));
    let name = |what| format!("{what} of {} entries", offer.table.entries().len());
    let mut group = criterion.benchmark_group("protocol");
    group.bench_function(name("capset encode"), |bencher| bencher.iter(|| black_box(&offer).encode()));
    group.bench_function(name("capset decode"), |bencher| bencher.iter(|| Offer::decode(black_box(&capset)).unwrap()));
    for count in [1, 3] {
        let stream = allocation_stream(count);
        assert_eq!(decode(stream.as_bytes()), count);
        group.bench_function(format!("stream encode of {count} ALLOC_IMAGE"), |bencher| {
            bencher.iter(|| allocation_stream(black_box(count)));
        });
        group.bench_function(format!("stream decode of {count} ALLOC_IMAGE"), |bencher| {
            bencher.iter(|| decode(black_box(stream.as_bytes())));
        });
    }
}

/// The commands that `create_many` submits.
fn allocation_stream(count: u32) -> Stream {
    let image = ImageRequest {
        fourcc: Format::XRGB8888.fourcc().into(),
        width: WIDTH.into(),
        height: HEIGHT.into(),
        layers: 1.into(),
        usage: Usage::SCANOUT.bits().into(),
        modifier_count: 1.into(),
        ..ImageRequest::default()
    };
    let modifier = Modifier::LINEAR.value().to_le_bytes();
    let mut stream = Stream::new();
    for number in 0..count {
        let claim = Claim { blob_id: u64::from(number + 1).into(), blob_size: 8_294_400.into(), ..Claim::default() };
        let parts = [claim.as_bytes(), image.as_bytes(), &modifier];
        stream.push(Opcode::AllocImage, FLAG_REPLY_AT_CLAIM, number, number, &parts);
    }
    stream
}

fn decode(stream: &[u8]) -> u32 {
    frames(stream, 32).unwrap().map(|frame| u32::from(!black_box(frame.body).is_empty())).sum()
}

fn time_operations(criterion: &mut Criterion) {
    let device = Device::open(Loopback::new().unwrap()).unwrap();
    let mut group = criterion.benchmark_group("loopback");
    for operation in operations(&device) {
        group.bench_function(operation.name, |bencher| bencher.iter(|| (operation.run)(&device)));
    }
}
