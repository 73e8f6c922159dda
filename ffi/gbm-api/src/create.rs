//! Making buffers, and giving them back.

use crate::bo::device_of;
use std::ffi::{c_uint, c_void};
use std::ptr::{null, null_mut};
use virgbm::{Format, Modifier, RequestError};
use virgbm_gbm_core::abi::{Bo, Device, Flags};
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::{Failure, exported, trace};

/// What is wrong whatever the backend.
pub(crate) fn check(flags: Flags, modifiers: *const Modifier, count: c_uint) -> Result<(), Failure> {
    if modifiers.is_null() != (count == 0) {
        return Err(Failure::List(count));
    }
    if count > 0 && flags.contains(Flags::LINEAR) {
        return Err(Failure::LinearWithList);
    }
    Ok(())
}

/// Makes a buffer, when there is nothing wrong with it that any backend would refuse.
///
/// # Errors
/// [`Failure`], as the backend has it.
pub fn create(
    gbm: &Given<Device>,
    (width, height): (u32, u32),
    format: Format,
    flags: Flags,
    (modifiers, count): (*const Modifier, c_uint),
) -> Result<*mut Bo, Failure> {
    if width == 0 || height == 0 {
        return Err(RequestError::Empty { width, height, layers: 1 }.into());
    }
    check(flags, modifiers, count)?;
    let bo = dispatch!(gbm, bo_create(gbm.as_ptr(), width, height, format, flags, modifiers, count));
    bo.unless(|bo| bo.is_null())
}

exported! {
    /// Makes a buffer whose modifier the host chooses. Null with errno as `virgbm_gbm_core::Failure::errno` has it.
    fn gbm_bo_create(gbm: Given<Device>, width: u32, height: u32, format: Format, flags: Flags) -> *mut Bo, or null_mut(), {
        create(&gbm, (width, height), format, flags, (null(), 0))
    }
}

exported! {
    /// Makes a buffer for these flags, with one of the listed modifiers.
    fn gbm_bo_create_with_modifiers2(
        gbm: Given<Device>, width: u32, height: u32, format: Format, modifiers: *const Modifier, count: c_uint, flags: Flags
    ) -> *mut Bo, or null_mut(), {
        create(&gbm, (width, height), format, flags, (modifiers, count))
    }
}

exported! {
    /// Makes a buffer of somebody else's: `buffer` points to what `GBM_BO_IMPORT_*` says.
    fn gbm_bo_import(gbm: Given<Device>, kind: u32, buffer: *mut c_void, flags: Flags) -> *mut Bo, or null_mut(), {
        dispatch!(gbm, bo_import(gbm.as_ptr(), kind, buffer, flags)).unless(|bo| bo.is_null())
    }
}

exported! {
    /// Frees a buffer. The destructor of its user data is called before, while the buffer is whole.
    fn gbm_bo_destroy(bo: Given<Bo>) -> (), or (), {
        let device = device_of(&bo)?;
        if let Some(destroy) = bo.destroy_user_data {
            let (bo, data) = (bo.as_ptr(), bo.user_data);
            // SAFETY: the caller has given both for this.
            trace::callback(|| unsafe { destroy(bo, data) });
        }
        dispatch!(device, bo_destroy(bo.as_ptr()));
        Ok(())
    }
}
