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

/// Copies `region` row by row. Bounds come from the image's layout and from the bytes that back it, never from the command alone.
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
    let overflow = CommandError::Range { offset: guest.offset, length: layout.size_bytes, size_bytes: backing.size_bytes() };
    let Some(pieces) = pieces(layout, region, guest) else {
        return Err(if layout.plane_region(0, region).is_none() { state("the rectangle is not inside it") } else { overflow });
    };
    for Piece { host, guest_offset, guest_stride } in pieces {
        let mut row = vec![0; usize::try_from(host.row_bytes).unwrap_or(usize::MAX)];
        for index in 0..host.rows {
            let place = index.checked_mul(guest_stride).and_then(|bytes| bytes.checked_add(guest_offset));
            let Some(guest_at) = place else { return Err(overflow) };
            let host_at = host.offset_bytes + index * host.stride_bytes;
            match direction {
                Direction::ToHost => {
                    backing.read(memory, guest_at, &mut row)?;
                    image.write(host_at, &row)?;
                }
                Direction::FromHost => {
                    image.read(host_at, &mut row)?;
                    backing.write(memory, guest_at, &row)?;
                }
            }
        }
    }
    Ok(())
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
