//! `virgbm demo`: real requests through both halves, and what the host sees.

use crate::sheet::Sheet;
use crate::table::Table;
use crate::{Failure, pattern};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use virgbm::guest::node::{Counted, loopback::Loopback};
use virgbm::guest::{Access, BufferObject, Device};
use virgbm::host;
use virgbm::{BufferRequest, Format, Layout, Usage};

/// Where the picture goes.
#[derive(Args)]
pub struct Options {
    /// The contact sheet of what the host sees
    #[arg(long, default_value = "virgbm-demo.png")]
    output: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { output: "virgbm-demo.png".into() }
    }
}

/// What compositors, players and games ask for, each with how many at once.
fn requests() -> [(usize, BufferRequest); 7] {
    let draw = Usage::CPU_WRITE_OFTEN;
    [
        (1, BufferRequest::new(Format::XRGB8888, 1920, 1080, Usage::SCANOUT | Usage::RENDER | draw).with_name("scanout")),
        (3, BufferRequest::new(Format::ARGB8888, 1280, 800, Usage::RENDER | Usage::TEXTURE | draw).with_name("swapchain")),
        (1, BufferRequest::new(Format::NV12, 1279, 719, Usage::VIDEO_DECODER | Usage::TEXTURE | draw).with_name("video")),
        (1, BufferRequest::new(Format::P010, 1280, 720, Usage::VIDEO_DECODER | Usage::TEXTURE | draw).with_name("HDR video")),
        (1, BufferRequest::new(Format::ABGR16161616F, 640, 480, Usage::RENDER | Usage::TEXTURE | draw).with_name("HDR target")),
        (1, BufferRequest::new(Format::R8, 65_536, 1, Usage::GPU_DATA | draw).with_name("data blob")),
        (1, BufferRequest::new(Format::ARGB8888, 64, 64, Usage::CURSOR | draw).with_name("cursor")),
    ]
}

pub fn run(options: &Options) -> Result<String, Failure> {
    let loopback = Loopback::new()?;
    let host = loopback.host().clone();
    let node = Arc::new(Counted::new(loopback));
    let device = Device::open(node.clone())?;
    let mut sheet = Sheet::default();
    let mut table = Table::new([
        "picture",
        "request",
        "fourcc",
        "modifier",
        "planes (stride @ offset)",
        "bytes",
        "backed by",
        "handle",
        "calls",
        "round trips",
        "us",
    ]);
    let mut kept = Vec::new();
    for (count, request) in requests() {
        let (calls, round_trips) = (node.calls(), device.round_trips());
        let start = Instant::now();
        let buffers = device.create_many(&request, count)?;
        let elapsed = start.elapsed();
        let (calls, round_trips) = (node.calls() - calls, device.round_trips() - round_trips);
        let mut numbers = Vec::new();
        for (frame, buffer) in (0..).zip(&buffers) {
            let drawn = draw(buffer, frame)?;
            check(&host, buffer, &drawn)?;
            numbers.push(sheet.add(host.picture(buffer.resource_id())?).to_string());
        }
        let Some(first) = buffers.first() else { continue };
        let layout = first.layout();
        let seen = host.resources().into_iter().find(|resource| resource.id == first.resource_id());
        table.row([
            numbers.join(" "),
            format!("{} {}x{}", request.name, layout.width, layout.height),
            layout.format.code(),
            layout.modifier.to_string(),
            planes(layout),
            layout.size_bytes.to_string(),
            seen.map_or("?", |resource| resource.storage).to_owned(),
            host.export(first.resource_id())?.kind.name().to_owned(),
            calls.total().to_string(),
            round_trips.to_string(),
            format!("{:.1}", elapsed.as_secs_f64() * 1e6),
        ]);
        kept.extend(buffers);
    }
    let stats = host.stats();
    sheet.write(&options.output)?;
    Ok(format!(
        "{table}\nThe host holds {} resources of {} MiB for {} context, {} commands taken, {} refused; every byte drawn was \
         seen.\nWhat the host sees is in {}.\n",
        stats.resources,
        stats.held.bytes >> 20,
        stats.contexts,
        stats.commands,
        stats.errors,
        options.output.display()
    ))
}

/// Draws the pattern through a CPU mapping, and gives the bytes that were meant.
fn draw(buffer: &BufferObject, frame: u32) -> Result<Vec<u8>, Failure> {
    let layout = buffer.layout();
    let drawn = pattern::draw(layout, frame);
    let mapping = buffer.map(layout.whole(), Access::WRITE)?;
    for plane in 0..layout.planes.len() {
        let Some(rows) = mapping.plane(plane) else { continue };
        for row in 0..rows.rows {
            let from = (rows.offset_bytes + row * rows.stride_bytes) as usize;
            let bytes = drawn.get(from..from + rows.row_bytes as usize).unwrap_or(&[]);
            mapping.write_row(plane, row, bytes)?;
        }
    }
    Ok(drawn)
}

/// Lets the host read the buffer from its own image, and compares every byte.
fn check(host: &host::Device, buffer: &BufferObject, drawn: &[u8]) -> Result<(), Failure> {
    let mut seen = vec![0; drawn.len()];
    host.read_resource(buffer.resource_id(), 0, &mut seen)?;
    match seen.iter().zip(drawn).position(|(seen, drawn)| seen != drawn) {
        None => Ok(()),
        Some(at) => Err(format!("{buffer:?}: the host sees another byte at {at}").into()),
    }
}

fn planes(layout: &Layout) -> String {
    let planes = layout.planes.iter().map(|plane| format!("{} @ {}", plane.stride_bytes, plane.offset_bytes));
    planes.collect::<Vec<_>>().join(", ")
}
