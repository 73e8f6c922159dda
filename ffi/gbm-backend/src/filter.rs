//! Mesa's device with our functions over its own: EGL finds Mesa's device, name and buffers, and everybody else finds more.
//!
//! EGL draws to buffers of Mesa's only. It is on once it has put its own functions for surfaces over what was there; then Mesa is
//! asked first, and the guest library for what Mesa refuses. Before that, and without EGL, it is the other way round. A buffer that was
//! made before an EGL is on must not be given to it as such: its dma-buf may.
//!
//! GEM handles belong to an open file, and Mesa closes those of the caller's file as it sees fit. The guest library therefore has an
//! open file of its own, and a buffer of it gets a handle in the caller's file, which `gbm_bo_get_handle` gives. It is closed with the
//! last buffer that has it, except where Mesa may have it as well:
//! - where Mesa has imported the buffer through gbm, it is left to Mesa, and given anew when Mesa has closed it;
//! - where EGL is on and the buffer was exported, it is left: EGL may have imported it, and closes it then. If EGL has not, it stays
//!   until the caller closes its file. That EGL has closed it is not seen: ask for the handle before EGL destroys its image.
//!
//! A handle that the caller itself has made of the same buffer on the same file is the same handle, and goes with the buffer: so it is
//! with Mesa alone, since the kernel does not tell.

mod bo;
mod buffers;
mod caller;
mod create;
mod import;
mod surface;

use buffers::{Buffers, Identity};
use caller::Caller;
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use virgbm::Format;
use virgbm_gbm_core::abi::{Bo, Device, DeviceV0};
use virgbm_gbm_core::door::{FromC, Given};
use virgbm_gbm_core::loader::{Library, Loaded};
use virgbm_gbm_core::native::{self, DeviceState};
use virgbm_gbm_core::{Failure, dispatch, door};

/// What is known of each device, by its address: the device is Mesa's, and has no field for it.
static DEVICES: RwLock<BTreeMap<usize, Arc<Filter>>> = RwLock::new(BTreeMap::new());

/// Who makes a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Native,
    Mesa,
}

/// What is known of a device.
struct Filter {
    /// Mesa's functions, as they were.
    mesa: Device,
    /// The guest library's device, which nobody else sees.
    native: Given<Device>,
    state: Given<DeviceState>,
    caller: Caller,
    buffers: Mutex<Buffers>,
    /// Which formats and flags Mesa was tried with, and its errno where it made nothing.
    tried: Mutex<BTreeMap<(Format, u32), Option<c_int>>>,
    // Mesa's code goes last.
    _library: Library,
}

// SAFETY: the pointers in it are to the native device, which threads may use at once, and in a table that is only read.
unsafe impl Send for Filter {}

// SAFETY: the same; the rest is behind locks.
unsafe impl Sync for Filter {}

impl Drop for Filter {
    fn drop(&mut self) {
        if let Some(destroy) = self.native.v0.destroy {
            // SAFETY: the native device is this filter's, and the filter goes.
            unsafe { destroy(self.native.as_ptr()) };
        }
    }
}

/// Puts our functions over those of Mesa's device.
pub fn create(fd: BorrowedFd<'_>, version: u32, mesa: Loaded, state: DeviceState) -> Result<*mut Device, Failure> {
    let Loaded { device, library } = mesa;
    let native = native::create(fd, version, state);
    // SAFETY: Mesa has just made the device.
    let v0 = unsafe { device.as_ref() }.v0;
    let filter = Filter {
        mesa: Device { dummy: None, v0 },
        // SAFETY: it was just made, and the filter keeps it.
        native: unsafe { Given::from_c(native.as_ptr(), "device") }?,
        // SAFETY: the same.
        state: unsafe { Given::from_c(native.as_ptr(), "device") }?,
        caller: Caller::new(fd),
        buffers: Mutex::default(),
        tried: Mutex::default(),
        _library: library,
    };
    let mut devices = DEVICES.write().unwrap_or_else(PoisonError::into_inner);
    devices.insert(device.addr().get(), Arc::new(filter));
    // SAFETY: nobody else has the device yet.
    unsafe { (*device.as_ptr()).v0 = over(v0) };
    Ok(device.as_ptr())
}

