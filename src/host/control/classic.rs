//! Resources that are no blobs: textures of the renderer, or images of plain memory where nothing draws; their pages, and the
//! transfers between both.

use super::{Request, State};
use crate::host::context::virgl;
use crate::host::renderer::{RenderError, draws_virgl};
use crate::host::resolver::Parameters;
use crate::host::resource::{Resource, ResourceKind, find};
use crate::host::transfer::{Direction, GuestRows, transfer};
use crate::host::{CommandError, GuestMemory};
use crate::layout::Region;
use crate::wire::alloc;
use crate::wire::virgl::{BIND_RENDER_TARGET, PipeResourceCreate, RESOURCE_Y_0_TOP};
use crate::wire::virtio_gpu as wire;
use crate::{Alignment, BufferRequest, Format, Layout, Usage};

/// The bytes of a texel in the largest format that is not in the table.
const LARGEST_TEXEL_BYTES: u64 = 16;

impl State {
    pub(super) fn create_2d(&mut self, request: &Request<'_>) -> Result<(), CommandError> {
        let (body, _) = request.body::<wire::ResourceCreate2d>()?;
        if self.renderer.as_deref().is_some_and(draws_virgl) {
            return self.create_texture(body.resource_id.get(), &flat_texture(&body));
        }
        let number = body.format.get();
        let format = Format::from_virtio_2d(number);
        let format = format.ok_or(CommandError::Parameter { what: "2D format", value: number.into() })?;
        let asked = BufferRequest::new(format, body.width.get(), body.height.get(), Usage::SCANOUT);
        let layout = Layout::linear(&asked, Alignment::PACKED)?;
        self.create_classic(body.resource_id.get(), &asked, layout)
    }

    pub(super) fn create_3d(&mut self, request: &Request<'_>) -> Result<(), CommandError> {
        let (body, _) = request.body::<wire::ResourceCreate3d>()?;
        if self.renderer.as_deref().is_some_and(draws_virgl) {
            return self.create_texture(body.resource_id.get(), &body.into());
        }
        let (asked, layout) = virgl::texture(&body.into())?;
        self.create_classic(body.resource_id.get(), &asked, layout)
    }

    /// A texture or buffer of the renderer.
    fn create_texture(&mut self, id: u32, texture: &PipeResourceCreate) -> Result<(), CommandError> {
        let size_bytes = texture_bytes(texture);
        let charge = self.new_resource(id, size_bytes, 0)?;
        let renderer = self.renderer.as_ref().ok_or(RenderError::Ended)?;
        let (rendered, layout) = renderer.texture(id, texture)?;
        let classic = Resource::new(ResourceKind::Classic, alloc::Backing::Renderer, size_bytes, charge);
        let resource = Resource { layout, image: Some(rendered.clone()), rendered: Some(rendered), ..classic };
        self.resources.insert(id, resource);
        Ok(())
    }

    /// An image whose rows have no padding, as transfers of the 2D commands want them.
    fn create_classic(&mut self, id: u32, asked: &BufferRequest, layout: Layout) -> Result<(), CommandError> {
        let charge = self.new_resource(id, layout.size_bytes, 1)?;
        let resolver = self.resolvers.memory()?;
        let parameters = Parameters::Image { request: asked, layout: &layout };
        let allocation = resolver.allocate(&parameters, layout.size_bytes)?;
        let classic = Resource::new(ResourceKind::Classic, resolver.backing(), layout.size_bytes, charge);
        let resource = Resource { layout: Some(layout), image: Some(allocation.image), ..classic };
        self.resources.insert(id, resource);
        Ok(())
    }

    pub(super) fn attach_backing(&mut self, request: &Request<'_>, memory: &dyn GuestMemory) -> Result<(), CommandError> {
        let (body, rest) = request.body::<wire::AttachBacking>()?;
        let resource_id = body.resource_id.get();
        let resource = find(&mut self.resources, resource_id)?;
        if resource.kind != ResourceKind::Classic {
            return Err(CommandError::State { resource_id, why: "a blob's pages come with it" });
        }
        if resource.backing.is_some() {
            return Err(CommandError::State { resource_id, why: "it has a backing already" });
        }
        let backing = self.read_backing(rest, body.nr_entries.get(), 1, memory)?;
        let resource = find(&mut self.resources, resource_id)?;
        if let Some(rendered) = &resource.rendered {
            rendered.attach_pages(backing.host_pages(memory).ok_or(RenderError::NoPages)?)?;
        }
        resource.backing = Some(backing);
        Ok(())
    }

