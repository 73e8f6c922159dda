//! What the host sees of a guest's buffers: their bytes, the pictures in them, the screen, and descriptors for others.

use super::{Device, DeviceError};
use crate::Modifier;
use crate::host::context::Context;
use crate::host::control::State;
use crate::host::guest_memory::FilePiece;
use crate::host::resolver::{Export, ExportKind, Image};
use crate::host::resource::ResourceInfo;
use crate::host::scanout::Scanout;
use crate::host::{Amount, Picture};
use crate::wire::alloc::Backing;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A context, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextInfo {
    /// Its number.
    pub id: u32,
    /// What the guest calls it.
    pub name: String,
    /// The capset that it speaks, 0 for none.
    pub capset_id: u32,
    /// Objects that no blob has claimed.
    pub objects: usize,
    /// Live resources that it made.
    pub resources: usize,
    /// Resources attached to it.
    pub attached: usize,
    /// Bytes, objects and descriptors as its quota counts them.
    pub held: Amount,
    /// Commands of its protocol.
    pub commands: u64,
    /// How many of them were refused.
    pub refused: u64,
}

/// What the renderer has on this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RendererInfo {
    /// The ids and versions of its capsets.
    pub capsets: Vec<(u32, u32)>,
    /// Contexts that it draws for.
    pub contexts: usize,
    /// Resources that it knows, its own and those of others.
    pub resources: usize,
    /// Which resources of others it could not take and the first stream that it refused of each context, and why, the latest first.
    pub refused: Vec<String>,
}

impl Device {
    /// What the renderer has, where something draws.
    pub fn renderer(&self) -> Option<RendererInfo> {
        let state = self.lock();
        let capsets = state.renderer.as_ref()?.capsets().iter();
        Some(RendererInfo {
            capsets: capsets.map(|capset| (capset.id, capset.version)).collect(),
            contexts: state.contexts.values().filter(|context| context.draws).count(),
            resources: state.resources.values().filter(|resource| resource.rendered.is_some()).count(),
            refused: state.renderer_refused.iter().cloned().collect(),
        })
    }

    /// Every context, by number.
    pub fn contexts(&self) -> Vec<ContextInfo> {
        let state = self.lock();
        let mut made: BTreeMap<u32, usize> = BTreeMap::new();
        for resource in state.resources.values() {
            *made.entry(resource.owner).or_default() += 1;
        }
        let describe = |(id, context): (&u32, &Context)| {
            let (commands, refused) = context.protocol.counts();
            ContextInfo {
                id: *id,
                name: context.name.clone(),
                capset_id: context.capset_id,
                objects: context.protocol.object_count(),
                resources: made.get(id).copied().unwrap_or(0),
                attached: context.attached.len(),
                held: context.account.used(),
                commands,
                refused,
            }
        };
        state.contexts.iter().map(describe).collect()
    }

    /// Every resource, by number.
    pub fn resources(&self) -> Vec<ResourceInfo> {
        let state = self.lock();
        state.resources.iter().map(|(id, resource)| resource.describe(*id)).collect()
    }

    /// The bytes of a resource as the host sees them: from its image, or from the guest's pages in place.
    ///
    /// # Errors
    /// [`DeviceError`] when there is no such resource or its bytes can't be read.
    pub fn read_resource(&self, resource_id: u32, offset: u64, buffer: &mut [u8]) -> Result<(), DeviceError> {
        let state = self.lock();
        let resource = state.resources.get(&resource_id).ok_or(DeviceError::UnknownResource(resource_id))?;
        resource.read(&*self.memory, offset, buffer).map_err(|error| unreadable(resource_id, error))
    }

    /// The picture in a resource that has a layout, as the driver sees it whose image it is: sampled or copied by the GPU; of plain
    /// memory, what its bytes say.
    ///
    /// # Errors
    /// [`DeviceError`] when there is no such resource or it is no picture.
    pub fn picture(&self, resource_id: u32) -> Result<Picture, DeviceError> {
        let order = self.window_order();
        let (image, layout, order) = {
            let state = self.lock();
            let resource = state.resources.get(&resource_id).ok_or(DeviceError::UnknownResource(resource_id))?;
            let layout = resource.layout.ok_or_else(|| unreadable(resource_id, "it has no layout"))?;
            // The renderer knows it by its number, which nobody else may get meanwhile.
            (resource.image.clone(), layout, (resource.made_of == Backing::Renderer).then_some(order))
        };
        // Without the lock: the guest goes on while the GPU works.
        let seen = image.map(|image| image.picture(&layout));
        drop(order);
        match seen {
            Some(Ok(Some(picture))) => Ok(picture),
            Some(Err(error)) => Err(unreadable(resource_id, error)),
            _ => self.read_picture(|_| Ok(Scanout { resource_id, region: layout.whole(), layout })),
        }
    }

    /// What a screen shows: the part of its resource that the guest has put there, as the guest has last written it.
    ///
    /// # Errors
    /// [`DeviceError::Dark`] when the screen shows nothing, else as [`picture`](Self::picture).
    pub fn screenshot(&self, scanout: usize) -> Result<Picture, DeviceError> {
        self.read_picture(|state| state.scanouts.get(scanout).copied().ok_or(DeviceError::Dark(scanout)))
    }

