//! The device, and what it can make.

use crate::abi::{Combination, Request, Told};
use crate::formats::KNOWN;
use crate::resolve::{self, Host, Resolved};
use std::ffi::{c_int, c_uint};
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use virgbm::guest::BackendKind;
use virgbm::usage::Dialect;
use virgbm::{BufferRequest, Format, Modifier, Usage};
use virgbm_gbm_core::door::{Given, slice};
use virgbm_gbm_core::native::{self, DeviceState};
use virgbm_gbm_core::{Failure, Flavour, exported};

/// `struct virgbm_device`.
pub struct Device {
    pub state: DeviceState,
    combinations: Vec<Combination>,
}

virgbm_gbm_core::public!(Device);

/// `BO_USE_RENDERSCRIPT`, which is the GPU's to sample.
const RENDERSCRIPT: u64 = 1 << 17;

impl Device {
    pub fn new(state: DeviceState) -> Self {
        let entries = state.guest.offer().table.entries().iter().filter(|entry| KNOWN.contains(&entry.format));
        let combination = |entry: &virgbm::Support| {
            let linear = if entry.modifier == Modifier::LINEAR { Usage::LINEAR } else { Usage::empty() };
            let script = if entry.usages.contains(Usage::TEXTURE) { RENDERSCRIPT } else { 0 };
            let use_flags = (entry.usages | linear).to_dialect(Dialect::Minigbm) | script;
            Combination { format: entry.format, modifier: entry.modifier, use_flags }
        };
        let combinations = entries.map(combination).collect();
        Self { state, combinations }
    }

    /// What the guest library is asked for.
    ///
    /// # Errors
    /// [`Failure`], for what no host or not this one has.
    pub fn request(&self, asked: &Request) -> Result<BufferRequest, Failure> {
        if asked.modifiers.is_null() != (asked.count == 0) {
            return Err(Failure::List(asked.count));
        }
        // SAFETY: a list is not null here, and virgbm_minigbm.h says that `count` elements are there.
        let modifiers = unsafe { slice(asked.modifiers, asked.count as usize) };
        let usage = Usage::from_dialect(Dialect::Minigbm, asked.use_flags)?;
        native::request_for_usage(&self.state, (asked.width, asked.height), asked.format, usage, modifiers)
    }
}

exported! {
    /// Opens the node of a descriptor.
    fn virgbm_open(fd: c_int) -> *mut Device, or null_mut(), {
        if fd < 0 {
            return Err(Failure::Descriptor(fd));
        }
        // SAFETY: it is not -1, and the caller keeps it open during the call; the kernel finds one that is closed.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let state = native::open(fd, Flavour::Minigbm).map_err(|reason| Failure::NoBackend(reason.to_string()))?;
        Ok(Box::into_raw(Box::new(Device::new(state))))
    }
}

exported! {
    /// Closes it; its buffers keep what they need of it.
    fn virgbm_close(device: Given<Device>) -> (), or (), {
        // SAFETY: it came from `Box::into_raw` in `virgbm_open`, and the caller gives it back.
        drop(unsafe { Box::from_raw(device.as_ptr()) });
        Ok(())
    }
}

exported! {
    /// A format with a modifier and its usages.
    fn virgbm_get_combination(device: Given<Device>, index: usize, combination: NonNull<Combination>) -> c_int, or -errno, {
        let found = device.combinations.get(index).ok_or(Failure::Behind(index))?;
        // SAFETY: it is not null, and virgbm_minigbm.h says that the structure is there.
        unsafe { combination.write(*found) };
        Ok(0)
    }
}

exported! {
    /// The planes of a format with a modifier; as the format has them where the host does not know the modifier, whose import then
    /// says why.
    fn virgbm_get_num_planes(device: Given<Device>, format: Format, modifier: Modifier) -> usize, or 0, {
        let known = device.state.guest.plane_count(format, modifier);
        Ok(known.map_or(format.planes().len(), |count| count as usize))
    }
}

exported! {
    /// The largest width and height.
    fn virgbm_get_largest_side(device: Given<Device>) -> c_uint, or 0, {
        let largest = device.state.guest.offer().table.largest();
        Ok(largest.width.min(largest.height))
    }
}

exported! {
    /// What gralloc leaves open, resolved in place.
    fn virgbm_resolve(device: Given<Device>, format: NonNull<Format>, use_flags: NonNull<u64>) -> c_int, or -errno, {
        // SAFETY: it is not null, and virgbm_minigbm.h says that a word is there.
        let asked_format = unsafe { format.read() };
        // SAFETY: it is not null, and virgbm_minigbm.h says that a word is there.
        let asked_flags = unsafe { use_flags.read() };
        let asked = Usage::from_dialect(Dialect::Minigbm, asked_flags)?;
        let has = |format, usage| device.state.guest.supports(format, usage).is_ok();
        let host = Host { is_2d: device.state.kind() == Some(BackendKind::Dumb), has: &has };
        let Resolved { format: found, usage } = resolve::resolve(&host, Resolved { format: asked_format, usage: asked });
        // Words that are one usage of ours stay as they were said.
        let (lost, gained) = (asked.difference(usage), usage.difference(asked));
        let flags = asked_flags & !lost.to_dialect(Dialect::Minigbm) | gained.to_dialect(Dialect::Minigbm);
        // SAFETY: the same.
        unsafe { format.write(found) };
        // SAFETY: the same.
        unsafe { use_flags.write(flags) };
        Ok(0)
    }
}

exported! {
    /// The layout of a buffer that is not made.
    fn virgbm_compute_layout(device: Given<Device>, request: Given<Request>, layout: NonNull<Told>) -> c_int, or -errno, {
        let found = device.state.guest.layout(&device.request(&request)?)?;
        let told = Told::new(&found, found.size_bytes, false)?;
        // SAFETY: it is not null, and virgbm_minigbm.h says that the structure is there.
        unsafe { layout.write(told) };
        Ok(0)
    }
}
