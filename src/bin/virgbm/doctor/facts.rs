//! What can be seen of a guest: its nodes, its screen, what its host offers, and whether buffers work.

use crate::node::open_drm;
use drm::buffer::{Buffer, DrmFourcc, Handle};
use drm::control::{Device as _, connector};
use std::path::{Path, PathBuf};
use virgbm::guest::node::{Node, Param, drm::DrmNode};
use virgbm::guest::{Access, BackendKind, BufferObject, Device};
use virgbm::{BufferRequest, Format, Layout, Usage};

/// The buffer that is tried on the screen.
const TRIED: (u32, u32) = (64, 64);

/// The screen of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Screen {
    /// No primary node, or one that can't be opened.
    NoCard(String),
    /// The device has no connector.
    None,
    /// Nothing is connected.
    Disconnected,
    /// A mode, and what the kernel's display code says to a buffer of ours.
    Connected { mode: String, takes_our_buffers: Result<(), String> },
}

/// All of it; what could not be tried is missing.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether the node opens.
    pub node: Result<(), String>,
    pub contexts: bool,
    pub blobs: bool,
    pub window: bool,
    /// A mask of capset ids.
    pub capsets: u64,
    /// What serves the node, or why nothing does.
    pub backend: Result<BackendKind, String>,
    /// Whether the CPU finds again what it writes to a buffer.
    pub cpu: Result<(), String>,
    pub screen: Screen,
    /// The kernel's version, without its patch level.
    pub kernel: Option<(u32, u32)>,
}

impl Facts {
    /// Looks at this guest.
    pub fn gather(path: &Path) -> Self {
        let node = open_drm(path).map_err(|error| error.to_string());
        let param = |param| node.as_ref().ok().and_then(|node| node.get_param(param).ok()).unwrap_or(0);
        let is = |name| param(name) != 0;
        let (contexts, blobs, window) = (is(Param::Features3d), is(Param::ResourceBlob), is(Param::HostVisible));
        let capsets = param(Param::SupportedCapsetIds);
        let known = node.as_ref().map(drop).map_err(String::clone);
        let device = node.and_then(|node| Device::open(node).map_err(|error| error.to_string()));
        let backend = device.as_ref().map_err(String::clone).and_then(|device| {
            let chosen = device.verdicts().iter().find(|verdict| verdict.chosen);
            chosen.map(|verdict| verdict.kind).ok_or("no backend is chosen".to_owned())
        });
        let cpu =
            device.as_ref().map_err(String::clone).and_then(|device| write_and_read(device).map_err(|error| error.to_string()));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().and_then(|release| version(&release));
        Self { node: known, contexts, blobs, window, capsets, backend, cpu, screen: screen(Path::new("/dev/dri")), kernel }
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn request(usage: Usage) -> BufferRequest {
    BufferRequest::new(Format::XRGB8888, TRIED.0, TRIED.1, usage)
}

fn write_and_read(device: &Device) -> Result<(), Box<dyn std::error::Error>> {
    let buffer = device.create(&request(Usage::CPU_READ_RARELY | Usage::CPU_WRITE_RARELY))?;
    let whole = buffer.layout().whole();
    buffer.map(whole, Access::WRITE)?.write_row(0, 1, b"doctor")?;
    let mut back = [0; 6];
    buffer.map(whole, Access::READ)?.read_row(0, 1, &mut back)?;
    if &back == b"doctor" { Ok(()) } else { Err("what was written does not come back".into()) }
}

/// The screen of the first primary node of the driver.
fn screen(folder: &Path) -> Screen {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_card = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("card"));
    let mut cards: Vec<_> = entries.filter(is_card).collect();
    cards.sort();
    let mut seen = Vec::new();
    for path in cards {
        match DrmNode::open(&path) {
            Ok(node) => return screen_of(node),
            Err(error) => seen.push(error.to_string()),
        }
    }
    Screen::NoCard(if seen.is_empty() { "there is no primary node".to_owned() } else { seen.join("; ") })
}

fn screen_of(node: DrmNode) -> Screen {
    let connectors = node.resource_handles().map(|resources| resources.connectors().to_vec()).unwrap_or_default();
    let known: Vec<_> = connectors.iter().filter_map(|handle| node.get_connector(*handle, false).ok()).collect();
    let Some(connected) = known.iter().find(|connector| connector.state() == connector::State::Connected) else {
        return if known.is_empty() { Screen::None } else { Screen::Disconnected };
    };
    let mode = connected.modes().first().map_or("no mode".to_owned(), |mode| {
        let (width, height) = mode.size();
        format!("{width}x{height}, {} Hz", mode.vrefresh())
    });
    Screen::Connected { mode, takes_our_buffers: show(node).map_err(|error| error.to_string()) }
}

/// Makes a framebuffer of a buffer, which is what a compositor does before it shows it.
fn show(node: DrmNode) -> Result<(), Box<dyn std::error::Error>> {
    let display = DrmNode::from_borrowed_fd(std::os::fd::AsFd::as_fd(&node))?;
    let buffer = Device::open(node)?.create(&request(Usage::SCANOUT))?;
    let framebuffer = display.add_framebuffer(&Shown::new(&buffer), 24, 32)?;
    display.destroy_framebuffer(framebuffer)?;
    Ok(())
}

/// A buffer as the display code takes it.
struct Shown {
    layout: Layout,
    handle: u32,
}

impl Shown {
    fn new(buffer: &BufferObject) -> Self {
        Self { layout: *buffer.layout(), handle: buffer.bo_handle() }
    }
}

impl Buffer for Shown {
    fn size(&self) -> (u32, u32) {
        (self.layout.width, self.layout.height)
    }

    fn format(&self) -> DrmFourcc {
        DrmFourcc::Xrgb8888
    }

    fn pitch(&self) -> u32 {
        self.layout.planes.first().map_or(0, |plane| plane.stride_bytes)
    }

    fn handle(&self) -> Handle {
        // A handle of the kernel is never 0, and the one stands for none.
        drm::control::from_u32(self.handle.max(1)).unwrap_or_else(|| Handle::from(std::num::NonZeroU32::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_kernel_is_read_from_its_release() {
        assert_eq!(version("6.12.117+deb13-amd64"), Some((6, 12)));
        assert_eq!(version("7.3-rc1"), Some((7, 3)));
        assert_eq!(version("nonsense"), None);
    }

    #[test]
    fn a_machine_without_nodes_is_described_and_not_an_error() {
        let facts = Facts::gather(Path::new("/nowhere"));
        assert!(facts.node.unwrap_err().contains("/nowhere"));
        assert!(matches!(screen(Path::new("/nowhere")), Screen::NoCard(_)));
    }
}
