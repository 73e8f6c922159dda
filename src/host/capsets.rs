//! [`Capsets`]: what a device offers to contexts. One list: GET_CAPSET_INFO counts it, GET_CAPSET reads it, a context speaks of it.

use super::CommandError;
use super::config::{DeviceConfig, Features, Protocols};
use super::context::alloc::AllocContext;
use super::context::cross_domain::CrossDomainContext;
use super::context::drawing::Drawing;
use super::context::virgl::VirglContext;
use super::context::{NoProtocol, Protocol};
use super::renderer::{Renderer, RendererCapset};
use crate::wire::alloc::{self, Capabilities};
use crate::wire::virtio_gpu::CapsetInfo;
use crate::wire::{cross_domain, virgl};
use crate::{FormatClass, Offer, Usage};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// One capset.
struct Capset {
    id: u32,
    version: u32,
    bytes: Vec<u8>,
    speech: Speech,
}

/// What makes that what a context speaks.
#[derive(Clone)]
enum Speech {
    /// Of this device's own.
    Own(fn() -> Box<dyn Protocol>),
    /// The renderer's capset of that number.
    Drawn(Arc<dyn Renderer>, u32),
}

impl Speech {
    fn open(&self, ctx_id: u32, name: &str) -> Result<Spoken, CommandError> {
        Ok(match self {
            Self::Own(open) => Spoken { protocol: open(), draws: false },
            Self::Drawn(renderer, capset_id) => {
                let context = renderer.context(ctx_id, *capset_id, name)?;
                Spoken { protocol: Box::new(Drawing::new(context)), draws: true }
            }
        })
    }
}

/// What a new context speaks.
pub(super) struct Spoken {
    pub protocol: Box<dyn Protocol>,
    /// Whether the renderer draws for it.
    pub draws: bool,
}

/// The capsets of a device, in the order of their indexes.
pub(super) struct Capsets {
    list: Vec<Capset>,
    /// What a context speaks that chose none.
    unchosen: Speech,
    /// Whether contexts can choose.
    chosen: bool,
}

impl Capsets {
    pub fn new(config: &DeviceConfig, offer: &Offer, renderer: Option<&Arc<dyn Renderer>>) -> Self {
        let mut list = Vec::new();
        let mut add = |id, version, bytes, open| list.push(Capset { id, version, bytes, speech: Speech::Own(open) });
        if config.protocols.contains(Protocols::ALLOC) {
            add(config.capset_id, alloc::VERSION, offer.encode(), || Box::<AllocContext>::default());
        }
        if config.protocols.contains(Protocols::CROSS_DOMAIN) {
            let bytes = cross_domain_capset(offer).as_bytes().to_vec();
            add(cross_domain::CAPSET_ID, cross_domain::VERSION, bytes, || Box::<CrossDomainContext>::default());
        }
        if config.protocols.contains(Protocols::VIRGL) {
            let virgl: fn() -> Box<dyn Protocol> = || Box::<VirglContext>::default();
            let second = virgl_capset(offer);
            let first = virgl::CapsV1 { max_version: virgl::VERSION_VIRGL.into(), ..second.v1 };
            add(virgl::CAPSET_ID_VIRGL, virgl::VERSION_VIRGL, first.as_bytes().to_vec(), virgl);
            add(virgl::CAPSET_ID_VIRGL2, virgl::VERSION_VIRGL2, second.as_bytes().to_vec(), virgl);
        }
        if let Some(renderer) = renderer {
            list.extend(renderer.capsets().iter().map(|RendererCapset { id, version, bytes }| {
                let speech = Speech::Drawn(renderer.clone(), *id);
                Capset { id: *id, version: *version, bytes: bytes.clone(), speech }
            }));
        }
        // Before contexts could choose, they spoke virgl.
        let virgl = list.iter().rfind(|capset| matches!(capset.id, virgl::CAPSET_ID_VIRGL | virgl::CAPSET_ID_VIRGL2));
        let unchosen = virgl.map_or(Speech::Own(|| Box::new(NoProtocol)), |capset| capset.speech.clone());
        Self { list, unchosen, chosen: config.features.contains(Features::CONTEXT_INIT) }
    }

    pub fn count(&self) -> u32 {
        self.list.len() as u32
    }

    /// The answer to GET_CAPSET_INFO.
    pub fn info(&self, index: u32) -> Result<CapsetInfo, CommandError> {
        let capset = self.list.get(index as usize);
        let capset = capset.ok_or(CommandError::Parameter { what: "capset index", value: index.into() })?;
        Ok(CapsetInfo {
            capset_id: capset.id.into(),
            max_version: capset.version.into(),
            max_size: (capset.bytes.len() as u32).into(),
            ..CapsetInfo::default()
        })
    }

    /// The answer to GET_CAPSET.
    pub fn bytes(&self, id: u32, version: u32) -> Result<&[u8], CommandError> {
        let capset = self.find(id)?;
        if version > capset.version {
            return Err(CommandError::Parameter { what: "capset version", value: version.into() });
        }
        Ok(&capset.bytes)
    }

    /// What a new context of a capset speaks; 0 is none.
    pub fn open(&self, id: u32, ctx_id: u32, name: &str) -> Result<Spoken, CommandError> {
        match id {
            0 => self.unchosen.open(ctx_id, name),
            id if self.chosen => self.find(id)?.speech.open(ctx_id, name),
            id => Err(unknown(id)),
        }
    }

