//! [`GbmImage`]: a buffer of libgbm with its dma-buf.

use super::sys::{BufferSpec, GbmBuffer, GbmDevice, USE_LINEAR, USE_RENDERING, USE_SCANOUT};
use crate::host::Picture;
use crate::host::resolver::exported::Exported;
use crate::host::resolver::proof::Witness;
use crate::host::resolver::{Export, Image, OutOfMemory, ResolveError, Shown, Window};
use crate::wire::virtio_gpu::{MAP_CACHE_UNCACHED, MAP_CACHE_WC};
use crate::{Alignment, BufferRequest, Layout, Modifier, Usage};
use std::io;
use std::sync::Arc;

/// A buffer that others see as a dma-buf.
pub struct GbmImage {
    buffer: GbmBuffer,
    exported: Exported,
    pub layout: Layout,
}

impl GbmImage {
    /// Makes a buffer of one plane: linear, with another modifier, or as the driver likes it.
    pub fn new(device: &Arc<GbmDevice>, request: &BufferRequest, modifier: Option<Modifier>) -> Result<Self, ResolveError> {
        let BufferRequest { format, width, height, usage, .. } = *request;
        let wanted = [(Usage::RENDER, USE_RENDERING), (Usage::SCANOUT, USE_SCANOUT)];
        let flags = wanted.iter().filter(|(ours, _)| usage.contains(*ours)).fold(0, |all, (_, theirs)| all | theirs);
        // Drivers without modifiers know LINEAR as a flag only.
        let is_linear = modifier == Some(Modifier::LINEAR);
        let flags = if is_linear { flags | USE_LINEAR } else { flags };
        let explicit = modifier.filter(|_| !is_linear).map(Modifier::value);
        let spec = BufferSpec { fourcc: format.fourcc(), width, height, flags, modifier: explicit };
        let bytes = format.planes().iter().map(|plane| plane.row_bytes(width).saturating_mul(plane.rows(height))).sum();
        let buffer = device.create(&spec).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOMEM | libc::ENOSPC) => ResolveError::Memory(OutOfMemory { bytes, source }),
            _ => ResolveError::Driver(source),
        })?;
        let planes = buffer.planes().map_err(ResolveError::Driver)?;
        let places: Vec<_> = planes.iter().map(|plane| (plane.stride_bytes, plane.offset_bytes.into())).collect();
        let exported = Exported::new(planes.into_iter().map(|plane| plane.fd))?;
        let told = Modifier::new(buffer.modifier());
        let modifier = if is_linear && told == Modifier::INVALID { Modifier::LINEAR } else { told };
        if explicit.is_some_and(|asked| asked != modifier.value()) {
            return Err(ResolveError::Driver(io::Error::other(format!(
                "libgbm gives {modifier}, and {explicit:?} was asked for"
            ))));
        }
        let layout = Layout::reported(format, (width, height), modifier, &places, exported.size_bytes())?;
        let exported = if is_linear { exported.mapped().map_err(ResolveError::Driver)? } else { exported };
        Ok(Self { buffer, exported, layout })
    }

    /// Takes away what was in the memory: all of it where the CPU sees it, else row by row through libgbm.
    pub fn zero(&self) -> io::Result<()> {
        if self.is_mapped() {
            return self.exported.zero();
        }
        let packed = packed(&self.layout)?;
        self.set_rows(&packed, &vec![0; usize::try_from(packed.size_bytes).map_err(io::Error::other)?])
    }

    /// Whether the CPU sees it.
    pub const fn is_mapped(&self) -> bool {
        self.exported.is_mapped()
    }

    /// What libgbm reads, packed.
    fn rows(&self, packed: &Layout) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(packed.size_bytes).map_err(io::Error::other)?];
        let row_bytes = row_bytes(packed)?;
        let mapping = self.buffer.map(self.layout.width, row_bytes, false)?;
        for (row, bytes) in (0..self.layout.height).zip(bytes.chunks_exact_mut(row_bytes)) {
            mapping.read_row(row, bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        Ok(bytes)
    }

    /// Lets libgbm write what is packed.
    fn set_rows(&self, packed: &Layout, bytes: &[u8]) -> io::Result<()> {
        let row_bytes = row_bytes(packed)?;
        let mapping = self.buffer.map(self.layout.width, row_bytes, true)?;
        for (row, bytes) in (0..self.layout.height).zip(bytes.chunks_exact(row_bytes)) {
            mapping.write_row(row, bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        Ok(())
    }

    fn unmapped<T>() -> io::Result<T> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only its driver knows where its texels lie"))
    }
}

/// The picture of a layout in rows without padding.
fn packed(layout: &Layout) -> io::Result<Layout> {
    let whole = BufferRequest::new(layout.format, layout.width, layout.height, Usage::TEXTURE);
    Layout::linear(&whole, Alignment::PACKED).map_err(io::Error::other)
}

fn row_bytes(packed: &Layout) -> io::Result<usize> {
    match packed.planes.first() {
        Some(plane) if packed.planes.len() == 1 && plane.stride_bytes > 0 => Ok(plane.stride_bytes as usize),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "libgbm maps no planes")),
    }
}

impl Image for GbmImage {
    fn size_bytes(&self) -> u64 {
        self.layout.size_bytes
    }

    fn storage(&self) -> &'static str {
        "gbm dma-buf"
    }

    fn map_info(&self) -> u32 {
        if self.is_mapped() { MAP_CACHE_WC } else { MAP_CACHE_UNCACHED }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.is_mapped() { self.exported.read(offset, buffer) } else { Self::unmapped() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.is_mapped() { self.exported.write(offset, data) } else { Self::unmapped() }
    }

    fn show(&self, window: &dyn Window, offset: u64) -> io::Result<Shown> {
        if self.is_mapped() { self.exported.show(window, offset) } else { Self::unmapped() }
    }

    fn leave(&self) -> io::Result<()> {
        Ok(())
    }

    fn export(&self) -> io::Result<Export> {
        self.exported.export()
    }

    /// What libgbm maps.
    fn picture(&self, layout: &Layout) -> io::Result<Option<Picture>> {
        let packed = packed(layout)?;
        let rows = self.rows(&packed)?;
        Picture::decode(&packed, &rows).map(Some).map_err(io::Error::other)
    }
}

/// libgbm and the dma-buf.
impl Witness for GbmImage {
    fn seen(&self) -> Result<Vec<u8>, String> {
        packed(&self.layout).and_then(|packed| self.rows(&packed)).map_err(|error| error.to_string())
    }

    fn draw(&self, bytes: &[u8]) -> Result<(), String> {
        packed(&self.layout).and_then(|packed| self.set_rows(&packed, bytes)).map_err(|error| error.to_string())
    }

    fn look(&self, offset: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.read(offset, bytes).map_err(|error| error.to_string())
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), String> {
        self.write(offset, bytes).map_err(|error| error.to_string())
    }
}
