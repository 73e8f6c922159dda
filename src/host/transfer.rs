//! Transfers: copies of a rectangle between a resource's guest pages and its image.

use super::resource::Resource;
use super::{CommandError, GuestMemory};
use crate::layout::Region;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToHost,
    FromHost,
}

/// Where a rectangle lies in the guest pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuestRows {
    /// To its first byte.
    pub offset: u64,
    /// From row to row; 0 for rows of the whole picture without padding.
    pub stride: u32,
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
    let [format] = layout.format.planes() else {
        return Err(state("its planes can't be transferred in one"));
    };
    let host = layout.plane_region(0, region).ok_or_else(|| state("the rectangle is not inside it"))?;
    let guest_stride = if guest.stride == 0 { format.row_bytes(layout.width) } else { guest.stride.into() };
    let overflow = || CommandError::Range { offset: guest.offset, length: host.row_bytes, size_bytes: backing.size_bytes() };
    let mut row = vec![0; usize::try_from(host.row_bytes).map_err(|_| overflow())?];
    for index in 0..host.rows {
        let guest_at = index.checked_mul(guest_stride).and_then(|bytes| bytes.checked_add(guest.offset)).ok_or_else(overflow)?;
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
    Ok(())
}
