//! [`Scanouts`]: what the guest shows.

mod cursor;

use super::resource::{Resources, find};
use super::{CommandError, edid};
use crate::layout::Region;
use crate::wire::virtio_gpu as wire;
use crate::{Format, Layout, Modifier, Plane, Planes};
pub(super) use cursor::Cursor;

/// A part of a resource on a screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanout {
    pub resource_id: u32,
    pub region: Region,
    /// Where the resource's bytes lie, as the guest said or as the host made it.
    pub layout: Layout,
}

/// The screens of a device, by number.
#[derive(Debug)]
pub(super) struct Scanouts {
    sizes: Vec<(u32, u32)>,
    shown: Vec<Option<Scanout>>,
    cursors: Vec<Cursor>,
}

impl Scanouts {
    /// Screens of these sizes in pixels, dark.
    pub fn new(sizes: Vec<(u32, u32)>) -> Self {
        let count = sizes.len();
        Self { sizes, shown: vec![None; count], cursors: vec![Cursor::default(); count] }
    }

    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    pub fn get(&self, index: usize) -> Option<&Scanout> {
        self.shown.get(index)?.as_ref()
    }

    /// GET_DISPLAY_INFO.
    pub fn display_info(&self) -> wire::DisplayInfo {
        let mut info = wire::DisplayInfo::default();
        for (mode, (width, height)) in info.modes.iter_mut().zip(&self.sizes) {
            mode.rect.width = (*width).into();
            mode.rect.height = (*height).into();
            mode.enabled = 1.into();
        }
        info
    }

    /// GET_EDID.
    pub fn edid(&self, index: u32) -> Result<wire::Edid, CommandError> {
        let (width, height) = *self.sizes.get(index as usize).ok_or(CommandError::UnknownScanout(index))?;
        let block = edid::base_block(width, height).ok_or(CommandError::NoEdid { width, height })?;
        let mut reply = wire::Edid { size: (edid::BLOCK_BYTES as u32).into(), ..wire::Edid::default() };
        for (to, from) in reply.edid.iter_mut().zip(block) {
            *to = from;
        }
        Ok(reply)
    }

    /// Shows nothing anywhere, as on a reset.
    pub fn clear(&mut self) {
        self.shown.fill(None);
        self.cursors.fill(Cursor::default());
    }

    /// A resource is gone: screens that showed it are dark, and cursors that it was are hidden.
    pub fn forget(&mut self, resource_id: u32) {
        for shown in &mut self.shown {
            *shown = shown.filter(|scanout| scanout.resource_id != resource_id);
        }
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.resource_id == resource_id) {
            cursor.resource_id = 0;
        }
    }

    /// SET_SCANOUT: a resource whose layout the host knows.
    pub fn set(&mut self, body: &wire::SetScanout, resources: &mut Resources) -> Result<(), CommandError> {
        let resource_id = body.resource_id.get();
        if resource_id == 0 {
            return self.show(body.scanout_id.get(), None);
        }
        let layout = find(resources, resource_id)?.layout;
        let layout = layout.ok_or(CommandError::State { resource_id, why: "it has no layout" })?;
        self.show(body.scanout_id.get(), Some(Scanout { resource_id, region: region(&body.rect), layout }))
    }

    /// SET_SCANOUT_BLOB: a resource whose layout the guest says.
    pub fn set_blob(&mut self, body: &wire::SetScanoutBlob, resources: &mut Resources) -> Result<(), CommandError> {
        let resource_id = body.resource_id.get();
        if resource_id == 0 {
            return self.show(body.scanout_id.get(), None);
        }
        let size_bytes = find(resources, resource_id)?.size_bytes;
        let layout = blob_layout(body, size_bytes)?;
        self.show(body.scanout_id.get(), Some(Scanout { resource_id, region: region(&body.rect), layout }))
    }

    fn show(&mut self, index: u32, scanout: Option<Scanout>) -> Result<(), CommandError> {
        let shown = self.shown.get_mut(index as usize).ok_or(CommandError::UnknownScanout(index))?;
        if let Some(Scanout { resource_id, region, layout }) = scanout
            && layout.plane_region(0, region).is_none()
        {
            return Err(CommandError::State { resource_id, why: "the rectangle is not inside it" });
        }
        *shown = scanout;
        Ok(())
    }

    /// The cursor's image on a screen, and where it is. `None` while it is hidden or its resource is no image.
    pub fn cursor(&self, index: usize, resources: &Resources) -> Option<(Scanout, Cursor)> {
        let cursor = *self.cursors.get(index)?;
        let resource_id = cursor.resource_id;
        let layout = cursor::image_layout(resources.get(&resource_id)?)?;
        Some((Scanout { resource_id, region: layout.whole(), layout }, cursor))
    }

    /// UPDATE_CURSOR: shows a resource as the cursor, or hides it.
    pub fn set_cursor(&mut self, body: &wire::Cursor, resources: &mut Resources) -> Result<(), CommandError> {
        let cursor = self.cursor_mut(body)?;
        let resource_id = body.resource_id.get();
        if resource_id != 0 {
            find(resources, resource_id)?;
        }
        *cursor = Cursor::new(resource_id, body);
        Ok(())
    }

    /// MOVE_CURSOR: the image stays, whatever resource the command names.
    pub fn move_cursor(&mut self, body: &wire::Cursor) -> Result<(), CommandError> {
        let cursor = self.cursor_mut(body)?;
        *cursor = Cursor::new(cursor.resource_id, body);
        Ok(())
    }

    fn cursor_mut(&mut self, body: &wire::Cursor) -> Result<&mut Cursor, CommandError> {
        let index = body.scanout_id.get();
        self.cursors.get_mut(index as usize).ok_or(CommandError::UnknownScanout(index))
    }
}

fn region(rect: &wire::Rect) -> Region {
    Region { x: rect.x.get(), y: rect.y.get(), width: rect.width.get(), height: rect.height.get() }
}

/// The layout in a SET_SCANOUT_BLOB, which knows one plane of the 2D formats, checked against the blob.
fn blob_layout(body: &wire::SetScanoutBlob, size_bytes: u64) -> Result<Layout, CommandError> {
    let number = body.format.get();
    let format = Format::from_virtio_2d(number);
    let format = format.ok_or(CommandError::Parameter { what: "scanout format", value: number.into() })?;
    let ([stride_bytes, ..], [offset_bytes, ..]) = (body.strides.map(|s| s.get()), body.offsets.map(|o| u64::from(o.get())));
    let plane = Plane { stride_bytes, offset_bytes, size_bytes: size_bytes.saturating_sub(offset_bytes) };
    let layout = Layout {
        format,
        width: body.width.get(),
        height: body.height.get(),
        layers: 1,
        modifier: Modifier::LINEAR,
        planes: Planes::new(&[plane]).unwrap_or_default(),
        layer_stride_bytes: size_bytes,
        size_bytes,
    };
    layout.check()?;
    Ok(layout)
}

#[cfg(test)]
mod tests;
