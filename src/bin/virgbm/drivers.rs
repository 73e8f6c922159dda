//! The drivers of this machine that allocate: which are asked for, and what was found about them.

use crate::table::Table;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use virgbm::host::Report;
use virgbm::host::resolver::drivers::{DriverKind, DriverMissing, DriverOptions, Drivers};
use virgbm::host::resolver::vulkan::DeviceChoice;

/// What allocates.
#[derive(Args, Default)]
pub struct Choice {
    /// What allocates before plain pages do, the preferred one first: vulkan, gl, gbm; memory for plain pages alone; without it, every
    /// driver of a GPU whose images were seen to work and to leave as dma-bufs
    #[arg(long, value_delimiter = ',')]
    resolver: Vec<DriverKind>,
    /// Which device of Vulkan: `best`, a UUID, the path of a DRM node, or a part of its name
    #[arg(long, default_value = "best")]
    vulkan_device: DeviceChoice,
    /// The DRM render node of gl and gbm; without it what EGL has, and the first render node
    #[arg(long)]
    render_node: Option<PathBuf>,
}

impl Choice {
    /// The DRM render node that was named.
    pub fn render_node(&self) -> Option<&Path> {
        self.render_node.as_deref()
    }

    /// Opens them, and tries what they can.
    pub fn open(&self) -> Result<Drivers, DriverMissing> {
        self.open_kinds(self.resolver.clone())
    }

    /// Opens each for itself, software too: those that were asked for, or all.
    pub fn open_each(&self) -> impl Iterator<Item = Result<Drivers, DriverMissing>> {
        let all = [DriverKind::Vulkan, DriverKind::Gl, DriverKind::Gbm];
        let kinds = if self.resolver.is_empty() { all.to_vec() } else { self.resolver.clone() };
        kinds.into_iter().filter(|kind| *kind != DriverKind::Memory).map(|kind| self.open_kinds(vec![kind]))
    }

    fn open_kinds(&self, kinds: Vec<DriverKind>) -> Result<Drivers, DriverMissing> {
        let (device, node) = (self.vulkan_device.clone(), self.render_node.clone());
        Drivers::open(&DriverOptions { kinds, device, node })
    }
}

/// What was found about all of them.
#[derive(Default, Serialize, Deserialize)]
pub struct Found {
    pub drivers: Vec<Driver>,
    /// Those that are not used, and why.
    pub absent: Vec<(String, String)>,
}

/// What was found about one.
#[derive(Serialize, Deserialize)]
pub struct Driver {
    pub resolver: String,
    pub device: String,
    pub software: bool,
    pub dma_bufs: bool,
    /// Of the driver, now.
    pub objects: usize,
    /// Formats with their modifiers that were seen to work.
    pub offered: Vec<String>,
    /// What did not work, and why.
    pub refused: Vec<(String, String)>,
}

impl From<&Drivers> for Found {
    fn from(drivers: &Drivers) -> Self {
        let absent = drivers.absent().iter().map(|(kind, why)| (kind.name().to_owned(), why.clone()));
        Self { drivers: drivers.reports().map(Driver::from).collect(), absent: absent.collect() }
    }
}

impl From<Report<'_>> for Driver {
    fn from(report: Report<'_>) -> Self {
        let Report { resolver, device, software, dma_bufs, objects, offered, findings } = report;
        let refused = findings.iter().filter_map(|finding| Some((finding.subject.clone(), finding.refused.clone()?)));
        Self {
            resolver: resolver.to_owned(),
            device,
            software,
            dma_bufs,
            objects,
            offered: offered.iter().map(|support| format!("{} {}", support.format, support.modifier)).collect(),
            refused: refused.collect(),
        }
    }
}

impl Found {
    /// A line each.
    pub fn summary(&self) -> String {
        let mut table = Table::new(["resolver", "driver", "leaves as", "formats", "refused", "objects"]);
        for Driver { resolver, device, dma_bufs, objects, offered, refused, .. } in &self.drivers {
            table.row([
                resolver.clone(),
                device.clone(),
                if *dma_bufs { "dma-buf" } else { "nothing" }.to_owned(),
                offered.len().to_string(),
                refused.len().to_string(),
                objects.to_string(),
            ]);
        }
        let absent = self.absent.iter().map(|(resolver, why)| format!("No images of {resolver}: {why}\n"));
        let table = if self.drivers.is_empty() { "Plain memory alone allocates\n".to_owned() } else { table.to_string() };
        format!("{table}{}", absent.collect::<String>())
    }

    /// All of it.
    pub fn describe(&self) -> String {
        let each = self.drivers.iter().map(|driver| {
            let mut table = Table::new(["not", "why"]);
            for (subject, why) in &driver.refused {
                table.row([subject.clone(), why.clone()]);
            }
            format!("\n{} makes {}\n\n{table}", driver.resolver, driver.offered.join(", "))
        });
        format!("{}{}", self.summary(), each.collect::<String>())
    }
}
