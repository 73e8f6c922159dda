//! `virgbm alloc`: one request, and what comes of it.

use crate::table::Table;
use crate::{Failure, node};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use virgbm::guest::{BufferObject, Device};
use virgbm::{BufferRequest, Format, Layout, Modifier, Usage};

/// What to ask for.
#[derive(Args)]
pub struct Options {
    /// Format, as a name (XRGB8888) or a fourcc (XR24)
    #[arg(long, value_parser = parse_format)]
    format: Format,
    /// Size in pixels, such as 1920x1080
    #[arg(long, value_parser = parse_size)]
    size: (u32, u32),
    /// What will touch the buffer, such as scanout,render or texture,cpu_write_rarely; `cpu` reads and writes
    #[arg(long, value_parser = parse_usage)]
    usage: Usage,
    /// A modifier that can be taken: LINEAR, INVALID or a number; several times for a list, never to leave it to the host
    #[arg(long, value_parser = parse_modifier)]
    modifier: Vec<Modifier>,
    /// How many buffers, made in one submission
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Array layers
    #[arg(long, default_value_t = 1)]
    layers: u32,
    /// The device node, or `auto` for the first one there is; without it, a host embedded in this process
    #[arg(long)]
    node: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_format(text: &str) -> Result<Format, String> {
    Format::parse(text).ok_or_else(|| "not a format of the table; `virgbm info` lists them".to_owned())
}

pub fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once(['x', 'X']).and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    sides.ok_or_else(|| "not a size such as 1920x1080".to_owned())
}

fn parse_usage(text: &str) -> Result<Usage, String> {
    Usage::parse(text).map_err(|name| {
        let names: Vec<_> = Usage::all().iter_names().map(|(name, _)| name.to_lowercase()).collect();
        format!("{name} is no usage; there are {}", names.join(", "))
    })
}

fn parse_modifier(text: &str) -> Result<Modifier, String> {
    Modifier::parse(text).ok_or_else(|| "not LINEAR, INVALID or a number".to_owned())
}

/// A layout for JSON.
#[derive(Serialize)]
struct LayoutReport {
    format: String,
    fourcc: String,
    width: u32,
    height: u32,
    layers: u32,
    modifier: u64,
    planes: Vec<PlaneReport>,
    size_bytes: u64,
}

#[derive(Serialize)]
struct PlaneReport {
    stride_bytes: u32,
    offset_bytes: u64,
    size_bytes: u64,
}

#[derive(Serialize)]
struct Report {
    layout: LayoutReport,
    resource_ids: Vec<u32>,
    buffer_bytes: u64,
    round_trips: u64,
    calls: u64,
}

impl From<&Layout> for LayoutReport {
    fn from(layout: &Layout) -> Self {
        let planes = layout.planes.iter().map(|plane| PlaneReport {
            stride_bytes: plane.stride_bytes,
            offset_bytes: plane.offset_bytes,
            size_bytes: plane.size_bytes,
        });
        Self {
            format: layout.format.to_string(),
            fourcc: layout.format.code(),
            width: layout.width,
            height: layout.height,
            layers: layout.layers,
            modifier: layout.modifier.value(),
            planes: planes.collect(),
            size_bytes: layout.size_bytes,
        }
    }
}

pub fn run(options: &Options) -> Result<String, Failure> {
    let opened = node::open(options.node.as_deref())?;
    let device = Device::open(opened.node.clone())?;
    let (width, height) = options.size;
    let request = BufferRequest::new(options.format, width, height, options.usage)
        .with_modifiers(options.modifier.iter().copied())
        .with_layers(options.layers)
        .with_name("virgbm alloc");
    let (calls, round_trips) = (opened.node.calls(), device.round_trips());
    let buffers = device.create_many(&request, options.count)?;
    let (calls, round_trips) = (opened.node.calls() - calls, device.round_trips() - round_trips);
    let Some(first) = buffers.first() else { return Ok(String::new()) };
    if options.json {
        let report = Report {
            layout: first.layout().into(),
            resource_ids: buffers.iter().map(BufferObject::resource_id).collect(),
            buffer_bytes: first.size_bytes(),
            round_trips,
            calls: calls.total(),
        };
        return Ok(serde_json::to_string_pretty(&report)? + "\n");
    }
    let layout = first.layout();
    let mut planes = Table::new(["plane", "stride", "offset", "size"]);
    for (index, plane) in layout.planes.iter().enumerate() {
        planes.row([
            index.to_string(),
            plane.stride_bytes.to_string(),
            plane.offset_bytes.to_string(),
            plane.size_bytes.to_string(),
        ]);
    }
    let ids: Vec<_> = buffers.iter().map(|buffer| buffer.resource_id().to_string()).collect();
    Ok(format!(
        "{} ({}) {width}x{height} on {}\nmodifier {}, {} bytes, {} with padding\n{planes}\
         resources {}; round trips {round_trips}; calls: {calls}\n",
        layout.format,
        layout.format.code(),
        opened.name,
        layout.modifier,
        layout.size_bytes,
        first.size_bytes(),
        ids.join(", ")
    ))
}
