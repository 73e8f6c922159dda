//! Surfaces: descriptions that an EGL reads. It has the buffers; without one there are none, and every call says so.

use super::device::DeviceState;
use super::plan;
use crate::abi::{self, Flags};
use crate::door::{Given, Object, slice};
use crate::{Failure, door};
use std::ffi::{c_int, c_uint};
use std::mem::offset_of;
use std::ptr::{NonNull, null_mut};
use virgbm::{Format, Modifier};

/// Room on both ends: other vendors' EGLs keep fields of their own around a surface.
const ROOM_BYTES: usize = 256;

#[repr(C, align(16))]
struct NativeSurface {
    before: [u8; ROOM_BYTES],
    public: abi::Surface,
    after: [u8; ROOM_BYTES],
    state: SurfaceState,
}

/// What the backend knows of a surface.
pub struct SurfaceState {
    /// What the public structure points to: never touched here again.
    _modifiers: Vec<Modifier>,
}

/// From the surface that C knows back to the start of what it lies in.
const BEFORE: usize = offset_of!(NativeSurface, public);

// SAFETY: every surface of this backend's devices is the field `public` of a `NativeSurface`.
unsafe impl Object for SurfaceState {
    type Public = abi::Surface;

    unsafe fn locate(public: NonNull<abi::Surface>) -> NonNull<Self> {
        // SAFETY: the caller promises a surface of this backend, which lies in a `NativeSurface`.
        unsafe { public.byte_add(offset_of!(NativeSurface, state) - BEFORE) }.cast()
    }
}

door! {
    /// Makes a surface whose buffers could be made.
    pub fn surface_create(
        gbm: Given<DeviceState>, width: u32, height: u32, format: Format, flags: Flags, modifiers: *const Modifier, count: c_uint
    ) -> *mut abi::Surface, or null_mut(), {
        if modifiers.is_null() != (count == 0) {
            return Err(Failure::List(count));
        }
        // SAFETY: a list is not null here, and gbm.h says that `count` elements are there.
        let listed = unsafe { slice(modifiers, count as usize) };
        plan::request(&gbm, (width, height), format, flags, listed)?;
        let mut modifiers = listed.to_vec();
        let list = if modifiers.is_empty() { null_mut() } else { modifiers.as_mut_ptr() };
        let format = abi::canonical(format);
        let public = abi::Surface { gbm: gbm.as_ptr(), width, height, format, flags, modifiers: list, count };
        let state = SurfaceState { _modifiers: modifiers };
        let surface = Box::new(NativeSurface { before: [0; ROOM_BYTES], public, after: [0; ROOM_BYTES], state });
        Ok(Box::into_raw(surface).wrapping_byte_add(BEFORE).cast())
    }
}

door! {
    /// Null: there is no EGL that has drawn.
    pub fn surface_lock_front_buffer(surface: Given<SurfaceState>) -> *mut abi::Bo, or null_mut(), {
        let _alive = surface;
        Err(Failure::NoFrame)
    }
}

door! {
    /// Nothing: no buffer was locked.
    pub fn surface_release_buffer(surface: Given<SurfaceState>, bo: *mut abi::Bo) -> (), or (), {
        let _alive = (surface, bo);
        Err(Failure::NoFrame)
    }
}

door! {
    /// 0: there are no buffers.
    pub fn surface_has_free_buffers(surface: Given<SurfaceState>) -> c_int, or 0, {
        let _alive = surface;
        Err(Failure::NoFrame)
    }
}

door! {
    /// Frees a surface.
    pub fn surface_destroy(surface: Given<SurfaceState>) -> (), or (), {
        let start = surface.as_ptr().wrapping_byte_sub(BEFORE).cast::<NativeSurface>();
        // SAFETY: it came from `Box::into_raw` in `surface_create`, and the caller gives it back.
        drop(unsafe { Box::from_raw(start) });
        Ok(())
    }
}
