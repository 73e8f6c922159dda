//! Transfers: copies of a rectangle between a resource's guest pages and its image.

pub(super) use super::renderer::Direction;
use super::resource::Resource;
use super::{CommandError, GuestMemory};
use crate::layout::{PlaneRegion, Region};
use crate::{Layout, PlaneFormat};

/// Where a rectangle lies in the guest pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuestRows {
    /// To its first byte; of a picture of several planes, to the picture.
    pub offset: u64,
    /// From row to row of the first plane; 0 for rows of the whole picture without padding.
    pub stride: u32,
}

/// A plane's part of a rectangle, on both sides.
struct Piece {
    host: PlaneRegion,
    guest_offset: u64,
    guest_stride: u64,
}

/// Copies `region`. Bounds come from the image's layout and from the bytes that back it, never from the command alone.
pub(super) fn transfer(
    resource: &Resource,
    id: u32,
    region: Region,
    guest: GuestRows,
    direction: Direction,
    memory: &dyn GuestMemory,
) -> Result<(), CommandError> {
    let state = |why| CommandError::State { resource_id: id, why };
    let image = resource.image.as_ref().ok_or_else(|| state("it has no image"))?;
    let backing = resource.backing.as_ref().ok_or_else(|| state("it has no backing"))?;
    let layout = resource.layout.as_ref().ok_or_else(|| state("it has no layout"))?;
    let overflow = || CommandError::Range { offset: guest.offset, length: layout.size_bytes, size_bytes: backing.size_bytes() };
    let Some(pieces) = pieces(layout, region, guest) else {
        return Err(if layout.plane_region(0, region).is_none() { state("the rectangle is not inside it") } else { overflow() });
    };
    for piece in pieces {
        // Row by row, since others may write beside the rectangle; all rows at once where nobody can.
        let rows_at_once = if image.is_copied() { piece.host.rows } else { 1 };
        for part in piece.parts(rows_at_once) {
            let part = part.ok_or_else(overflow)?;
            let host = part.host;
            let mut bytes = vec![0; usize::try_from(host.span_bytes()).unwrap_or(usize::MAX)];
            match direction {
                Direction::ToHost => {
                    // What lies between the rows of a rectangle stays as it is.
                    if host.rows > 1 && host.stride_bytes > host.row_bytes {
                        image.read(host.offset_bytes, &mut bytes)?;
                    }
                    part.rows(&mut bytes).try_for_each(|(at, row)| backing.read(memory, at, row))?;
                    image.write(host.offset_bytes, &bytes)?;
                }
                Direction::FromHost => {
                    image.read(host.offset_bytes, &mut bytes)?;
                    part.rows(&mut bytes).try_for_each(|(at, row)| backing.write(memory, at, row))?;
                }
            }
        }
    }
    Ok(())
}

impl Piece {
    /// The same in parts of so many rows; `None` for one that lies beyond all addresses of the guest.
    fn parts(&self, rows_at_once: u64) -> impl Iterator<Item = Option<Self>> {
        let step = usize::try_from(rows_at_once.max(1)).unwrap_or(usize::MAX);
        (0..self.host.rows).step_by(step).map(move |first| {
            let rows = rows_at_once.min(self.host.rows - first);
            let guest_offset = first.checked_mul(self.guest_stride)?.checked_add(self.guest_offset)?;
            rows.checked_mul(self.guest_stride)?.checked_add(guest_offset)?;
            let host = PlaneRegion { offset_bytes: self.host.offset_bytes + first * self.host.stride_bytes, rows, ..self.host };
            Some(Self { host, guest_offset, guest_stride: self.guest_stride })
        })
    }

    /// The rows among the host's bytes from the first to the last, each with its place in the guest's.
    fn rows<'a>(&self, bytes: &'a mut [u8]) -> impl Iterator<Item = (u64, &'a mut [u8])> {
        let (stride, row_bytes) = (self.host.stride_bytes.max(1) as usize, self.host.row_bytes as usize);
        let (offset, guest_stride) = (self.guest_offset, self.guest_stride);
        let rows = bytes.chunks_mut(stride).enumerate();
        rows.filter_map(move |(index, row)| Some((offset + index as u64 * guest_stride, row.get_mut(..row_bytes)?)))
    }
}

/// Each plane's part of a rectangle. The guest's planes follow each other as virglrenderer has them: strides in the proportion of
/// the samples, each plane as high as its samples. `None` is a rectangle outside, or overflow.
fn pieces(layout: &Layout, region: Region, guest: GuestRows) -> Option<Vec<Piece>> {
    let planes = layout.format.planes();
    let first = planes.first()?;
    let widest = planes.iter().map(|plane| u32::from(plane.horizontal_subsampling)).max()?;
    let packed = || Some(first.row_bytes(layout.width.checked_next_multiple_of(widest)?));
    let first_stride = if guest.stride == 0 { packed()? } else { guest.stride.into() };
    let mut start = guest.offset;
    let mut pieces = Vec::with_capacity(planes.len());
    for (index, format) in planes.iter().enumerate() {
        let host = layout.plane_region(index, region)?;
        let guest_stride = first_stride.checked_mul(format.block_bytes.into())? / u64::from(first.block_bytes);
        let guest_stride = guest_stride / u64::from(format.horizontal_subsampling);
        let inside = if planes.len() == 1 { 0 } else { first_byte(layout, index, &host, guest_stride)? };
        pieces.push(Piece { host, guest_offset: start.checked_add(inside)?, guest_stride });
        start = start.checked_add(plane_bytes(format, layout, guest_stride)?)?;
    }
    Some(pieces)
}

/// From the start of a guest's plane to the first byte of a rectangle.
fn first_byte(layout: &Layout, plane: usize, host: &PlaneRegion, guest_stride: u64) -> Option<u64> {
    let inside = host.offset_bytes.checked_sub(layout.planes.get(plane)?.offset_bytes)?;
    let (row, byte) = (inside.checked_div(host.stride_bytes)?, inside.checked_rem(host.stride_bytes)?);
    row.checked_mul(guest_stride)?.checked_add(byte)
}

fn plane_bytes(format: &PlaneFormat, layout: &Layout, stride: u64) -> Option<u64> {
    stride.checked_mul(format.rows(layout.height))
}
