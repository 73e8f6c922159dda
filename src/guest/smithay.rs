//! smithay's doors: compositors on smithay take their buffers from a [`SmithayAllocator`] as they do from gbm.

use super::{BufferObject, Device, Error};
use crate::{BufferRequest, Format, Layout, Modifier, Usage};
use smithay::backend::allocator::dmabuf::{AsDmabuf, Dmabuf, DmabufFlags};
use smithay::backend::allocator::{Allocator, Buffer, Format as DrmFormat, Fourcc, Modifier as DrmModifier};
use smithay::utils::{Buffer as BufferCoordinates, Size};

/// The largest side that smithay's sizes can say.
const LARGEST_SIDE: u32 = i32::MAX as u32;

/// A device with the usage that its buffers are made for.
#[derive(Clone)]
pub struct SmithayAllocator {
    device: Device,
    usage: Usage,
}

/// A buffer of a [`SmithayAllocator`].
#[derive(Clone, Debug)]
pub struct SmithayBuffer {
    buffer: BufferObject,
    size: Size<i32, BufferCoordinates>,
    format: DrmFormat,
}

impl SmithayAllocator {
    /// Buffers of this usage, [`Usage::SCANOUT`] and [`Usage::RENDER`] for a screen.
    pub fn new(device: Device, usage: Usage) -> Self {
        Self { device, usage }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Imports a dma-buf whose planes lie in one buffer.
    ///
    /// # Errors
    /// As [`Device::import_with_layout`]; [`Error::Layout`] too for planes that lie in none or do not fit.
    pub fn import(&self, dmabuf: &Dmabuf) -> Result<BufferObject, Error> {
        let DrmFormat { code, modifier } = dmabuf.format();
        let (format, modifier) = (Format::from_fourcc(code as u32), Modifier::new(modifier.into()));
        let planes: Vec<_> = dmabuf.strides().zip(dmabuf.offsets().map(u64::from)).collect();
        let Some(fd) = dmabuf.handles().next() else {
            let (found, expected) = (0, format.planes().len());
            return Err(crate::LayoutError::PlaneCount { format, modifier, found, expected }.into());
        };
        let size_bytes = rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0)).unwrap_or(u64::MAX);
        let layout = Layout::reported(format, (dmabuf.width(), dmabuf.height()), modifier, &planes, size_bytes)?;
        self.device.import_with_layout(fd, &layout)
    }
}

impl SmithayBuffer {
    /// The buffer.
    pub fn buffer(&self) -> &BufferObject {
        &self.buffer
    }
}

impl Allocator for SmithayAllocator {
    type Buffer = SmithayBuffer;
    type Error = Error;

    /// The device chooses among the modifiers; Invalid alone leaves it to the device, and none is as Invalid.
    fn create_buffer(
        &mut self,
        width: u32,
        height: u32,
        code: Fourcc,
        modifiers: &[DrmModifier],
    ) -> Result<SmithayBuffer, Error> {
        let modifiers = modifiers.iter().map(|modifier| Modifier::new((*modifier).into()));
        let request = BufferRequest::new(Format::from_fourcc(code as u32), width, height, self.usage).with_modifiers(modifiers);
        let largest = crate::Extent { width: LARGEST_SIDE, height: LARGEST_SIDE, layers: 1 };
        if width > LARGEST_SIDE || height > LARGEST_SIDE {
            return Err(crate::Unsupported::Extent { width, height, layers: 1, largest }.into());
        }
        let buffer = self.device.create(&request)?;
        let format = DrmFormat { code, modifier: buffer.layout().modifier.value().into() };
        Ok(SmithayBuffer { buffer, size: (width as i32, height as i32).into(), format })
    }
}

impl Buffer for SmithayBuffer {
    fn size(&self) -> Size<i32, BufferCoordinates> {
        self.size
    }

    fn format(&self) -> DrmFormat {
        self.format
    }
}

impl AsDmabuf for SmithayBuffer {
    type Error = Error;

    /// Each plane has a descriptor of its own for the one buffer.
    fn export(&self) -> Result<Dmabuf, Error> {
        let mut builder = Dmabuf::builder_from_buffer(self, DmabufFlags::empty());
        let layout = self.buffer.layout();
        for (index, plane) in (0..).zip(&*layout.planes) {
            let found = plane.offset_bytes;
            let offset = u32::try_from(found).map_err(|_| Error::TooSmall { found: u32::MAX.into(), needed: found })?;
            builder.add_plane(self.buffer.export()?, index, offset, plane.stride_bytes);
        }
        let (format, modifier, expected) = (layout.format, layout.modifier, layout.format.planes().len());
        builder.build().ok_or(crate::LayoutError::PlaneCount { format, modifier, found: 0, expected }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Access;
    use crate::guest::node::loopback::Loopback;

    fn allocator(usage: Usage) -> SmithayAllocator {
        SmithayAllocator::new(
            Device::open(Loopback::new().unwrap()).unwrap(),
            usage | Usage::CPU_READ_RARELY | Usage::CPU_WRITE_RARELY,
        )
    }

    #[test]
    fn a_buffer_has_the_size_format_and_modifier_of_what_was_made() {
        let mut allocator = allocator(Usage::SCANOUT | Usage::RENDER);
        for modifiers in [&[][..], &[DrmModifier::Invalid], &[DrmModifier::Linear, DrmModifier::I915_x_tiled]] {
            let buffer = allocator.create_buffer(640, 480, Fourcc::Xrgb8888, modifiers).unwrap();
            assert_eq!((buffer.width(), buffer.height()), (640, 480));
            assert_eq!(buffer.format(), DrmFormat { code: Fourcc::Xrgb8888, modifier: DrmModifier::Linear });
        }
    }

    #[test]
    fn what_the_host_lacks_is_refused_with_the_reason() {
        let mut allocator = allocator(Usage::RENDER);
        let error = allocator.create_buffer(64, 64, Fourcc::Xrgb8888, &[DrmModifier::I915_x_tiled]).unwrap_err();
        assert!(error.to_string().contains("no common modifier"), "{error}");
        assert!(allocator.create_buffer(0, 64, Fourcc::Xrgb8888, &[]).is_err());
        assert!(allocator.create_buffer(u32::MAX, 64, Fourcc::Xrgb8888, &[]).is_err());
    }

    #[test]
    fn a_dma_buf_has_every_plane_and_comes_back() {
        let mut allocator = allocator(Usage::TEXTURE);
        let made = allocator.create_buffer(65, 33, Fourcc::Nv12, &[]).unwrap();
        let mapping = made.buffer().map(made.buffer().layout().whole(), Access::WRITE).unwrap();
        mapping.write_row(1, 16, b"chroma").unwrap();
        drop(mapping);
        let dmabuf = made.export().unwrap();
        let planes: Vec<_> = dmabuf.strides().zip(dmabuf.offsets()).collect();
        assert_eq!(planes, [(128, 0), (128, 128 * 33)]);
        let back = allocator.import(&dmabuf).unwrap();
        let mut bytes = [0; 6];
        back.map(back.layout().whole(), Access::READ).unwrap().read_row(1, 16, &mut bytes).unwrap();
        assert_eq!(&bytes, b"chroma");
    }
}
