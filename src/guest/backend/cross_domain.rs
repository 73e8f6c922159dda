//! The backend for cross-domain hosts: crosvm, and VMMs on rutabaga ([`wire::cross_domain`](crate::wire::cross_domain)).
//!
//! A layout that is new is asked for once; then a buffer costs one RESOURCE_CREATE_BLOB. The host tells neither what it offers nor
//! why it refuses, so the table has what such hosts are known to take, and a query without an answer is the refusal.

mod query;

use super::answers::Answers;
use super::{Backend, Blob, Imported};
use crate::guest::error::Error;
use crate::guest::handles::HandleTable;
use crate::guest::node::{BlobCreate, BlobFlags, BlobMem, ContextInit, Handles, Node, Param};
use crate::guest::options::DeviceOptions;
use crate::wire::alloc::{self as wire, Capabilities};
use crate::wire::cross_domain as protocol;
use crate::{Alignment, BufferRequest, Extent, Format, FormatClass, Layout, Modifier, Offer, Support, SupportTable, Usage};
use query::{QueryRing, Requirements};
use std::sync::Arc;

pub(super) use protocol::CAPSET_ID;

/// What rutabaga's gralloc knows.
const FORMATS: [Format; 15] = [
    Format::R8,
    Format::RGB565,
    Format::BGR888,
    Format::XRGB8888,
    Format::XBGR8888,
    Format::ARGB8888,
    Format::ABGR8888,
    Format::XRGB2101010,
    Format::XBGR2101010,
    Format::ARGB2101010,
    Format::ABGR2101010,
    Format::ABGR16161616F,
    Format::NV12,
    Format::YVU420,
    Format::P010,
];

/// The largest side that is asked for.
const LARGEST_SIDE: u32 = 1 << 16;

pub(super) struct CrossDomainBackend {
    node: Arc<dyn Node>,
    handles: Arc<HandleTable>,
    offer: Offer,
    ring: QueryRing,
    requirements: Answers<Requirements>,
}

impl CrossDomainBackend {
    /// Makes the context, names its query ring, and asks a first question, since only its answer shows that the host listens.
    pub fn open(node: &Arc<dyn Node>, handles: &Arc<HandleTable>, options: &DeviceOptions) -> Result<Self, Error> {
        let mut capset = [0; size_of::<protocol::Capabilities>()];
        node.get_caps(CAPSET_ID, 0, &mut capset)?;
        node.context_init(&ContextInit { capset_id: CAPSET_ID, num_rings: 1, debug_name: &options.name })?;
        let ring = QueryRing::open(node, handles, options.patience)?;
        let host_visible = matches!(node.get_param(Param::HostVisible), Ok(1));
        let usages = Usage::all().difference(Usage::PROTECTED | Usage::LINEAR);
        let entries = FORMATS.map(|format| Support {
            format,
            // The host says it with the layout.
            modifier: Modifier::INVALID,
            usages: usages.difference(forbidden(format)),
            plane_count: format.planes().len() as u32,
            alignment: Alignment::PACKED,
            guest_layout: false,
            transfers: false,
        });
        let largest = Extent { width: LARGEST_SIDE, height: LARGEST_SIDE, layers: 1 };
        let capabilities = if host_visible { Capabilities::HOST_VISIBLE } else { Capabilities::GUEST_MEMORY_IMPORT };
        let offer = Offer::without_limits(capabilities, SupportTable::new(entries.into(), largest));
        Ok(Self { node: node.clone(), handles: handles.clone(), offer, ring, requirements: Answers::default() })
    }

    /// What the host needs for a request. A caller who lists LINEAR, or asks for it, is asked for as one who needs it.
    fn requirements(&self, request: &BufferRequest) -> Result<Requirements, Error> {
        let mut asked = BufferRequest { modifiers: Vec::new(), name: String::new(), ..request.clone() };
        if request.modifiers.contains(&Modifier::LINEAR) && !request.modifiers.contains(&Modifier::INVALID) {
            asked.usage |= Usage::LINEAR;
        }
        let known = self.requirements.get(asked, |request| self.ring.ask(request))?;
        let modifier = known.layout.modifier;
        if request.accepts(modifier) {
            return Ok(known);
        }
        let (format, asked) = (request.format, request.modifiers.clone());
        Err(crate::Unsupported::Modifier { format, asked, offered: vec![modifier] }.into())
    }

    fn create_one(&self, request: &BufferRequest, known: &Requirements) -> Result<Blob, Error> {
        let cpu = request.usage.intersects(Usage::CPU);
        let mut flags = BlobFlags::SHAREABLE;
        flags.set(BlobFlags::MAPPABLE, cpu);
        // Where the host has no window, the CPU can only have pages of the guest.
        let guest = cpu && !self.offer.capabilities.contains(Capabilities::HOST_VISIBLE);
        let (mem, blob_id) = if guest { (BlobMem::Guest, 0) } else { (BlobMem::Host3d, known.blob_id.into()) };
        let size = known.layout.size_bytes;
        let Handles { bo_handle, resource_id } =
            self.node.resource_create_blob(&BlobCreate { mem, flags, size, blob_id, command: &[] })?;
        let handle = self.handles.adopt(bo_handle);
        let made_of = guest.then_some(wire::Backing::Guest);
        Ok(Blob { handle, resource_id, size_bytes: size, mappable: cpu, made_of, copy: None })
    }
}

/// What no such host does with a format.
fn forbidden(format: Format) -> Usage {
    let class = format.info().map(|info| info.class);
    let mut usages = Usage::empty();
    usages.set(Usage::SCANOUT, class == Some(FormatClass::Yuv) || format == Format::R8);
    usages.set(Usage::CURSOR, format != Format::ARGB8888);
    usages.set(Usage::GPU_DATA | Usage::SENSOR_DATA, format != Format::R8);
    usages
}

impl Backend for CrossDomainBackend {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn resolve(&self, request: &BufferRequest) -> Result<Layout, Error> {
        request.check()?;
        // Modifiers are compared with the host's answer.
        let any = BufferRequest { modifiers: Vec::new(), usage: request.usage.difference(Usage::LINEAR), ..request.clone() };
        self.offer.table.choose(&any)?;
        Ok(self.requirements(request)?.layout)
    }

    fn create(&self, request: &BufferRequest, layout: &Layout, count: usize) -> Result<Vec<Blob>, Error> {
        let known = self.requirements(request)?;
        if known.layout != *layout {
            return Err(Error::OtherLayout { agreed: Box::new(*layout), reported: Box::new(known.layout) });
        }
        (0..count).map(|_| self.create_one(request, &known)).collect()
    }

    fn describe(&self, resource_id: u32) -> Result<(Layout, Option<wire::Backing>), Error> {
        Err(Error::NoLayout { resource_id })
    }

    fn adopt(&self, imported: Imported, _: &Layout, _: Usage) -> Blob {
        let Imported { handle, resource_id, size_bytes, .. } = imported;
        Blob { handle, resource_id, size_bytes, mappable: true, made_of: None, copy: None }
    }

    fn round_trips(&self) -> u64 {
        self.ring.round_trips()
    }
}
