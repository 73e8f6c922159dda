//! Imports: what C claims is checked first, whoever imports it then.

use super::buffers::Mesa;
use super::caller::identity;
use super::{Filtered, Side, first_of, is_native};
use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use virgbm_gbm_core::abi::{Bo, Flags};
use virgbm_gbm_core::native::check_import;
use virgbm_gbm_core::{Failure, Flavour, dispatch, door};

door! {
    /// Makes a buffer of somebody's. A buffer of the guest library comes back as one, unless an EGL may draw to it.
    pub fn bo_import(gbm: Filtered, kind: u32, buffer: *mut c_void, flags: Flags) -> *mut Bo, or null_mut(), {
        let import = |side, import_of| {
            let target = gbm.target(side);
            let made = dispatch!(target, bo_import(target.device, kind, buffer, flags)).unless(|bo| bo.is_null())?;
            let Some(bo) = NonNull::new(made) else { return Ok(made) };
            match side {
                Side::Native => gbm.keep_native(bo)?,
                Side::Mesa => gbm.keep_mesa(bo, Mesa { implicit: false, import_of }),
            }
            Ok(bo.as_ptr())
        };
        if Flavour::Mesa.import_kind(kind).is_none() {
            return import(Side::Mesa, None);
        }
        // SAFETY: it is this function's promise.
        let fd = match unsafe { check_import(&gbm.state, kind, buffer, flags) } {
            Ok(fd) => fd,
            // Only the guest library has all planes in one.
            Err(Failure::OtherBuffer(_)) => return import(Side::Mesa, None),
            Err(failure) => return Err(failure),
        };
        let import_of = identity(fd).filter(|identity| is_native(*identity));
        let comes_back = import_of.is_some() && !gbm.egl_is_on();
        let order = if comes_back { [Side::Native, Side::Mesa] } else { [Side::Mesa, Side::Native] };
        first_of(order, |side| import(side, import_of))
    }
}
