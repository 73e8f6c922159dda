//! [`GlImage`]: textures, with what leaves of them.

use super::sys::{CallFailed, Reason, Shape, Texels, Texture};
use crate::host::Picture;
use crate::host::resolver::exported::Exported;
use crate::host::resolver::{Export, Image, OutOfMemory, ResolveError, Shown, Window};
use crate::wire::virtio_gpu::{MAP_CACHE_UNCACHED, MAP_CACHE_WC};
use crate::{Alignment, BufferRequest, ComponentKind, Layout, Modifier, Usage};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// A plane of an image, whose texels are read and written as they are: rows of a texture.
pub struct Plane {
    pub texture: Arc<Texture>,
    pub texels: Texels,
    pub first_row: u32,
    /// In texels.
    pub width: u32,
    pub height: u32,
}

impl Plane {
    const fn row_bytes(&self) -> u64 {
        self.width as u64 * self.texels.bytes as u64
    }

    /// Rows of the plane as those of its texture.
    const fn rows(&self, rows: Range<u32>) -> Range<u32> {
        self.first_row + rows.start..self.first_row + rows.end
    }

    fn read(&self, rows: Range<u32>, bytes: &mut [u8]) -> io::Result<()> {
        self.texture.read(self.texels, self.width, self.rows(rows), bytes).map_err(io::Error::other)
    }

    fn write(&self, rows: Range<u32>, bytes: &[u8]) -> io::Result<()> {
        self.texture.write(self.texels, self.width, self.rows(rows), bytes).map_err(io::Error::other)
    }
}

/// An image of GL.
pub struct GlImage {
    pub planes: Vec<Plane>,
    /// What shaders sample, where they do.
    pub sampled: Option<Arc<Texture>>,
    /// Where its bytes lie, where others know that.
    pub layout: Option<Layout>,
    pub bytes: u64,
    pub exported: Option<Exported>,
    /// What is cleared when it is new, and how.
    pub memory: Option<(Arc<Texture>, Shape, u32)>,
}

/// What a driver's refusal is for the guest.
pub fn refusal(failed: CallFailed, bytes: u64) -> ResolveError {
    log::debug!("{bytes} bytes: {failed}");
    match failed.reason {
        Reason::OutOfMemory => ResolveError::Memory(OutOfMemory { bytes, source: rustix::io::Errno::NOMEM.into() }),
        _ => ResolveError::Driver(io::Error::other(failed)),
    }
}

impl GlImage {
    /// Whether the CPU sees it.
    pub fn is_mapped(&self) -> bool {
        self.exported.as_ref().is_some_and(Exported::is_mapped)
    }

    /// Whether shaders see it.
    pub const fn is_sampled(&self) -> bool {
        self.sampled.is_some()
    }

    /// Takes away what was in the memory: byte by byte where the CPU sees it, else texel by texel.
    pub fn zero(&self) -> Result<(), ResolveError> {
        if let Some((texture, shape, attachment)) = &self.memory {
            texture.clear(shape, *attachment).map_err(|failed| refusal(failed, self.bytes))?;
        }
        match &self.exported {
            Some(exported) if exported.is_mapped() => exported.zero().map_err(ResolveError::Driver),
            _ => Ok(()),
        }
    }

    /// What GL reads: the planes packed as `packed` says.
    pub fn texels(&self, packed: &Layout) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(packed.size_bytes).map_err(io::Error::other)?];
        for (plane, place) in self.packed_planes(packed)? {
            let rows = bytes.get_mut(place).ok_or(io::ErrorKind::UnexpectedEof)?;
            plane.read(0..plane.height, rows)?;
        }
        Ok(bytes)
    }

    /// Lets GL write what is packed.
    pub fn set_texels(&self, packed: &Layout, bytes: &[u8]) -> io::Result<()> {
        for (plane, place) in self.packed_planes(packed)? {
            let rows = bytes.get(place).ok_or(io::ErrorKind::UnexpectedEof)?;
            plane.write(0..plane.height, rows)?;
        }
        Ok(())
    }

    /// Each plane, and where its rows are among those that are packed.
    fn packed_planes(&self, packed: &Layout) -> io::Result<Vec<(&Plane, Range<usize>)>> {
        if self.planes.is_empty() || self.planes.len() != packed.planes.len() {
            return unsupported("its texels can't be read as they are");
        }
        let place = |(plane, place): (&'_ Plane, &crate::Plane)| {
            let (from, length) = (place.offset_bytes as usize, plane.row_bytes() as usize * plane.height as usize);
            (u64::from(place.stride_bytes) == plane.row_bytes()).then_some(from..from + length)
        };
        let each = self.planes.iter().zip(packed.planes.iter());
        let places = each.map(|both| place(both).map(|range| (both.0, range)));
        places.collect::<Option<_>>().ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// The rows of each plane that bytes from `offset` touch, where the rows do not leave.
    fn touched(&self, offset: u64, length: usize) -> io::Result<Vec<Touched<'_>>> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        let Some(layout) = self.layout.filter(|layout| layout.modifier == Modifier::LINEAR && !self.planes.is_empty()) else {
            return unsupported("only its driver knows where its texels lie");
        };
        let mut found = Vec::new();
        for (plane, place) in self.planes.iter().zip(layout.planes.iter()) {
            let stride = u64::from(place.stride_bytes);
            let row_at = |at: u64| at.saturating_sub(place.offset_bytes) / stride;
            let (first, last) = (row_at(offset), row_at(end.saturating_sub(1)).min(u64::from(plane.height) - 1));
            if end > place.offset_bytes && first <= last {
                let start_bytes = place.offset_bytes + first * stride;
                found.push(Touched { plane, rows: first as u32..last as u32 + 1, start_bytes, stride_bytes: stride });
            }
        }
        Ok(found)
    }
}

