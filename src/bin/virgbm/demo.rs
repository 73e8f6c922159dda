//! `virgbm demo`: real requests through both halves, and what the host sees.

use crate::drivers::Choice;
use crate::node::CountedNode;
use crate::sheet::Sheet;
use crate::table::Table;
use crate::{Failure, node, pattern};
use clap::Args;
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{Counted, Node};
use virgbm::guest::{Access, BufferObject, Device, Error, Mapping};
use virgbm::host::{self, MemoryResolver, Picture, Resolver};
use virgbm::wire::alloc::Backing;
use virgbm::{BufferRequest, Format, Layout, Usage};

/// Where the picture goes.
#[derive(Args)]
pub struct Options {
    /// The contact sheet of what the host sees
    #[arg(long, default_value = "virgbm-demo.png")]
    output: PathBuf,
    /// The device node, or `auto` for the first one there is; without it, hosts embedded in this process, which look at their own
    /// images: one with plain memory, and one for each driver that works here, software among them
    #[arg(long)]
    node: Option<PathBuf>,
    #[command(flatten)]
    drivers: Choice,
}

impl Default for Options {
    fn default() -> Self {
        Self { output: "virgbm-demo.png".into(), node: None, drivers: Choice::default() }
    }
}

/// What compositors, players and games ask for, each with how many at once.
fn requests() -> [(usize, BufferRequest); 7] {
    // Linear, since everything is looked at byte by byte.
    let draw = Usage::CPU_WRITE_OFTEN | Usage::LINEAR;
    [
        (1, BufferRequest::new(Format::XRGB8888, 1920, 1080, Usage::SCANOUT | Usage::RENDER | draw).with_name("scanout")),
        (3, BufferRequest::new(Format::ARGB8888, 1280, 800, Usage::RENDER | Usage::TEXTURE | draw).with_name("swapchain")),
        (1, BufferRequest::new(Format::NV12, 1279, 719, Usage::VIDEO_DECODER | Usage::TEXTURE | draw).with_name("video")),
        (1, BufferRequest::new(Format::P010, 1280, 720, Usage::VIDEO_DECODER | Usage::TEXTURE | draw).with_name("HDR video")),
        (1, BufferRequest::new(Format::ABGR16161616F, 640, 480, Usage::RENDER | Usage::TEXTURE | draw).with_name("HDR target")),
        (1, BufferRequest::new(Format::R8, 16_384, 1, Usage::GPU_DATA | draw).with_name("data blob")),
        (1, BufferRequest::new(Format::ARGB8888, 64, 64, Usage::CURSOR | draw).with_name("cursor")),
    ]
}

/// How far a colour that a driver has sampled may be from the one that was drawn: conversions of chroma are its own.
const TOLERANCE: u8 = 24;

/// Who looks at what was drawn.
enum Witness {
    /// An embedded host, at its own image: its bytes, and what its driver sees.
    Host(Arc<host::Device>),
    /// On a device node, whose host is out of reach: another open file, which imports the buffer.
    File(Device),
}

impl Witness {
    /// The buffer's bytes.
    fn see(&self, buffer: &BufferObject) -> Result<Vec<u8>, Failure> {
        let mut seen = vec![0; buffer.layout().size_bytes as usize];
        match self {
            Self::Host(host) => host.read_resource(buffer.resource_id(), 0, &mut seen)?,
            Self::File(device) => {
                let dma_buf = buffer.export()?;
                let imported = match device.import(dma_buf.as_fd()) {
                    // Hosts of other protocols don't describe what they have made.
                    Err(Error::NoLayout { .. }) => device.import_with_layout(dma_buf.as_fd(), buffer.layout())?,
                    imported => imported?,
                };
                let mapping = imported.map(imported.layout().whole(), Access::READ)?;
                each_row(&mapping, |plane, row, at| {
                    seen.get_mut(at).map_or(Ok(()), |bytes| mapping.read_row(plane, row, bytes))
                })?;
            }
        }
        Ok(seen)
    }

    /// What the driver of an embedded host sees; elsewhere what the bytes say.
    fn picture(&self, buffer: &BufferObject, seen: &[u8]) -> Result<Picture, Failure> {
        let meant = Picture::decode(buffer.layout(), seen)?;
        let Self::Host(host) = self else { return Ok(meant) };
        let picture = host.picture(buffer.resource_id())?;
        let worst = picture.rgba.iter().zip(&meant.rgba).map(|(seen, meant)| seen.abs_diff(*meant)).max();
        if worst > Some(TOLERANCE) {
            return Err(format!("{buffer:?}: its driver sees other colours, by {worst:?} of 255").into());
        }
        Ok(picture)
    }

    /// What the buffer is made of, and what a descriptor of it is.
    fn describe(&self, buffer: &BufferObject) -> Result<(&'static str, &'static str), Failure> {
        Ok(match self {
            Self::Host(host) => {
                let listed = host.resources().into_iter().find(|resource| resource.id == buffer.resource_id());
                // Where a driver gives no descriptors, its images stay in the host.
                let kind = host.export(buffer.resource_id()).map_or("none", |export| export.kind.name());
                (listed.map_or("nothing", |resource| resource.storage), kind)
            }
            Self::File(_) => (buffer.made_of().map_or("not told", backing_name), "dma-buf"),
        })
    }
}

const fn backing_name(backing: Backing) -> &'static str {
    match backing {
        Backing::Memory => "host memory",
        Backing::Gl => "GL texture",
        Backing::Vulkan => "Vulkan image",
        Backing::Gbm => "gbm buffer",
        Backing::Guest => "guest pages",
        Backing::Renderer => "the renderer's own",
    }
}

