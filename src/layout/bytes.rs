//! A layout on the wire.

use super::{Layout, LayoutError, Plane, Planes};
use crate::wire::alloc::{LayoutBody, PlaneBody};
use crate::{Format, Modifier};

impl From<&Layout> for LayoutBody {
    fn from(layout: &Layout) -> Self {
        let mut body = Self {
            fourcc: layout.format.fourcc().into(),
            width: layout.width.into(),
            height: layout.height.into(),
            layers: layout.layers.into(),
            plane_count: (layout.planes.len() as u32).into(),
            modifier: layout.modifier.value().into(),
            layer_stride: layout.layer_stride_bytes.into(),
            size: layout.size_bytes.into(),
            ..Self::default()
        };
        for (slot, plane) in body.planes.iter_mut().zip(layout.planes.iter()) {
            *slot = PlaneBody {
                stride: plane.stride_bytes.into(),
                offset: plane.offset_bytes.into(),
                size: plane.size_bytes.into(),
                ..PlaneBody::default()
            };
        }
        body
    }
}

impl TryFrom<&LayoutBody> for Layout {
    type Error = LayoutError;

    /// The layout that another party reports, checked.
    fn try_from(body: &LayoutBody) -> Result<Self, LayoutError> {
        let format = Format::from_fourcc(body.fourcc.get());
        let modifier = Modifier::new(body.modifier.get());
        let planes = body.planes.map(|plane| Plane {
            stride_bytes: plane.stride.get(),
            offset_bytes: plane.offset.get(),
            size_bytes: plane.size.get(),
        });
        let found = body.plane_count.get() as usize;
        let wrong_count = LayoutError::PlaneCount { format, modifier, found, expected: format.planes().len() };
        let planes = planes.get(..found).and_then(Planes::new).ok_or(wrong_count)?;
        let layout = Self {
            format,
            width: body.width.get(),
            height: body.height.get(),
            layers: body.layers.get(),
            modifier,
            planes,
            layer_stride_bytes: body.layer_stride.get(),
            size_bytes: body.size.get(),
        };
        layout.check()?;
        Ok(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alignment, BufferRequest, Usage};

    fn body() -> LayoutBody {
        let request = BufferRequest::new(Format::NV12, 1279, 719, Usage::TEXTURE).with_layers(2);
        LayoutBody::from(&Layout::linear(&request, Alignment::PACKED).unwrap())
    }

    #[test]
    fn a_layout_survives_the_wire() {
        let layout = Layout::try_from(&body()).unwrap();
        assert_eq!(LayoutBody::from(&layout), body());
        assert_eq!((layout.format, layout.layers, layout.planes.len()), (Format::NV12, 2, 2));
    }

    #[test]
    fn a_reported_layout_is_checked_when_it_is_read() {
        let five_planes = LayoutBody { plane_count: 5.into(), ..body() };
        assert!(matches!(Layout::try_from(&five_planes), Err(LayoutError::PlaneCount { found: 5, .. })));
        let small = LayoutBody { size: 100.into(), ..body() };
        assert!(matches!(Layout::try_from(&small), Err(LayoutError::LayersOutside { .. })));
    }
}
