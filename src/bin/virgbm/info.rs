//! `virgbm info`: what a node offers, and what the library makes of it.

use crate::drivers::Found;
use crate::table::Table;
use crate::{Failure, capsets, drivers, node};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use virgbm::guest::node::{Node, NodeError, Param};
use virgbm::guest::{Device, Error, Verdict};
use virgbm::{Offer, Support, Usage};

/// Whose information.
#[derive(Args)]
pub struct Options {
    /// The device node, such as /dev/dri/renderD128, or `auto` for the first one there is; without it, a host embedded in this process
    #[arg(long, conflicts_with = "host")]
    node: Option<PathBuf>,
    /// What the drivers of this machine would make for guests, as `virgbm host` tries them, and why they would not make the rest
    #[arg(long)]
    host: bool,
    #[command(flatten)]
    drivers: drivers::Choice,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the kernel answers for a parameter that it does not know, and for one whose feature the device lacks.
const EINVAL: i32 = 22;
const ENOENT: i32 = 2;

#[derive(Serialize)]
struct ParamReport {
    name: String,
    value: Option<u64>,
    /// Why there is no value.
    error: Option<String>,
}

impl ParamReport {
    fn new(param: Param, value: Result<u64, NodeError>) -> Self {
        let why = |error: NodeError| match error.source.raw_os_error() {
            Some(EINVAL) => "not known to the kernel".to_owned(),
            Some(ENOENT) => "not offered by the device".to_owned(),
            _ => error.to_string(),
        };
        let (value, error) = value.map_or_else(|error| (None, Some(why(error))), |value| (Some(value), None));
        Self { name: param.to_string(), value, error }
    }
}

#[derive(Serialize)]
struct CapsetReport {
    id: u32,
    name: &'static str,
}

#[derive(Serialize)]
struct VerdictReport {
    backend: &'static str,
    chosen: bool,
    reason: String,
}

#[derive(Serialize)]
struct SupportReport {
    format: String,
    fourcc: String,
    modifier: u64,
    planes: u32,
    usages: Vec<String>,
    stride_alignment: u32,
    offset_alignment: u32,
    size_alignment: u32,
    layout_by: &'static str,
    /// How the CPU reaches it, where it does.
    cpu_by: &'static str,
}

#[derive(Serialize)]
struct OfferReport {
    capabilities: Vec<String>,
    largest: String,
    blob_alignment: u32,
    context_bytes: u64,
    context_objects: u32,
    support: Vec<SupportReport>,
}

#[derive(Serialize)]
struct Report {
    node: String,
    params: Vec<ParamReport>,
    capsets: Vec<CapsetReport>,
    backends: Vec<VerdictReport>,
    offer: Option<OfferReport>,
}

impl From<&Verdict> for VerdictReport {
    fn from(verdict: &Verdict) -> Self {
        Self { backend: verdict.kind.name(), chosen: verdict.chosen, reason: verdict.reason.clone() }
    }
}

impl From<&Support> for SupportReport {
    fn from(support: &Support) -> Self {
        Self {
            format: support.format.to_string(),
            fourcc: support.format.code(),
            modifier: support.modifier.value(),
            planes: support.plane_count,
            usages: support.usages.iter_names().map(|(name, _)| name.to_lowercase()).collect(),
            stride_alignment: support.alignment.stride_bytes,
            offset_alignment: support.alignment.offset_bytes,
            size_alignment: support.alignment.size_bytes,
            layout_by: if support.guest_layout { "guest" } else { "host" },
            cpu_by: match (support.usages.intersects(Usage::CPU), support.transfers) {
                (false, _) => "nothing",
                (true, false) => "mapping",
                (true, true) => "transfer",
            },
        }
    }
}

impl From<&Offer> for OfferReport {
    fn from(offer: &Offer) -> Self {
        let largest = offer.table.largest();
        Self {
            capabilities: offer.capabilities.iter_names().map(|(name, _)| name.to_lowercase()).collect(),
            largest: format!("{}x{}, {} layers", largest.width, largest.height, largest.layers),
            blob_alignment: offer.blob_alignment,
            context_bytes: offer.context_bytes,
            context_objects: offer.context_objects,
            support: offer.table.entries().iter().map(SupportReport::from).collect(),
        }
    }
}

fn report(options: &Options) -> Result<Report, Failure> {
    let opened = node::open(options.node.as_deref())?;
    let params = Param::ALL.map(|param| ParamReport::new(param, opened.node.get_param(param)));
    let mask = opened.node.get_param(Param::SupportedCapsetIds).unwrap_or(0);
    let capsets = (0..u64::BITS).filter(|id| mask & 1 << id != 0);
    let capsets = capsets.map(|id| CapsetReport { id, name: capsets::name(id).unwrap_or("unknown") });
    let (backends, offer) = match Device::open(opened.node.clone()) {
        Ok(device) => (device.verdicts().to_vec(), Some(OfferReport::from(device.offer()))),
        Err(Error::NoBackend { verdicts }) => (verdicts, None),
        Err(error) => return Err(error.into()),
    };
    Ok(Report {
        node: opened.name,
        params: params.into(),
        capsets: capsets.collect(),
        backends: backends.iter().map(VerdictReport::from).collect(),
        offer,
    })
}

pub fn run(options: &Options) -> Result<String, Failure> {
    if options.host {
        let found = Found::from(&options.drivers.open()?);
        return Ok(if options.json { serde_json::to_string_pretty(&found)? + "\n" } else { found.describe() });
    }
    let report = report(options)?;
    if options.json {
        return Ok(serde_json::to_string_pretty(&report)? + "\n");
    }
    let mut params = Table::new(["parameter", "value"]);
    for ParamReport { name, value, error } in report.params {
        params.row([name, value.map_or(error.unwrap_or_default(), |value| format!("{value:#x}"))]);
    }
    let capsets: Vec<_> = report.capsets.iter().map(|capset| format!("{} ({})", capset.id, capset.name)).collect();
    let capsets = if capsets.is_empty() { "none".to_owned() } else { capsets.join(", ") };
    let mut backends = Table::new(["backend", "chosen", "why"]);
    for VerdictReport { backend, chosen, reason } in report.backends {
        backends.row([backend.to_owned(), if chosen { "yes" } else { "no" }.to_owned(), reason]);
    }
    let offer = report.offer.as_ref().map(describe).unwrap_or_default();
    Ok(format!("Node: {}\n\n{params}\nCapsets: {capsets}\n\n{backends}{offer}", report.node))
}

fn describe(offer: &OfferReport) -> String {
    let letters: Vec<_> = usage_letters().map(|(letter, name)| format!("{letter} {}", name.to_lowercase())).collect();
    let mut table =
        Table::new(["format", "fourcc", "modifier", "planes", "usages", "stride", "offset", "size", "layout by", "CPU by"]);
    for support in &offer.support {
        let usages =
            usage_letters().map(|(letter, name)| if support.usages.contains(&name.to_lowercase()) { letter } else { '-' });
        table.row([
            support.format.clone(),
            support.fourcc.clone(),
            virgbm::Modifier::new(support.modifier).to_string(),
            support.planes.to_string(),
            usages.collect(),
            support.stride_alignment.to_string(),
            support.offset_alignment.to_string(),
            support.size_alignment.to_string(),
            support.layout_by.to_owned(),
            support.cpu_by.to_owned(),
        ]);
    }
    format!(
        "\nThe host can: {}\nLargest image {}; blobs are multiples of {} bytes; a context may hold {} MiB in {} objects\n\n\
         Usages: {}\n\n{table}",
        offer.capabilities.join(", "),
        offer.largest,
        offer.blob_alignment,
        offer.context_bytes >> 20,
        offer.context_objects,
        letters.join(", ")
    )
}

/// A letter for each usage: a, b, c in the order of their bits.
fn usage_letters() -> impl Iterator<Item = (char, &'static str)> {
    ('a'..='z').zip(Usage::all().iter_names().map(|(name, _)| name))
}
