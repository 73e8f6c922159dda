//! Mappings: the buffer's own bytes, which lie in rows.

use super::bo::BoState;
use crate::abi::Flags;
use crate::door::Given;
use crate::{Failure, door};
use std::ffi::{c_int, c_void};
use std::ptr::{NonNull, null_mut, without_provenance_mut};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use virgbm::guest::{Access, Error, Mapping};
use virgbm::layout::Region;

/// How many mappings there have been. It says nothing of a device: what C gets for a mapping of one buffer just can't be meant for one
/// of another, whichever device that is of.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// The open mappings of a buffer, by the number that C gets as `map_data`; they nest.
#[derive(Default)]
pub struct Maps(Vec<(usize, Mapping)>);

impl Maps {
    fn add(&mut self, mapping: Mapping) -> usize {
        let number = MADE.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.0.push((number, mapping));
        number
    }

    fn take(&mut self, number: usize) -> Option<Mapping> {
        let position = self.0.iter().position(|(open, _)| *open == number)?;
        Some(self.0.swap_remove(position).1)
    }
}

impl BoState {
    /// Maps a region once the GPU has done with the buffer.
    pub fn map(&self, region: Region, access: Access) -> Result<Mapping, Failure> {
        let (layout, buffer) = (&self.layout, self.buffer()?);
        if !self.in_rows {
            return Err(Failure::Tiled(layout.modifier));
        }
        let Region { x, y, width, height } = region;
        // The buffer may be wider than it was asked to be.
        if x.checked_add(width).is_none_or(|end| end > self.width) {
            let (buffer_width, buffer_height) = (self.width, layout.height);
            return Err(Error::Region { x, y, width, height, buffer_width, buffer_height }.into());
        }
        buffer.wait()?;
        Ok(buffer.map(region, access)?)
    }
}

impl BoState {
    /// Maps a rectangle and keeps the mapping: gives its first byte in a plane, the stride there, and what `bo_unmap` takes.
    ///
    /// # Errors
    /// [`Failure`], for what is not there or can't be mapped.
    pub fn map_plane(&self, region: Region, flags: Flags, plane: c_int) -> Result<(*mut c_void, u32, *mut c_void), Failure> {
        self.plane(plane)?;
        let access = u8::try_from(flags.0).ok().and_then(Access::from_bits).filter(|access| !access.is_empty());
        let access = access.ok_or(Failure::Transfer(flags.0))?;
        let mapping = self.map(region, access)?;
        let rows = mapping.plane(plane as usize).ok_or(Error::Range { offset: 0, length: 0 })?;
        let first = mapping.as_ptr().wrapping_add(rows.offset_bytes as usize);
        let number = self.maps.lock().unwrap_or_else(PoisonError::into_inner).add(mapping);
        Ok((first.cast(), rows.stride_bytes as u32, without_provenance_mut(number)))
    }
}

door! {
    /// Maps a rectangle: gives its first byte in plane 0, the stride, and what `bo_unmap` takes. The other planes lie behind it,
    /// as the offsets of the buffer say.
    pub fn bo_map(
        bo: Given<BoState>, x: u32, y: u32, width: u32, height: u32, flags: Flags, stride: NonNull<u32>,
        map_data: NonNull<*mut c_void>
    ) -> *mut c_void, or null_mut(), {
        let (first, stride_bytes, number) = bo.map_plane(Region { x, y, width, height }, flags, 0)?;
        // SAFETY: it is not null, and gbm.h says that a word is there.
        unsafe { stride.write(stride_bytes) };
        // SAFETY: it is not null, and gbm.h says that a pointer is there.
        unsafe { map_data.write(number) };
        Ok(first)
    }
}

door! {
    /// Ends a mapping: what was written reaches the host.
    pub fn bo_unmap(bo: Given<BoState>, map_data: *mut c_void) -> (), or (), {
        let mapping = bo.maps.lock().unwrap_or_else(PoisonError::into_inner).take(map_data.addr());
        mapping.ok_or(Failure::NotMapped(map_data.addr()))?.finish()?;
        Ok(())
    }
}