/// Rows of a plane, and where they are counted in the image.
struct Touched<'a> {
    plane: &'a Plane,
    rows: Range<u32>,
    start_bytes: u64,
    stride_bytes: u64,
}

impl Touched<'_> {
    fn fetch(&self) -> io::Result<Vec<u8>> {
        let count = usize::try_from(self.rows.end - self.rows.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; self.plane.row_bytes() as usize * count];
        self.plane.read(self.rows.clone(), &mut bytes)?;
        Ok(bytes)
    }

    /// Calls `each` with the parts that packed rows share with the bytes from `offset`: where in each, and how long.
    fn overlaps(&self, offset: u64, length: usize, mut each: impl FnMut(usize, usize, usize)) {
        let (row_bytes, end) = (self.plane.row_bytes(), offset + length as u64);
        for row in 0..u64::from(self.rows.end - self.rows.start) {
            let at = self.start_bytes + row * self.stride_bytes;
            let (from, to) = (at.max(offset), (at + row_bytes).min(end));
            if from < to {
                each((row * row_bytes + from - at) as usize, (from - offset) as usize, (to - from) as usize);
            }
        }
    }
}

fn unsupported<T>(why: &'static str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

impl Image for GlImage {
    fn size_bytes(&self) -> u64 {
        self.bytes
    }

    fn storage(&self) -> &'static str {
        if self.exported.is_some() { "gl dma-buf" } else { "gl" }
    }

    fn map_info(&self) -> u32 {
        if self.is_mapped() { MAP_CACHE_WC } else { MAP_CACHE_UNCACHED }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(exported) = self.exported.as_ref().filter(|exported| exported.is_mapped()) {
            return exported.read(offset, buffer);
        }
        let touched = self.touched(offset, buffer.len())?;
        buffer.fill(0);
        for rows in touched {
            let bytes = rows.fetch()?;
            rows.overlaps(offset, buffer.len(), |from, to, length| {
                if let (Some(from), Some(to)) = (bytes.get(from..from + length), buffer.get_mut(to..to + length)) {
                    to.copy_from_slice(from);
                }
            });
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(exported) = self.exported.as_ref().filter(|exported| exported.is_mapped()) {
            return exported.write(offset, data);
        }
        for rows in self.touched(offset, data.len())? {
            let mut bytes = rows.fetch()?;
            rows.overlaps(offset, data.len(), |to, from, length| {
                if let (Some(from), Some(to)) = (data.get(from..from + length), bytes.get_mut(to..to + length)) {
                    to.copy_from_slice(from);
                }
            });
            rows.plane.write(rows.rows.clone(), &bytes)?;
        }
        Ok(())
    }

    fn is_copied(&self) -> bool {
        !self.is_mapped()
    }

    fn show(&self, window: &dyn Window, offset: u64) -> io::Result<Shown> {
        match self.exported.as_ref().filter(|exported| exported.is_mapped()) {
            Some(exported) => exported.show(window, offset),
            None => unsupported("the driver gives no dma-buf of it that the CPU could map: ask for it with a CPU usage"),
        }
    }

    fn leave(&self) -> io::Result<()> {
        Ok(())
    }

    fn export(&self) -> io::Result<Export> {
        match &self.exported {
            Some(exported) => exported.export(),
            None => unsupported("the driver gives no dma-bufs"),
        }
    }

    /// What a shader samples, or what GL reads where none does.
    fn picture(&self, layout: &Layout) -> io::Result<Option<Picture>> {
        let &Layout { format, width, height, .. } = layout;
        let Some(info) = format.info().filter(|_| self.layout.is_some()) else { return Ok(None) };
        let Some(texture) = &self.sampled else {
            let request = BufferRequest::new(format, width, height, Usage::TEXTURE);
            let packed = Layout::linear(&request, Alignment::PACKED).map_err(io::Error::other)?;
            Picture::bytes_needed(&packed).map_err(io::Error::other)?;
            let texels = self.texels(&packed)?;
            return Picture::decode(&packed, &texels).map(Some).map_err(io::Error::other);
        };
        let mut rgba = texture.sample(width, height).map_err(io::Error::other)?;
        let grey = !info.has(ComponentKind::G) && !info.has(ComponentKind::Y);
        for [red, green, blue, alpha] in rgba.as_chunks_mut::<4>().0 {
            if grey {
                (*green, *blue) = (*red, *red);
            }
            if !info.has(ComponentKind::A) {
                *alpha = u8::MAX;
            }
        }
        Ok(Some(Picture { width, height, rgba }))
    }
}
