//! `virgbm host`: the host module as a device process.

use crate::{Failure, capsets, control, drivers};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use virgbm::host::vhost_user::{HostOptions, Server};
use virgbm::host::virglrenderer::{Kinds, OpenError, VirglRenderer};
use virgbm::host::{Features, Protocols, Renderer};

/// Which device, and where.
#[derive(Args)]
pub struct Options {
    /// The socket that the VMM connects to
    #[arg(long)]
    socket: PathBuf,
    /// The size of the host-visible window in MiB, a power of two; 0 for none
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    window_size: u64,
    /// Map each blob into the window apart, instead of one map of plain memory over all of it: slower, for tests and VMMs that
    /// need it
    #[arg(long)]
    separate_maps: bool,
    /// The screen's size in pixels; `none` for a device that only renders
    #[arg(long, default_value = "1024x768", value_parser = parse_scanout)]
    scanout: Scanout,
    /// Features that the device does without: virgl, edid, uuid, blob, context-init
    #[arg(long, value_delimiter = ',', value_parser = parse_feature)]
    without: Vec<Features>,
    /// The capsets that it offers: `alloc`, which is virgbm's own; `cross-domain`, for guests with minigbm; `virgl`, only for guests
    /// whose GL drivers do not expect it to draw, since it allocates and no more
    #[arg(long, value_delimiter = ',', default_value = "alloc,cross-domain", value_parser = parse_capset)]
    capset: Vec<Protocols>,
    /// What blob sizes must be multiples of, in bytes, a power of two: for a VMM whose pages are larger than the guest's. It must
    /// pass on 20 bytes of the device's configuration
    #[arg(long)]
    blob_alignment: Option<u32>,
    /// What virglrenderer draws for guests, on this machine's GL and Vulkan: virgl, for OpenGL; venus, for Vulkan; drm, for the
    /// native driver of the GPU. Not with `--capset virgl`
    #[arg(long, value_delimiter = ',', value_parser = parse_kind)]
    renderer: Vec<Kinds>,
    #[command(flatten)]
    drivers: drivers::Choice,
    /// What one guest context may hold, in MiB
    #[arg(long)]
    quota: Option<u64>,
    /// A socket for `virgbm ctl`
    #[arg(long)]
    control: Option<PathBuf>,
    /// What to tell on standard error: off, error, warn, info, debug or trace; RUST_LOG where this is not given
    #[arg(long)]
    pub log: Option<log::LevelFilter>,
    /// Serve one VMM and end
    #[arg(long)]
    once: bool,
}

impl Options {
    /// What draws for guests, where that was asked for.
    fn open_renderer(&self) -> Result<Option<Arc<dyn Renderer>>, OpenError> {
        let kinds = self.renderer.iter().copied().fold(Kinds::empty(), Kinds::union);
        if kinds.is_empty() {
            return Ok(None);
        }
        let renderer = VirglRenderer::open(kinds, self.drivers.render_node().map(Path::to_owned))?;
        for capset in renderer.capsets() {
            let name = capsets::name_or_number(capset.id);
            log::info!("virglrenderer: {name}, version {}, {} bytes", capset.version, capset.bytes.len());
        }
        Ok(Some(Arc::new(renderer)))
    }
}

/// A screen, or none.
#[derive(Clone, Copy)]
struct Scanout(Option<(u32, u32)>);

fn parse_scanout(text: &str) -> Result<Scanout, String> {
    if text == "none" {
        return Ok(Scanout(None));
    }
    let (width, height) = crate::alloc::parse_size(text)?;
    // What the guest kernel takes as a mode.
    let sane = |side: u32| (32..=16_384).contains(&side);
    if sane(width) && sane(height) { Ok(Scanout(Some((width, height)))) } else { Err("from 32 to 16384 pixels".to_owned()) }
}

fn parse_feature(text: &str) -> Result<Features, String> {
    match text {
        "virgl" => Ok(Features::VIRGL),
        "edid" => Ok(Features::EDID),
        "uuid" => Ok(Features::RESOURCE_UUID),
        "blob" => Ok(Features::RESOURCE_BLOB),
        "context-init" => Ok(Features::CONTEXT_INIT),
        _ => Err("there are virgl, edid, uuid, blob and context-init".to_owned()),
    }
}

fn parse_capset(text: &str) -> Result<Protocols, String> {
    match text {
        "alloc" => Ok(Protocols::ALLOC),
        "cross-domain" => Ok(Protocols::CROSS_DOMAIN),
        "virgl" => Ok(Protocols::VIRGL),
        _ => Err("there are alloc, cross-domain and virgl".to_owned()),
    }
}

fn parse_kind(text: &str) -> Result<Kinds, String> {
    match text {
        "virgl" => Ok(Kinds::VIRGL),
        "venus" => Ok(Kinds::VENUS),
        "drm" => Ok(Kinds::DRM),
        _ => Err("there are virgl, venus and drm".to_owned()),
    }
}

/// Ends the process on SIGTERM and SIGINT, and takes its sockets away: the kernel frees the rest.
fn end_on_signals(sockets: Vec<PathBuf>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::spawn(move || {
        let Some(signal) = signals.forever().next() else { return };
        log::info!("signal {signal}: the device ends");
        for socket in &sockets {
            let _gone = std::fs::remove_file(socket);
        }
        // Without what libraries do at the end of a process: the renderer's thread may be in the middle of a drawing.
        signal_hook::low_level::exit(0);
    });
    Ok(())
}

/// Every blob is a descriptor: as many as the process may have.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        log::warn!("the limit of descriptors stays at {:?}: {error}", limit.current);
    }
}

pub fn run(options: &Options) -> Result<String, Failure> {
    raise_descriptor_limit();
    let (window_bytes, separate_maps) = (options.window_size << 20, options.separate_maps);
    let mut host = HostOptions { window_bytes, separate_maps, ..HostOptions::default() };
    host.config.scanout = options.scanout.0;
    host.config.protocols = options.capset.iter().copied().fold(Protocols::empty(), Protocols::union);
    if let Some(alignment) = options.blob_alignment {
        host.config.blob_alignment = alignment;
        host.config.features.insert(Features::BLOB_ALIGNMENT);
    }
    for feature in &options.without {
        host.config.features.remove(*feature);
    }
    if let Some(mebibytes) = options.quota {
        let quota = &mut host.config.quota;
        quota.context.bytes = mebibytes << 20;
        quota.device.bytes = quota.device.bytes.max(quota.context.bytes);
    }
    // They are tried once, and serve one VMM after the other.
    let drivers = options.drivers.open()?;
    let renderer = options.open_renderer()?;
    // Before the sockets are there: who sees them may end the process.
    end_on_signals(options.control.iter().chain([&options.socket]).cloned().collect())?;
    let mut server = Server::bind(&options.socket, host)?;
    if let Some(path) = &options.control {
        control::serve(path, server.watcher(), drivers.clone())?;
    }
    log::info!("listening at {}", options.socket.display());
    loop {
        server.serve_one(drivers.resolvers(), renderer.clone())?;
        if options.once {
            return Ok(String::new());
        }
    }
}