    /// What a screen shows, with the guest's cursor over it. A cursor that can't be read is left out.
    ///
    /// # Errors
    /// As [`screenshot`](Self::screenshot).
    pub fn screenshot_with_cursor(&self, scanout: usize) -> Result<Picture, DeviceError> {
        // Both under one lock: a picture of one moment.
        let (screen, cursor) = {
            let state = self.lock();
            let shown = state.scanouts.get(scanout).copied().ok_or(DeviceError::Dark(scanout))?;
            let cursor = state.scanouts.cursor(scanout, &state.resources);
            (self.read_part(&state, shown)?, cursor.map(|(image, at)| (self.read_part(&state, image), at)))
        };
        let mut picture = screen.decode()?;
        if let Some((image, at)) = cursor {
            match image.and_then(Part::decode) {
                Ok(image) => picture.draw_over(&image, at.x, at.y),
                Err(error) => log::debug!("the cursor of screen {scanout}: {error}"),
            }
        }
        Ok(picture)
    }

    /// Reads the part of a resource that `choose` names, in the layout that it names.
    fn read_picture(&self, choose: impl FnOnce(&State) -> Result<Scanout, DeviceError>) -> Result<Picture, DeviceError> {
        let part = {
            let state = self.lock();
            self.read_part(&state, choose(&state)?)?
        };
        // Without the lock: the guest goes on while its pixels are turned.
        part.decode()
    }

    fn read_part(&self, state: &State, chosen: Scanout) -> Result<Part, DeviceError> {
        let id = chosen.resource_id;
        let resource = state.resources.get(&id).ok_or(DeviceError::UnknownResource(id))?;
        // Only drivers know how these lie; and what the renderer has drawn may lie in another way than the guest says.
        let is_seen = match resource.layout {
            Some(layout) if resource.made_of == Backing::Renderer => layout.whole() == chosen.layout.whole(),
            layout => layout == Some(chosen.layout) && chosen.layout.modifier != Modifier::LINEAR,
        };
        if let Some(image) = resource.image.as_ref().filter(|_| is_seen)
            && let Some(picture) = image.picture(&chosen.layout).map_err(|error| unreadable(id, error))?
        {
            return Ok(Part { chosen, pixels: Pixels::Seen(picture) });
        }
        let length = Picture::bytes_needed(&chosen.layout).map_err(|error| unreadable(id, error))?;
        let mut bytes = vec![0; length];
        resource.read(&*self.memory, 0, &mut bytes).map_err(|error| unreadable(id, error))?;
        Ok(Part { chosen, pixels: Pixels::Bytes(bytes) })
    }

    /// A descriptor for a resource, which may leave the host: of its image, or where it is a guest blob, of the guest's pages.
    ///
    /// # Errors
    /// [`DeviceError`] when there is no such resource, the driver refuses, or the guest's memory is no file that udmabuf takes.
    pub fn export(&self, resource_id: u32) -> Result<Export, DeviceError> {
        // No image moves or goes meanwhile: others may not get its place while it is exported.
        let _order = self.window_order();
        let source = {
            let state = self.lock();
            let resource = state.resources.get(&resource_id).ok_or(DeviceError::UnknownResource(resource_id))?;
            match (resource.image(), &resource.backing) {
                (Some(image), _) => Source::Image(image.clone()),
                (None, Some(backing)) => {
                    let pieces = backing.files(&*self.memory).map_err(|error| unreadable(resource_id, error))?;
                    Source::GuestPages(pieces)
                }
                (None, None) => return Err(unreadable(resource_id, "it has no memory")),
            }
        };
        let exported = match source {
            Source::Image(image) => image.export(),
            Source::GuestPages(pieces) => self.guest_pages.export(&pieces).map(|fd| Export { fd, kind: ExportKind::DmaBuf }),
        };
        exported.map_err(|error| unreadable(resource_id, error))
    }
}

/// What an export is made of.
enum Source {
    Image(Arc<dyn Image>),
    GuestPages(Vec<FilePiece>),
}

/// The pixels of a resource, and which part of them is wanted.
struct Part {
    chosen: Scanout,
    pixels: Pixels,
}

/// What was read of a resource.
enum Pixels {
    Bytes(Vec<u8>),
    /// Where only the driver knows how texels lie.
    Seen(Picture),
}

impl Part {
    fn decode(self) -> Result<Picture, DeviceError> {
        let Scanout { resource_id, region, layout } = self.chosen;
        let picture = match self.pixels {
            Pixels::Bytes(bytes) => Picture::decode(&layout, &bytes).map_err(|error| unreadable(resource_id, error))?,
            Pixels::Seen(picture) => picture,
        };
        Ok(picture.crop(region))
    }
}

fn unreadable(resource_id: u32, why: impl ToString) -> DeviceError {
    DeviceError::Unreadable { resource_id, why: why.to_string() }
}