/// A host that allocates: its node, counted, and who looks at its buffers.
struct Host {
    node: CountedNode,
    witness: Witness,
    /// What it is here to make; `None` for whatever it makes.
    shows: Option<Backing>,
}

impl Host {
    fn embedded(resolvers: Vec<Box<dyn Resolver>>) -> Result<Self, Failure> {
        let shows = resolvers.first().map(|resolver| resolver.backing());
        let loopback = Loopback::with_options(LoopbackOptions { resolvers, ..LoopbackOptions::default() })?;
        let witness = Witness::Host(loopback.host().clone());
        Ok(Self { node: Arc::new(Counted::new(Arc::new(loopback))), witness, shows })
    }
}

/// The node that was asked for, or an embedded host for plain memory and for each driver; with why there are no more of these.
fn open(options: &Options) -> Result<(Vec<Host>, Vec<String>), Failure> {
    if let Some(path) = &options.node {
        let witness = Witness::File(Device::open(node::open_drm(path)?)?);
        let node = Arc::new(Counted::new(Arc::new(node::open_drm(path)?) as Arc<dyn Node>));
        return Ok((vec![Host { node, witness, shows: None }], Vec::new()));
    }
    let mut hosts = vec![Host::embedded(vec![Box::new(MemoryResolver::new())])?];
    let mut absent = Vec::new();
    for found in options.drivers.open_each() {
        match found {
            Ok(drivers) => hosts.push(Host::embedded(drivers.resolvers())?),
            Err(missing) => absent.push(missing.to_string()),
        }
    }
    Ok((hosts, absent))
}

pub fn run(options: &Options) -> Result<String, Failure> {
    let (hosts, absent) = open(options)?;
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
    let (mut kept, mut told) = (Vec::new(), String::new());
    for host in &hosts {
        let device = Device::open(host.node.clone())?;
        for (count, request) in requests() {
            let (calls, round_trips) = (host.node.calls(), device.round_trips());
            let start = Instant::now();
            let buffers = device.create_many(&request, count)?;
            let elapsed = start.elapsed();
            let (calls, round_trips) = (host.node.calls() - calls, device.round_trips() - round_trips);
            let Some(first) = buffers.first() else { continue };
            // What a driver leaves to plain memory is shown there.
            if host.shows.is_some() && first.made_of() != host.shows {
                continue;
            }
            let mut numbers = Vec::new();
            for (frame, buffer) in (0..).zip(&buffers) {
                let drawn = draw(buffer, frame)?;
                let seen = host.witness.see(buffer)?;
                compare(buffer, &drawn, &seen)?;
                numbers.push(sheet.add(host.witness.picture(buffer, &seen)?).to_string());
            }
            let layout = first.layout();
            let (backing, handle) = host.witness.describe(first)?;
            table.row([
                numbers.join(" "),
                format!("{} {}x{}", request.name, layout.width, layout.height),
                layout.format.code(),
                layout.modifier.to_string(),
                planes(layout),
                layout.size_bytes.to_string(),
                backing.to_owned(),
                handle.to_owned(),
                calls.total().to_string(),
                round_trips.to_string(),
                format!("{:.1}", elapsed.as_secs_f64() * 1e6),
            ]);
            kept.extend(buffers);
        }
        told.push_str(&conclusion(&host.witness));
    }
    sheet.write(&options.output)?;
    let absent: String = absent.iter().map(|why| format!("Not shown: {why}\n")).collect();
    Ok(format!("{table}\n{told}{absent}What was seen is in {}.\n", options.output.display()))
}

fn conclusion(witness: &Witness) -> String {
    match witness {
        Witness::Host(host) => {
            let stats = host.stats();
            format!(
                "A host holds {} resources of {} MiB for {} context, {} commands taken, {} refused; every byte drawn was seen.\n",
                stats.resources,
                stats.held.bytes >> 20,
                stats.contexts,
                stats.commands,
                stats.errors,
            )
        }
        Witness::File(_) => "Another file imported each buffer, and every byte drawn was seen.\n".to_owned(),
    }
}

/// Calls `each` with the plane and number of every row of a mapping, and where its bytes lie in the buffer.
fn each_row(mapping: &Mapping, mut each: impl FnMut(usize, u64, Range<usize>) -> Result<(), Error>) -> Result<(), Error> {
    for plane in 0..mapping.layout().planes.len() {
        let Some(rows) = mapping.plane(plane) else { continue };
        for row in 0..rows.rows {
            let from = (rows.offset_bytes + row * rows.stride_bytes) as usize;
            each(plane, row, from..from + rows.row_bytes as usize)?;
        }
    }
    Ok(())
}

/// Draws the pattern through a CPU mapping, and gives the bytes that were meant.
fn draw(buffer: &BufferObject, frame: u32) -> Result<Vec<u8>, Failure> {
    let drawn = pattern::draw(buffer.layout(), frame);
    let mapping = buffer.map(buffer.layout().whole(), Access::WRITE)?;
    each_row(&mapping, |plane, row, at| drawn.get(at).map_or(Ok(()), |bytes| mapping.write_row(plane, row, bytes)))?;
    mapping.finish()?;
    // Where what was written is moved, the host has it when that is done.
    buffer.wait()?;
    Ok(drawn)
}

fn compare(buffer: &BufferObject, drawn: &[u8], seen: &[u8]) -> Result<(), Failure> {
    match seen.iter().zip(drawn).position(|(seen, drawn)| seen != drawn) {
        None => Ok(()),
        Some(at) => Err(format!("{buffer:?}: another byte is seen at {at}").into()),
    }
}

fn planes(layout: &Layout) -> String {
    let planes = layout.planes.iter().map(|plane| format!("{} @ {}", plane.stride_bytes, plane.offset_bytes));
    planes.collect::<Vec<_>>().join(", ")
}
