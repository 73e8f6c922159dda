//! A dma-buf of others: what is checked of it before a driver sees it, since drivers believe what they are told.

use super::{ImageRefused, ResolveError};
use crate::sys::dmabuf;
use crate::{BufferRequest, Layout, LayoutError, Modifier};
use rustix::fs::SeekFrom;
use std::os::fd::BorrowedFd;

/// Checks that a descriptor is a dma-buf with `size_bytes` at least, and that the picture of a request lies in these as its layout
/// says. Gives the dma-buf's real size.
///
/// # Errors
/// [`ResolveError::Image`] and [`ResolveError::Layout`], which say what does not hold.
pub fn check(fd: BorrowedFd<'_>, request: &BufferRequest, layout: &Layout, size_bytes: u64) -> Result<u64, ResolveError> {
    check_layout(request, layout)?;
    let real_bytes = dma_buf_bytes(fd)?;
    let needed_bytes = layout.size_bytes.max(size_bytes);
    if needed_bytes > real_bytes {
        return Err(ImageRefused::Size { blob_bytes: real_bytes, image_bytes: needed_bytes }.into());
    }
    Ok(real_bytes)
}

/// How large a dma-buf really is.
///
/// # Errors
/// [`ImageRefused::Descriptor`] for any other descriptor; drivers have handed out memfds.
pub fn dma_buf_bytes(fd: BorrowedFd<'_>) -> Result<u64, ImageRefused> {
    if !dmabuf::is_dma_buf(fd) {
        return Err(ImageRefused::Descriptor("it is no dma-buf"));
    }
    rustix::fs::seek(fd, SeekFrom::End(0)).map_err(|_| ImageRefused::Descriptor("it does not tell its size"))
}

fn check_layout(request: &BufferRequest, layout: &Layout) -> Result<(), ResolveError> {
    request.check().map_err(LayoutError::from)?;
    layout.check()?;
    let BufferRequest { format, width, height, layers, .. } = *request;
    if (layout.format, layout.width, layout.height, layout.layers) != (format, width, height, layers) {
        return Err(ImageRefused::Descriptor("its layout is of another picture").into());
    }
    if layout.modifier == Modifier::INVALID || !request.accepts(layout.modifier) {
        return Err(ImageRefused::Modifier(1).into());
    }
    if layout.modifier != Modifier::LINEAR {
        return Ok(());
    }
    for (plane, (place, format)) in layout.planes.iter().zip(format.planes()).enumerate() {
        // Blocks of three bytes have strides of whole cache lines, which split some.
        let block = if format.block_bytes.is_power_of_two() { u64::from(format.block_bytes) } else { 1 };
        for (what, value) in [("stride", place.stride_bytes.into()), ("offset", place.offset_bytes)] {
            if !value.is_multiple_of(block) {
                return Err(ImageRefused::Plane { plane, what, value, why: "it splits a block of texels" }.into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memfd;
    use crate::{Alignment, Format, Plane, Planes, Usage};
    use std::os::fd::AsFd;

    fn nv12() -> (BufferRequest, Layout) {
        let request = BufferRequest::new(Format::NV12, 65, 33, Usage::TEXTURE);
        let layout = Layout::linear(&request, Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 }).unwrap();
        (request, layout)
    }

    fn moved(layout: Layout, index: usize, change: impl FnOnce(&mut Plane)) -> Layout {
        let mut planes = layout.planes.to_vec();
        change(&mut planes[index]);
        Layout { planes: Planes::new(&planes).unwrap(), ..layout }
    }

    #[test]
    fn a_descriptor_that_is_no_dma_buf_is_refused_as_one() {
        let (request, layout) = nv12();
        let memfd = memfd::sealed(1 << 20).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        for fd in [memfd.as_fd(), null.as_fd()] {
            let refused = check(fd, &request, &layout, 4096).unwrap_err();
            assert!(matches!(refused, ResolveError::Image(ImageRefused::Descriptor("it is no dma-buf"))), "{refused}");
        }
    }

    #[test]
    fn a_layout_must_be_of_the_picture_and_hold() {
        let (request, layout) = nv12();
        assert!(check_layout(&request, &layout).is_ok());
        let bad = |layout: Layout| check_layout(&request, &layout).unwrap_err();
        assert!(matches!(bad(Layout { width: 66, ..layout }), ResolveError::Image(ImageRefused::Descriptor(_))));
        assert!(matches!(bad(Layout { modifier: Modifier::INVALID, ..layout }), ResolveError::Image(ImageRefused::Modifier(1))));
        let overlap = moved(layout, 1, |plane| plane.offset_bytes = 0);
        assert!(matches!(bad(overlap), ResolveError::Layout(LayoutError::Overlap(0, 1))));
        let short = moved(layout, 0, |plane| plane.stride_bytes = 64);
        assert!(matches!(bad(short), ResolveError::Layout(LayoutError::Stride { plane: 0, .. })));
        let outside = moved(layout, 1, |plane| plane.offset_bytes = 1 << 40);
        assert!(matches!(bad(outside), ResolveError::Layout(LayoutError::PlaneOutside { plane: 1, .. })));
        let odd = moved(layout, 1, |plane| plane.stride_bytes = 67);
        assert!(matches!(bad(odd), ResolveError::Image(ImageRefused::Plane { plane: 1, what: "stride", value: 67, .. })));
        let linear = BufferRequest { usage: request.usage | Usage::LINEAR, ..request.clone() };
        let tiled = Layout { modifier: Modifier::new(5), ..layout };
        assert!(matches!(check_layout(&linear, &tiled), Err(ResolveError::Image(ImageRefused::Modifier(1)))));
    }
}
