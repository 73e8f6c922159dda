//! [`Drivers`]: which drivers of this machine allocate, by what each was seen to do. Plain memory always does, after the others.

use super::gbm::GbmResolver;
use super::gl::{GlOptions, GlResolver};
use super::memory::MemoryResolver;
use super::vulkan::{DeviceChoice, VulkanOptions, VulkanResolver};
use super::{Report, Resolver};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// A class of driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// Images of Vulkan.
    Vulkan,
    /// Textures of GL.
    Gl,
    /// Buffers of libgbm.
    Gbm,
    /// Plain pages.
    Memory,
}

impl DriverKind {
    /// The name of its resolver.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vulkan => "vulkan",
            Self::Gl => "gl",
            Self::Gbm => "gbm",
            Self::Memory => "memory",
        }
    }
}

impl FromStr for DriverKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Vulkan, Self::Gl, Self::Gbm, Self::Memory];
        all.into_iter().find(|kind| kind.name() == text).ok_or_else(|| "there are vulkan, gl, gbm and memory".to_owned())
    }
}

/// Which drivers are used.
#[derive(Clone, Debug, Default)]
pub struct DriverOptions {
    /// Those that must work, the preferred one first, software among them. Without any, each that draws with a GPU and whose images leave
    /// as dma-bufs: Vulkan before GL, and libgbm where neither does.
    pub kinds: Vec<DriverKind>,
    /// Which device of Vulkan.
    pub device: DeviceChoice,
    /// The DRM render node of GL and libgbm; without it, what EGL has, and the first render node.
    pub node: Option<PathBuf>,
}

/// A driver that was asked for does not work.
#[derive(Debug, Error)]
#[error("{}: {why}", kind.name())]
pub struct DriverMissing {
    /// Which.
    pub kind: DriverKind,
    /// Why.
    pub why: String,
}

/// One of them. Clones share the driver.
#[derive(Clone)]
enum Driver {
    Vulkan(VulkanResolver),
    Gl(GlResolver),
    Gbm(GbmResolver),
}

impl Driver {
    fn resolver(&self) -> Box<dyn Resolver> {
        match self {
            Self::Vulkan(resolver) => Box::new(resolver.clone()),
            Self::Gl(resolver) => Box::new(resolver.clone()),
            Self::Gbm(resolver) => Box::new(resolver.clone()),
        }
    }

    fn report(&self) -> Report<'_> {
        match self {
            Self::Vulkan(resolver) => resolver.report(),
            Self::Gl(resolver) => resolver.report(),
            Self::Gbm(resolver) => resolver.report(),
        }
    }
}

/// The drivers that allocate, and why the others do not.
#[derive(Clone, Default)]
pub struct Drivers {
    opened: Vec<Driver>,
    absent: Vec<(DriverKind, String)>,
}

impl fmt::Debug for Drivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.reports().map(|report| report.device)).finish()
    }
}

impl Drivers {
    /// Opens drivers and tries what they can, once for all devices of a process.
    ///
    /// # Errors
    /// [`DriverMissing`] for one that was asked for by name; those that were not may be missing.
    pub fn open(options: &DriverOptions) -> Result<Self, DriverMissing> {
        let mut drivers = Self::default();
        if options.kinds.is_empty() {
            drivers.open_gpus(options);
            return Ok(drivers);
        }
        for kind in options.kinds.iter().copied().filter(|kind| *kind != DriverKind::Memory) {
            let driver = open(kind, options, true).map_err(|why| DriverMissing { kind, why })?;
            drivers.opened.push(driver);
        }
        Ok(drivers)
    }

