//! [`Cursor`]: what the guest points with.

use crate::host::resource::Resource;
use crate::wire::virtio_gpu as wire;
use crate::{Alignment, BufferRequest, Component, ComponentKind, Format, FormatInfo, Layout, Usage};

/// The device protocol's size for a cursor's image, in pixels a side.
const SIDE: u32 = 64;

/// The cursor of one screen. Its hot spot is not kept: the position is that of the image's corner. Linux sends where the cursor's
/// plane starts, and QEMU adds the hot spot to it where a viewer wants the point itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::host) struct Cursor {
    /// Its image, 0 while it is hidden.
    pub resource_id: u32,
    /// The image's left edge on the screen; below 0 when it is cut.
    pub x: i32,
    /// The image's upper edge.
    pub y: i32,
}

impl Cursor {
    /// A resource where the command says. Its unsigned numbers carry signed ones, as Linux has them.
    pub fn new(resource_id: u32, command: &wire::Cursor) -> Self {
        Self { resource_id, x: command.x.get().cast_signed(), y: command.y.get().cast_signed() }
    }
}

/// How a resource is read as a cursor. `None` when it is plain memory that is too short for one.
pub(super) fn image_layout(resource: &Resource) -> Option<Layout> {
    if let Some(layout) = resource.layout {
        return Some(Layout { format: with_alpha(layout.format), ..layout });
    }
    // A blob of guest pages, which Linux makes of a dumb buffer where it can: the protocol fixes what is in it.
    let usual = Layout::linear(&BufferRequest::new(Format::ARGB8888, SIDE, SIDE, Usage::CURSOR), Alignment::PACKED).ok()?;
    (usual.size_bytes <= resource.size_bytes).then_some(usual)
}

/// The format that has alpha where this one has unused bits. Linux makes each dumb buffer without alpha, but a cursor has it.
fn with_alpha(format: Format) -> Format {
    let opaque = |component: &Component| match component.kind {
        ComponentKind::X => Component { kind: ComponentKind::A, ..*component },
        _ => *component,
    };
    let fits = |info: &&FormatInfo| match (format.info(), info.planes) {
        (Some(FormatInfo { class, planes: [ours], .. }), [theirs]) => {
            *class == info.class && ours.components.iter().map(opaque).eq(theirs.components.iter().copied())
        }
        _ => false,
    };
    Format::all().iter().filter_map(|format| format.info()).find(fits).map_or(format, |info| info.format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_bits_are_alpha_and_everything_else_stays() {
        for (without, with) in [
            (Format::XRGB8888, Format::ARGB8888),
            (Format::XBGR8888, Format::ABGR8888),
            (Format::RGBX8888, Format::RGBA8888),
            (Format::BGRX8888, Format::BGRA8888),
            (Format::XRGB16161616F, Format::ARGB16161616F),
            (Format::ARGB8888, Format::ARGB8888),
            (Format::RGB565, Format::RGB565),
            (Format::NV12, Format::NV12),
            (Format::from_fourcc(7), Format::from_fourcc(7)),
        ] {
            assert_eq!(with_alpha(without), with);
        }
    }
}
