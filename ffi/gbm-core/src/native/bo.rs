//! The buffer, and what it tells of itself.

use super::device::{DeviceState, is_own};
use super::map::Maps;
use super::plan;
use crate::abi::{self, BoHandle, Flags};
use crate::door::{FromC, Given, Object, slice};
use crate::{Failure, door};
use std::ffi::{c_int, c_uint};
use std::mem::offset_of;
use std::os::fd::IntoRawFd;
use std::ptr::{NonNull, null_mut};
use std::sync::Mutex;
use virgbm::guest::BufferObject;
use virgbm::{Format, Layout, Modifier, Plane};

#[repr(C)]
struct NativeBo {
    public: abi::Bo,
    state: BoState,
}

/// What the backend knows of a buffer.
pub struct BoState {
    // The mappings go before the buffer.
    pub(super) maps: Mutex<Maps>,
    /// None where only the layout was asked for.
    buffer: Option<BufferObject>,
    pub(super) layout: Layout,
    /// What was asked for; the buffer may be wider.
    pub(super) width: u32,
    /// Whether the CPU sees rows in it.
    pub(super) in_rows: bool,
    is_cached: bool,
}

// SAFETY: every buffer of this backend's devices is the first field of a `NativeBo`.
unsafe impl Object for BoState {
    type Public = abi::Bo;

    unsafe fn locate(public: NonNull<abi::Bo>) -> NonNull<Self> {
        // SAFETY: the caller promises a buffer of this backend, which lies in a `NativeBo`.
        unsafe { public.byte_add(offset_of!(NativeBo, state)) }.cast()
    }
}

/// Makes the buffer that C gets, with the format and the width that were asked for; without memory where there is no buffer.
pub fn new(
    gbm: &Given<DeviceState>,
    buffer: Option<BufferObject>,
    layout: Layout,
    (format, width): (Format, u32),
) -> Result<*mut abi::Bo, Failure> {
    for (plane, Plane { offset_bytes, .. }) in layout.planes.iter().enumerate() {
        u32::try_from(*offset_bytes).map_err(|_| Failure::Offset { plane, offset_bytes: *offset_bytes })?;
    }
    let public = abi::Bo {
        gbm: gbm.as_ptr(),
        width,
        height: layout.height,
        stride: layout.planes.first().map_or(0, |plane| plane.stride_bytes),
        format,
        handle: buffer.as_ref().map_or(BoHandle::NONE, |buffer| BoHandle::gem(buffer.bo_handle())),
        user_data: null_mut(),
        destroy_user_data: None,
    };
    let (in_rows, is_cached) = (gbm.lies_in_rows(layout.modifier), buffer.as_ref().is_some_and(|buffer| gbm.is_cached(buffer)));
    let state = BoState { maps: Mutex::default(), buffer, layout, width, in_rows, is_cached };
    Ok(Box::into_raw(Box::new(NativeBo { public, state })).cast())
}

/// What is known of a buffer that C gives to a function which is in no table: its device says whose it is.
///
/// # Errors
/// [`Failure::Stranger`] for that of another backend.
pub fn own(bo: &Given<abi::Bo>) -> Result<Given<BoState>, Failure> {
    // SAFETY: whoever made the buffer has set the field, and the device outlives its buffers.
    let gbm = unsafe { Given::<abi::Device>::from_c(bo.gbm, "the buffer's device") }?;
    if !is_own(&gbm) {
        return Err(Failure::Stranger("bo"));
    }
    // SAFETY: C has given it as alive, and it is this backend's.
    unsafe { Given::from_c(bo.as_ptr(), "bo") }
}

impl BoState {
    /// The kernel's buffer.
    ///
    /// # Errors
    /// [`Failure::NoMemory`].
    pub fn buffer(&self) -> Result<&BufferObject, Failure> {
        self.buffer.as_ref().ok_or(Failure::NoMemory)
    }

    /// Where its bytes lie; it may be wider than it was asked to be.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the CPU is known to map it through its caches.
    pub fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// A plane.
    ///
    /// # Errors
    /// [`Failure::Plane`] for one that is not there.
    pub fn plane(&self, plane: c_int) -> Result<&Plane, Failure> {
        let planes = &self.layout.planes;
        let found = usize::try_from(plane).ok().and_then(|index| planes.get(index));
        found.ok_or(Failure::Plane { plane, count: planes.len() })
    }
}

door! {
    /// Makes a buffer.
    pub fn bo_create(
        gbm: Given<DeviceState>, width: u32, height: u32, format: Format, flags: Flags, modifiers: *const Modifier, count: c_uint
    ) -> *mut abi::Bo, or null_mut(), {
        if modifiers.is_null() != (count == 0) {
            return Err(Failure::List(count));
        }
        // SAFETY: a list is not null here, and gbm.h says that `count` elements are there.
        let modifiers = unsafe { slice(modifiers, count as usize) };
        let request = plan::request(&gbm, (width, height), format, flags, modifiers)?;
        let asked_for = (abi::canonical(format), width);
        if gbm.flavour.wants_no_memory(flags) {
            return new(&gbm, None, gbm.guest.layout(&request)?, asked_for);
        }
        let buffer = gbm.guest.create(&request)?;
        let layout = *buffer.layout();
        new(&gbm, Some(buffer), layout, asked_for)
    }
}

door! {
    /// Frees a buffer with the mappings that it still has. The loader has called the destructor of its user data.
    pub fn bo_destroy(bo: Given<BoState>) -> (), or (), {
        // SAFETY: it came from `Box::into_raw` in `new`, and the caller gives it back.
        drop(unsafe { Box::from_raw(bo.as_ptr().cast::<NativeBo>()) });
        Ok(())
    }
}

door! {
    /// A new descriptor, for reading and writing; -1 when it can't be exported.
    pub fn bo_get_fd(bo: Given<BoState>) -> c_int, or -1, {
        Ok(bo.buffer()?.export()?.into_raw_fd())
    }
}

door! {
    /// The same, of the buffer that a plane is in.
    pub fn bo_get_plane_fd(bo: Given<BoState>, plane: c_int) -> c_int, or -1, {
        bo.plane(plane)?;
        Ok(bo.buffer()?.export()?.into_raw_fd())
    }
}

door! {
    /// How many planes it has.
    pub fn bo_get_planes(bo: Given<BoState>) -> c_int, or -1, {
        Ok(bo.layout.planes.len() as c_int)
    }
}

door! {
    /// The kernel's handle of the buffer that a plane is in; -1 for a plane that is not there.
    pub fn bo_get_handle(bo: Given<BoState>, plane: c_int) -> BoHandle, or BoHandle::NONE, {
        bo.plane(plane)?;
        Ok(BoHandle::gem(bo.buffer()?.bo_handle()))
    }
}

door! {
    /// From row to row of a plane, in bytes; 0 for one that is not there.
    pub fn bo_get_stride(bo: Given<BoState>, plane: c_int) -> u32, or 0, {
        Ok(bo.plane(plane)?.stride_bytes)
    }
}

door! {
    /// From the start of the buffer to a plane, in bytes; 0 for one that is not there.
    pub fn bo_get_offset(bo: Given<BoState>, plane: c_int) -> u32, or 0, {
        // `new` has checked that it fits.
        Ok(bo.plane(plane)?.offset_bytes as u32)
    }
}

door! {
    /// The modifier: the real one, INVALID where the host does not say.
    pub fn bo_get_modifier(bo: Given<BoState>) -> Modifier, or Modifier::INVALID, {
        Ok(bo.layout.modifier)
    }
}