    fn find(&self, id: u32) -> Result<&Capset, CommandError> {
        self.list.iter().find(|capset| capset.id == id).ok_or(unknown(id))
    }
}

fn unknown(id: u32) -> CommandError {
    CommandError::Parameter { what: "capset id", value: id.into() }
}

/// No channel: there is no compositor and no camera behind this host.
fn cross_domain_capset(offer: &Offer) -> cross_domain::Capabilities {
    let exports = offer.capabilities.contains(Capabilities::DMA_BUF_EXPORT);
    cross_domain::Capabilities {
        version: cross_domain::VERSION.into(),
        supports_dmabuf: u32::from(exports).into(),
        ..cross_domain::Capabilities::default()
    }
}

/// The formats of the table, and no limit of drawing.
fn virgl_capset(offer: &Offer) -> virgl::CapsV2 {
    let mut capset = virgl::CapsV2::default();
    capset.v1.max_version = virgl::VERSION_VIRGL2.into();
    for support in offer.table.entries() {
        let Some((info, number)) = support.format.info().and_then(|info| Some((info, info.virgl?))) else { continue };
        let depth = info.class == FormatClass::Depth;
        let target = if depth { &mut capset.v1.depthstencil } else { &mut capset.v1.render };
        for (usage, mask) in [
            (Usage::TEXTURE, &mut capset.v1.sampler),
            (Usage::RENDER, target),
            (Usage::CPU, &mut capset.supported_readback_formats),
            (Usage::SCANOUT, &mut capset.scanout),
        ] {
            if support.usages.contains(usage) {
                mask.insert(number);
            }
        }
    }
    let largest = offer.table.largest();
    capset.max_texture_2d_size = largest.width.min(largest.height).into();
    capset
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{MemoryResolver, Resolver};
    use crate::{Extent, Format, SupportTable};
    use zerocopy::FromBytes;

    fn offer() -> Offer {
        let entries = MemoryResolver::without_udmabuf().support().to_vec();
        Offer::without_limits(Capabilities::empty(), SupportTable::new(entries, Extent { width: 100, height: 200, layers: 1 }))
    }

    fn capsets(protocols: Protocols, features: Features) -> Capsets {
        Capsets::new(&DeviceConfig { protocols, features, ..DeviceConfig::default() }, &offer(), None)
    }

    #[test]
    fn the_usual_device_offers_two_and_virgl_adds_its_two() {
        let ids = |capsets: Capsets| (0..capsets.count()).map(|index| capsets.info(index).unwrap().capset_id.get()).collect();
        let usual: Vec<_> = ids(capsets(Protocols::USUAL, Features::USUAL));
        assert_eq!(usual, [20, 5]);
        let all: Vec<_> = ids(capsets(Protocols::all(), Features::USUAL));
        assert_eq!(all, [20, 5, 1, 2]);
    }

    #[test]
    fn a_capset_is_as_long_as_its_info_says_and_newer_versions_are_refused() {
        let capsets = capsets(Protocols::all(), Features::USUAL);
        for (index, size) in [(1, 16), (2, 308), (3, 688)] {
            let info = capsets.info(index).unwrap();
            let (id, version) = (info.capset_id.get(), info.max_version.get());
            assert_eq!((capsets.bytes(id, version).unwrap().len(), info.max_size.get()), (size, size as u32));
            assert!(capsets.bytes(id, version + 1).is_err());
        }
        assert!(capsets.info(4).is_err() && capsets.bytes(3, 0).is_err());
    }

    #[test]
    fn virgls_masks_have_depth_as_depth_and_screens_as_screens() {
        let capsets = capsets(Protocols::VIRGL, Features::USUAL);
        let capset = virgl::CapsV2::read_from_bytes(capsets.bytes(2, 2).unwrap()).unwrap();
        let number = |format: Format| format.info().unwrap().virgl.unwrap();
        let (depth, screen, planes) = (number(Format::DEPTH16), number(Format::XRGB8888), number(Format::NV12));
        assert!(capset.v1.depthstencil.contains(depth) && !capset.v1.render.contains(depth));
        assert!(capset.scanout.contains(screen) && !capset.scanout.contains(planes));
        assert!([depth, screen, planes].iter().all(|number| capset.v1.sampler.contains(*number)));
        assert_eq!(capset.max_texture_2d_size.get(), 100);
        let first = virgl::CapsV1::read_from_bytes(capsets.bytes(1, 1).unwrap()).unwrap();
        assert_eq!((first.max_version.get(), first.sampler.contains(screen)), (1, true));
    }

    #[test]
    fn contexts_choose_among_what_is_offered_where_they_can_choose() {
        let usual = capsets(Protocols::USUAL, Features::USUAL);
        for (id, there) in [(0, true), (5, true), (20, true), (1, false), (2, false), (21, false)] {
            assert_eq!(usual.open(id, 1, "").is_ok(), there, "{id}");
        }
        let unable = capsets(Protocols::all(), Features::USUAL.difference(Features::CONTEXT_INIT));
        for (id, there) in [(0, true), (5, false), (20, false), (2, false)] {
            assert_eq!(unable.open(id, 1, "").is_ok(), there, "{id}");
        }
    }
}
