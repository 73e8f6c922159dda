//! [`Drawing`]: a context that a renderer of the host draws for. What the guest says goes to the renderer as it is.

use super::alloc::ClaimAnswer;
use super::{BlobClaim, Host, Protocol, Services};
use crate::host::CommandError;
use crate::host::GuestMemory;
use crate::host::dma_buf::GuestPages;
use crate::host::object::Object;
use crate::host::quota::Amount;
use crate::host::renderer::{BlobParameters, Foreign, RenderContext, RenderError};
use crate::host::resolver::{Allocation, Export, ExportKind};
use crate::host::resource::Resource;
use crate::wire::alloc::Backing;
use crate::wire::virtio_gpu::BLOB_MEM_HOST3D;

/// One context of a capset of the renderer.
pub(in crate::host) struct Drawing {
    context: Box<dyn RenderContext>,
    commands: u64,
    refused: u64,
}

impl Drawing {
    pub fn new(context: Box<dyn RenderContext>) -> Self {
        Self { context, commands: 0, refused: 0 }
    }

    /// Counts what was refused.
    fn counted<T>(&mut self, result: Result<T, CommandError>) -> Result<T, CommandError> {
        self.commands += 1;
        self.refused += u64::from(result.is_err());
        result
    }
}

impl Protocol for Drawing {
    fn submit(&mut self, stream: &[u8], _: &mut Services<'_>) -> Result<(), CommandError> {
        let submitted = self.context.submit(stream).map_err(CommandError::from);
        self.counted(submitted)
    }

    /// Its blobs are the renderer's, also those without a name.
    fn claim(&mut self, claim: BlobClaim, services: &Services<'_>) -> Result<Object, CommandError> {
        let BlobClaim { resource_id, blob_mem, blob_id, size, flags } = claim;
        // Before the renderer hears of it: it would replace what it has under that number.
        if resource_id == 0 || services.host.resources.contains_key(&resource_id) {
            return Err(CommandError::ResourceInUse(resource_id));
        }
        if blob_mem != BLOB_MEM_HOST3D {
            return self.counted(Err(RenderError::BlobKind(blob_mem).into()));
        }
        let charge = services.account.charge(Amount { bytes: size, objects: 1, fds: 1 })?;
        let made = self.context.blob(&BlobParameters { resource_id, blob_id, size_bytes: size, flags });
        let (rendered, layout) = self.counted(made.map_err(CommandError::from))?;
        Ok(Object {
            allocation: Allocation { image: rendered.clone(), layout },
            rendered: Some(rendered),
            backing: Backing::Renderer,
            name: String::new(),
            blob_size: size,
            blob_flags: flags,
            at_claim: None,
            charge,
        })
    }

    /// No command asks for that.
    fn answer_claim(&mut self, _: ClaimAnswer, _: &Services<'_>) {}

    /// Tells the renderer of a resource that it does not know yet, which only then exists for its contexts.
    fn resource_came(&mut self, resource_id: u32, services: &mut Services<'_>) -> Result<(), CommandError> {
        let Host { memory, guest_pages, renderer, ref mut resources, .. } = services.host;
        let resource = resources.get_mut(&resource_id).ok_or(CommandError::UnknownResource(resource_id))?;
        if let Some(rendered) = &resource.rendered {
            return Ok(self.context.attach(resource_id, &**rendered)?);
        }
        let renderer = renderer.ok_or(RenderError::Ended)?;
        let charge = services.account.charge(Amount { bytes: 0, objects: 1, fds: 1 })?;
        let rendered = renderer.adopt(resource_id, foreign(resource, memory, guest_pages)?, resource.size_bytes)?;
        resource.rendered = Some(rendered.clone());
        resource.adoption = Some(charge);
        Ok(self.context.attach(resource_id, &*rendered)?)
    }

    fn resource_left(&mut self, resource_id: u32) {
        self.context.detach(resource_id);
    }

    fn counts(&self) -> (u64, u64) {
        (self.commands, self.refused)
    }

    /// The renderer does not tell.
    fn object_count(&self) -> usize {
        0
    }
}

/// A resource of another component as the renderer takes it: its image, or else the guest's pages, as a dma-buf where they can be one.
fn foreign(resource: &Resource, memory: &dyn GuestMemory, guest_pages: &GuestPages) -> Result<Foreign, CommandError> {
    if let Some(image) = resource.image() {
        return Ok(Foreign::Exported(image.export()?));
    }
    let backing = resource.backing.as_ref().ok_or(RenderError::NoPages)?;
    match backing.files(memory).and_then(|pieces| Ok(guest_pages.export(&pieces)?)) {
        Ok(fd) => Ok(Foreign::Exported(Export { fd, kind: ExportKind::DmaBuf })),
        Err(why) => {
            log::debug!("guest pages go to the renderer in place: {why}");
            Ok(Foreign::Pages(backing.host_pages(memory).ok_or(RenderError::NoPages)?))
        }
    }
}