    pub(super) fn detach_backing(&mut self, request: &Request<'_>) -> Result<(), CommandError> {
        let (body, _) = request.body::<wire::ResourceId>()?;
        let resource_id = body.resource_id.get();
        let resource = find(&mut self.resources, resource_id)?;
        // Also of a guest blob: Linux detaches the pages of a foreign dma-buf that it has imported before it frees the blob.
        if matches!(resource.kind, ResourceKind::Host { .. }) || resource.backing.take().is_none() {
            return Err(CommandError::State { resource_id, why: "it has no backing to detach" });
        }
        // The pages are the guest's again.
        if let Some(rendered) = &resource.rendered {
            rendered.detach_pages();
        }
        resource.imported = None;
        Ok(())
    }

    pub(super) fn transfer_2d(&mut self, request: &Request<'_>, memory: &dyn GuestMemory) -> Result<(), CommandError> {
        let (body, _) = request.body::<wire::TransferToHost2d>()?;
        let wire::Rect { x, y, width, height } = body.rect;
        let region = Region { x: x.get(), y: y.get(), width: width.get(), height: height.get() };
        let rows = GuestRows { offset: body.offset.get(), stride: 0 };
        let id = body.resource_id.get();
        let resource = find(&mut self.resources, id)?;
        // The Linux driver sends it for the dumb buffers that it makes of guest blobs, whose pages are read in place.
        if resource.kind == ResourceKind::Guest {
            return Ok(());
        }
        if let Some(rendered) = &resource.rendered {
            let area = wire::Box3d { x, y, w: width, h: height, d: 1.into(), ..wire::Box3d::default() };
            let body = wire::TransferHost3d { area, offset: body.offset, resource_id: body.resource_id, ..Default::default() };
            return Ok(rendered.transfer(Direction::ToHost, 0, &body)?);
        }
        transfer(resource, id, region, rows, Direction::ToHost, memory)
    }

    pub(super) fn transfer_3d(
        &mut self,
        request: &Request<'_>,
        direction: Direction,
        memory: &dyn GuestMemory,
    ) -> Result<(), CommandError> {
        let (body, _) = request.body::<wire::TransferHost3d>()?;
        let (resource_id, ctx_id) = (body.resource_id.get(), request.ctx_id());
        let context = self.context(ctx_id)?;
        if !context.attached.contains(&resource_id) {
            return Err(CommandError::NotAttached { resource_id, ctx_id });
        }
        let drawing_ctx = if context.draws { ctx_id } else { 0 };
        let resource = find(&mut self.resources, resource_id)?;
        let is_its_own = drawing_ctx != 0 || resource.kind == ResourceKind::Classic;
        if let Some(rendered) = resource.rendered.as_ref().filter(|_| is_its_own) {
            return Ok(rendered.transfer(direction, drawing_ctx, &body)?);
        }
        let wire::Box3d { x, y, z, w, h, d } = body.area;
        if z.get() != 0 || d.get() > 1 {
            return Err(CommandError::Parameter { what: "depth of a transfer", value: d.get().into() });
        }
        let region = Region { x: x.get(), y: y.get(), width: w.get(), height: h.get() };
        // No texture has levels, and guests whose kernel does not pass on a stride say it as the level.
        let stride = if body.stride.get() == 0 { body.level } else { body.stride };
        let rows = GuestRows { offset: body.offset.get(), stride: stride.get() };
        transfer(find(&mut self.resources, resource_id)?, resource_id, region, rows, direction, memory)
    }
}

/// The texture of a RESOURCE_CREATE_2D.
fn flat_texture(body: &wire::ResourceCreate2d) -> PipeResourceCreate {
    PipeResourceCreate {
        target: wire::TARGET_TEXTURE_2D.into(),
        format: body.format,
        bind: BIND_RENDER_TARGET.into(),
        width: body.width,
        height: body.height,
        depth: 1.into(),
        array_size: 1.into(),
        flags: RESOURCE_Y_0_TOP.into(),
        ..PipeResourceCreate::default()
    }
}

/// What a texture counts as in the quota, in bytes: the driver does not tell what it takes.
fn texture_bytes(texture: &PipeResourceCreate) -> u64 {
    let texel_bytes = match Format::from_virgl(texture.format.get()) {
        _ if texture.target.get() == wire::TARGET_BUFFER => 1,
        Some(format) => format.planes().iter().map(|plane| u64::from(plane.block_bytes)).sum(),
        None => LARGEST_TEXEL_BYTES,
    };
    let counts = [texture.width, texture.height, texture.depth, texture.array_size, texture.nr_samples];
    counts.iter().fold(texel_bytes, |bytes, count| bytes.saturating_mul(count.get().max(1).into()))
}