/// Our functions over Mesa's. Its surfaces stay its own: EGL knows what is in them.
fn over(mesa: DeviceV0) -> DeviceV0 {
    DeviceV0 {
        destroy: Some(destroy),
        is_format_supported: Some(create::is_format_supported),
        get_format_modifier_plane_count: Some(create::get_format_modifier_plane_count),
        bo_create: Some(create::bo_create),
        bo_import: Some(import::bo_import),
        bo_map: Some(bo::bo_map),
        bo_unmap: Some(bo::bo_unmap),
        bo_write: Some(bo::bo_write),
        bo_get_fd: Some(bo::bo_get_fd),
        bo_get_planes: Some(bo::bo_get_planes),
        bo_get_handle: Some(bo::bo_get_handle),
        bo_get_plane_fd: Some(bo::bo_get_plane_fd),
        bo_get_stride: Some(bo::bo_get_stride),
        bo_get_offset: Some(bo::bo_get_offset),
        bo_get_modifier: Some(bo::bo_get_modifier),
        bo_destroy: Some(bo::bo_destroy),
        surface_lock_front_buffer: Some(surface::surface_lock_front_buffer),
        surface_release_buffer: Some(surface::surface_release_buffer),
        surface_has_free_buffers: Some(surface::surface_has_free_buffers),
        ..mesa
    }
}

/// Whether a dma-buf is a buffer of the guest library's, of any device of this process.
fn is_native(identity: Identity) -> bool {
    let devices = DEVICES.read().unwrap_or_else(PoisonError::into_inner);
    devices.values().any(|filter| filter.buffers().is_native(identity))
}

/// A device that C has given, with what is known of it.
struct Filtered {
    device: Given<Device>,
    filter: Arc<Filter>,
}

impl FromC for Filtered {
    type Raw = *mut Device;

    unsafe fn from_c(raw: *mut Device, name: &'static str) -> Result<Self, Failure> {
        // SAFETY: it is this function's promise.
        let device = unsafe { Given::from_c(raw, name) }?;
        let devices = DEVICES.read().unwrap_or_else(PoisonError::into_inner);
        let filter = devices.get(&raw.addr()).cloned().ok_or(Failure::Stranger(name))?;
        Ok(Self { device, filter })
    }
}

impl Deref for Filtered {
    type Target = Filter;

    fn deref(&self) -> &Filter {
        &self.filter
    }
}

/// A side's functions, and what its device is to them.
struct Target<'a> {
    v0: &'a DeviceV0,
    device: *mut Device,
}

impl Filtered {
    /// Whether an EGL draws on the device: it has put functions of its own over ours, and leaves them there.
    fn egl_is_on(&self) -> bool {
        let address = |v0: &DeviceV0| v0.surface_lock_front_buffer.map(|function| function as usize);
        address(&self.device.v0) != address(&over(self.mesa.v0))
    }

    /// Who is asked first for a buffer.
    fn order(&self) -> [Side; 2] {
        if self.egl_is_on() { [Side::Mesa, Side::Native] } else { [Side::Native, Side::Mesa] }
    }

    fn target(&self, side: Side) -> Target<'_> {
        match side {
            Side::Native => Target { v0: &self.native.v0, device: self.native.as_ptr() },
            Side::Mesa => Target { v0: &self.mesa.v0, device: self.device.as_ptr() },
        }
    }
}

/// What the first side gives that does not fail. When both fail it is the guest library that says why: Mesa does not always.
fn first_of<T>(order: [Side; 2], mut attempt: impl FnMut(Side) -> Result<T, Failure>) -> Result<T, Failure> {
    let [first, second] = order;
    let failure = match attempt(first) {
        Ok(made) => return Ok(made),
        Err(failure) => failure,
    };
    attempt(second).map_err(|other| if second == Side::Native { other } else { failure })
}

/// A buffer that C has given, with its device and who has made it.
struct Buffer {
    bo: Given<Bo>,
    gbm: Filtered,
    side: Side,
}

impl FromC for Buffer {
    type Raw = *mut Bo;

    unsafe fn from_c(raw: *mut Bo, name: &'static str) -> Result<Self, Failure> {
        // SAFETY: it is this function's promise.
        let bo = unsafe { Given::<Bo>::from_c(raw, name) }?;
        // SAFETY: whoever made the buffer has set the field, and the device outlives its buffers.
        let gbm = unsafe { Filtered::from_c(bo.gbm, "the buffer's device") }?;
        let side = gbm.side_of(raw);
        Ok(Self { bo, gbm, side })
    }
}

impl Buffer {
    fn target(&self) -> Target<'_> {
        self.gbm.target(self.side)
    }

    /// Refuses a plane that is not there: Mesa does not look in every case.
    fn check_plane(&self, plane: c_int) -> Result<(), Failure> {
        let count = dispatch!(self.target(), bo_get_planes(self.bo.as_ptr())).unless(|count| *count < 0)?;
        if (0..count).contains(&plane) { Ok(()) } else { Err(Failure::Plane { plane, count: count as usize }) }
    }
}

door! {
    /// Frees a device of Mesa's, and what is known of it.
    fn destroy(gbm: Filtered) -> (), or (), {
        DEVICES.write().unwrap_or_else(PoisonError::into_inner).remove(&gbm.device.as_ptr().addr());
        dispatch!(gbm.mesa, destroy(gbm.device.as_ptr()));
        Ok(())
    }
}
