//! `perform`: the private calls of CrOS Gralloc, by which Mesa's u_gralloc and others find a buffer's planes.
//!
//! In C its arguments after the operation are variadic; the operation says how many of them are there.

#![allow(unsafe_code)]

use crate::doors::{BUFFERS, enter, put};
use crate::failure::Failure;
use std::ffi::c_int;
use virgbm_android_abi::BufferHandle;
use virgbm_android_abi::gralloc::{BufferInfo, FRONT_RENDERING, Gralloc, Operation};
use virgbm_android_handle::format::standard_fourcc;
use virgbm_android_handle::handle::Claim;
use virgbm_android_handle::sys::native_handle::{self, Numbers};
use virgbm_android_handle::{BadHandle, Description};

/// `GRALLOC_DRM_GET_USAGE_FRONT_RENDERING_BIT`.
const WANTS_FRONT_RENDERING: usize = 1;

const OPERATIONS: [Operation; 6] = [
    Operation::GetStride,
    Operation::GetFormat,
    Operation::GetDimensions,
    Operation::GetBackingStore,
    Operation::GetBufferInfo,
    Operation::GetUsage,
];

pub unsafe extern "C" fn perform(_: *const Gralloc, operation: c_int, first: usize, second: usize, third: usize) -> c_int {
    enter("perform", || {
        let known = OPERATIONS.into_iter().find(|known| *known as c_int == operation);
        let known = known.ok_or(Failure::Operation(operation))?;
        if known == Operation::GetUsage {
            let usage = if first & WANTS_FRONT_RENDERING != 0 { FRONT_RENDERING } else { 0 };
            // SAFETY: the operation says that the usage goes there.
            return unsafe { put(pointer::<u32>(second), usage, "usage") };
        }
        // SAFETY: the operation says that the first argument is a handle.
        let (about, numbers) = unsafe { describe(std::ptr::with_exposed_provenance(first)) }?;
        match known {
            // SAFETY: the operation says that the stride goes there.
            Operation::GetStride => unsafe { put(pointer::<u32>(second), about.pixel_stride, "stride") },
            // SAFETY: the operation says that the format goes there.
            Operation::GetFormat => unsafe { put(pointer::<i32>(second), about.hal_format, "format") },
            Operation::GetDimensions => {
                // SAFETY: the operation says that the width goes there.
                unsafe { put(pointer::<u32>(second), about.width, "width") }?;
                // SAFETY: the operation says that the height goes there.
                unsafe { put(pointer::<u32>(third), about.height, "height") }
            }
            // SAFETY: the operation says that the id goes there.
            Operation::GetBackingStore => unsafe { put(pointer::<u64>(second), about.id, "id") },
            // SAFETY: the operation says that the structure goes there.
            Operation::GetBufferInfo => unsafe { put(pointer::<BufferInfo>(second), info(&about, &numbers), "info") },
            Operation::GetUsage => Ok(()),
        }
    })
}

fn pointer<T>(argument: usize) -> *mut T {
    std::ptr::with_exposed_provenance_mut(argument)
}

/// What a handle says, registered or not: Mesa asks about those that another mapper of the process has imported.
///
/// # Safety
/// It is null, or a handle.
unsafe fn describe(handle: BufferHandle) -> Result<(Description, Numbers), Failure> {
    // SAFETY: the caller promises it.
    let numbers = unsafe { native_handle::read(handle) }.ok_or(BadHandle::Header)?;
    let about = match BUFFERS.get(handle.addr()) {
        Some(buffer) => buffer.description().clone(),
        None => Claim::from_parts(numbers.fds(), numbers.ints())?.check()?.description,
    };
    Ok((about, numbers))
}

fn info(about: &Description, numbers: &Numbers) -> BufferInfo {
    let layout = &about.layout;
    let mut info = BufferInfo {
        drm_fourcc: standard_fourcc(layout.format),
        num_fds: layout.planes.len() as c_int,
        modifier: layout.modifier.value(),
        ..BufferInfo::default()
    };
    for (to, fd) in info.fds.iter_mut().take(layout.planes.len()).zip(numbers.fds()) {
        *to = *fd;
    }
    for ((offset, stride), plane) in info.offset.iter_mut().zip(&mut info.stride).zip(layout.planes.iter()) {
        (*offset, *stride) = (plane.offset_bytes as u32, plane.stride_bytes);
    }
    info
}
