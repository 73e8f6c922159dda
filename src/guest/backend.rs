//! [`Backend`]: one dialect of a host each, and the choice among them.

mod alloc;
mod answers;
mod classic;
mod cross_domain;
mod dumb;
mod virgl;

use super::error::Error;
use super::handles::{Handle, HandleTable};
use super::node::{Node, Param};
use super::options::DeviceOptions;
use super::verdict::{BackendKind, Verdict};
use crate::layout::Region;
use crate::wire::alloc as wire;
use crate::{BufferRequest, Layout, Offer, Usage};
use std::sync::Arc;

/// A buffer that a backend made.
pub(super) struct Blob {
    pub handle: Handle,
    pub resource_id: u32,
    pub size_bytes: u64,
    pub mappable: bool,
    pub made_of: Option<wire::Backing>,
    /// The host's copy of it; `None` where the CPU maps what the host uses.
    pub copy: Option<Box<dyn HostCopy>>,
}

/// A buffer that the kernel has imported.
pub(super) struct Imported {
    pub handle: Handle,
    pub resource_id: u32,
    pub size_bytes: u64,
    /// Whose memory a blob has, as [`BlobMem`](super::node::BlobMem) counts; 0 for a classic resource or another driver's.
    pub blob_mem: u32,
}

/// The host's copy of a buffer whose guest pages the CPU maps.
pub(super) trait HostCopy: Send + Sync {
    /// Brings a region as the host has it, and waits for it, after what mappings still write there was sent; nothing when only the
    /// CPU writes the buffer.
    fn fetch(&self, region: Region, unsent: &[Region]) -> Result<(), Error>;

    /// Sends a region; does not wait.
    fn flush(&self, region: Region) -> Result<(), Error>;
}

/// One dialect of a host, on a node whose context speaks it.
pub(super) trait Backend: Send + Sync {
    /// What the host offers.
    fn offer(&self) -> &Offer;

    /// The layout that `create` will make; asks the host only where the guest can't know, and once.
    fn resolve(&self, request: &BufferRequest) -> Result<Layout, Error>;

    /// Makes `count` blobs of a resolved layout, all or none.
    fn create(&self, request: &BufferRequest, layout: &Layout, count: usize) -> Result<Vec<Blob>, Error>;

    /// The layout of a resource that another file made.
    fn describe(&self, resource_id: u32) -> Result<(Layout, Option<wire::Backing>), Error>;

    /// A buffer that was imported, with a layout that holds and what it was made for.
    fn adopt(&self, imported: Imported, layout: &Layout, usage: Usage) -> Blob;

    /// How often the host was waited for.
    fn round_trips(&self) -> u64;
}

type Opened = Result<Box<dyn Backend>, Error>;

/// The best backend for a node, with what was thought of each.
pub(super) fn select(
    node: &Arc<dyn Node>,
    handles: &Arc<HandleTable>,
    options: &DeviceOptions,
) -> Result<(Box<dyn Backend>, Vec<Verdict>), Error> {
    let mut verdicts = Vec::new();
    let (mut backend, mut failure) = (None, None);
    for kind in preference(&**node, options) {
        let reason = match &backend {
            Some(_) => Err("a better one serves this node".to_owned()),
            None if options.backend.is_some_and(|only| only != kind) => Err("another one was asked for".to_owned()),
            None => offered(kind, &**node, options),
        };
        let opened = reason.as_ref().ok().map(|_| open(kind, node, handles, options));
        let (chosen, reason) = match (opened, reason) {
            (Some(Ok(opened)), Ok(reason)) => {
                backend = Some(opened);
                (true, reason)
            }
            // What a host offers and does not do, another dialect may.
            (Some(Err(error)), _) => {
                let reason = format!("it is offered, and fails: {error}");
                failure = failure.or(Some(error));
                (false, reason)
            }
            (_, Ok(reason) | Err(reason)) => (false, reason),
        };
        verdicts.push(Verdict { kind, chosen, reason });
    }
    match (backend, failure) {
        (Some(backend), _) => Ok((backend, verdicts)),
        (None, Some(failure)) => Err(failure),
        (None, None) => Err(Error::NoBackend { verdicts }),
    }
}

/// The order of trial: a buffer that nobody can draw into is of little use where a GL driver is beside it.
fn preference(node: &dyn Node, options: &DeviceOptions) -> [BackendKind; 4] {
    let told = capset_is_offered(node, options.capset_id).ok().and_then(|_| alloc::offer(node, options.capset_id).ok());
    let capabilities = told.map_or(wire::Capabilities::empty(), |offer| offer.capabilities);
    let drawn = wire::Capabilities::VIRGL_DRAWS | wire::Capabilities::DMA_BUF_EXPORT;
    if capabilities & drawn == wire::Capabilities::VIRGL_DRAWS { BackendKind::DRAWN } else { BackendKind::ALL }
}

/// Whether the node can carry a dialect, and the reason either way.
fn offered(kind: BackendKind, node: &dyn Node, options: &DeviceOptions) -> Result<String, String> {
    match kind {
        BackendKind::Alloc => capset_is_offered(node, options.capset_id),
        BackendKind::CrossDomain => capset_is_offered(node, cross_domain::CAPSET_ID),
        BackendKind::Virgl => virgl::is_offered(node),
        BackendKind::Dumb => dumb::is_offered(node),
    }
}

fn open(kind: BackendKind, node: &Arc<dyn Node>, handles: &Arc<HandleTable>, options: &DeviceOptions) -> Opened {
    Ok(match kind {
        BackendKind::Alloc => Box::new(alloc::AllocBackend::open(node, handles, options)?),
        BackendKind::CrossDomain => Box::new(cross_domain::CrossDomainBackend::open(node, handles, options)?),
        BackendKind::Virgl => Box::new(virgl::VirglBackend::open(node, handles, options)?),
        BackendKind::Dumb => Box::new(dumb::DumbBackend::open(node, handles)?),
    })
}

/// Whether the node can carry a protocol that makes blobs, and the reason either way.
fn capset_is_offered(node: &dyn Node, capset_id: u32) -> Result<String, String> {
    for (param, why) in [
        (Param::Features3d, "the device has no contexts (feature VIRGL)"),
        (Param::ResourceBlob, "the device has no blobs (feature RESOURCE_BLOB)"),
        (Param::ContextInit, "contexts can't choose a capset (feature CONTEXT_INIT)"),
    ] {
        if !matches!(node.get_param(param), Ok(value) if value != 0) {
            return Err(why.to_owned());
        }
    }
    let offered = node.get_param(Param::SupportedCapsetIds).map_err(|error| error.to_string())?;
    if capset_id >= u64::BITS || offered & 1 << capset_id == 0 {
        return Err(format!("the host does not offer capset {capset_id} (it offers {offered:#x} as a mask)"));
    }
    Ok(format!("the host offers capset {capset_id}"))
}