    /// Software draws no faster than the guest itself, so it is used only where it is asked for.
    fn open_gpus(&mut self, options: &DriverOptions) {
        for kind in [DriverKind::Vulkan, DriverKind::Gl, DriverKind::Gbm] {
            if kind == DriverKind::Gbm && !self.opened.is_empty() {
                self.absent.push((kind, "another driver gives dma-bufs".to_owned()));
                continue;
            }
            match open(kind, options, false) {
                Ok(driver) if driver.report().dma_bufs => self.opened.push(driver),
                Ok(driver) => self.absent.push((kind, format!("{} gives no dma-bufs", driver.report().device))),
                Err(why) => self.absent.push((kind, why)),
            }
        }
        for (kind, why) in &self.absent {
            log::info!("no images of {}: {why}", kind.name());
        }
    }

    /// A resolver for each, the preferred one first, and for plain memory.
    pub fn resolvers(&self) -> Vec<Box<dyn Resolver>> {
        let memory: Box<dyn Resolver> = Box::new(MemoryResolver::new());
        self.opened.iter().map(Driver::resolver).chain([memory]).collect()
    }

    /// What was found about each.
    pub fn reports(&self) -> impl Iterator<Item = Report<'_>> {
        self.opened.iter().map(Driver::report)
    }

    /// Those that were tried and are not used, and why.
    pub fn absent(&self) -> &[(DriverKind, String)] {
        &self.absent
    }
}

fn open(kind: DriverKind, options: &DriverOptions, software: bool) -> Result<Driver, String> {
    let (node, device) = (options.node.clone(), options.device.clone());
    match kind {
        DriverKind::Vulkan => {
            let opened = VulkanResolver::new(&VulkanOptions { device, software, validation: false });
            opened.map(Driver::Vulkan).map_err(|error| error.to_string())
        }
        DriverKind::Gl => {
            let opened = GlResolver::new(&GlOptions { node, software });
            opened.map(Driver::Gl).map_err(|error| error.to_string())
        }
        DriverKind::Gbm => {
            let node = node.or_else(first_render_node).ok_or("this machine has no DRM render node")?;
            GbmResolver::new(&node).map(Driver::Gbm).map_err(|error| error.to_string())
        }
        DriverKind::Memory => Err("it is always there".to_owned()),
    }
}

/// The first render node, by number.
fn first_render_node() -> Option<PathBuf> {
    (128..192).map(|minor| PathBuf::from(format!("/dev/dri/renderD{minor}"))).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_named_as_a_person_types_it() {
        assert_eq!(
            ["vulkan", "gl", "gbm", "memory"].map(|name| name.parse::<DriverKind>().unwrap().name()).concat(),
            "vulkanglgbmmemory"
        );
        assert!("GL".parse::<DriverKind>().unwrap_err().contains("vulkan, gl, gbm and memory"));
    }

    #[test]
    fn plain_memory_alone_needs_no_driver() {
        let drivers = Drivers::open(&DriverOptions { kinds: vec![DriverKind::Memory], ..DriverOptions::default() }).unwrap();
        let names: Vec<_> = drivers.resolvers().iter().map(|resolver| resolver.name()).collect();
        assert_eq!((names, drivers.reports().count(), drivers.absent().len()), (vec!["memory"], 0, 0));
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_an_error_that_says_why() {
        let device = DeviceChoice::Name("no such device".to_owned());
        let asked = DriverOptions { kinds: vec![DriverKind::Vulkan], device, ..DriverOptions::default() };
        let missing = Drivers::open(&asked).unwrap_err();
        assert!(missing.to_string().starts_with("vulkan: "), "{missing}");
        let node = Some(PathBuf::from("/dev/null"));
        let missing = Drivers::open(&DriverOptions { kinds: vec![DriverKind::Gbm], node, ..DriverOptions::default() });
        assert!(missing.unwrap_err().to_string().contains("/dev/null"));
    }

    #[test]
    fn every_driver_is_used_or_its_absence_explained() {
        let drivers = Drivers::open(&DriverOptions::default()).unwrap();
        assert_eq!(drivers.reports().count() + drivers.absent().len(), 3);
        assert!(drivers.reports().all(|report| !report.software && report.dma_bufs));
        assert!(drivers.absent().iter().all(|(_, why)| !why.is_empty()));
    }
}
