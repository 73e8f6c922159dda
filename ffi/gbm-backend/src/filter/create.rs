//! Making buffers, and what can be made.

use super::buffers::Mesa;
use super::{Filtered, Side, first_of};
use std::ffi::{c_int, c_uint};
use std::ptr::{NonNull, null, null_mut};
use std::sync::PoisonError;
use virgbm::{Format, Modifier};
use virgbm_gbm_core::abi::{Bo, Flags};
use virgbm_gbm_core::{Failure, dispatch, door};

/// What every size limit and a cursor allow.
const TRIED_PIXELS: u32 = 64;

door! {
    /// Makes a buffer, of whichever side can.
    pub fn bo_create(
        gbm: Filtered, width: u32, height: u32, format: Format, flags: Flags, modifiers: *const Modifier, count: c_uint
    ) -> *mut Bo, or null_mut(), {
        first_of(gbm.order(), |side| {
            let target = gbm.target(side);
            let made = dispatch!(target, bo_create(target.device, width, height, format, flags, modifiers, count));
            let bo = made.unless(|bo| bo.is_null())?;
            let Some(bo) = NonNull::new(bo) else { return Ok(bo) };
            match side {
                Side::Native => gbm.keep_native(bo)?,
                Side::Mesa => gbm.keep_mesa(bo, Mesa { implicit: is_implicit(flags, count), import_of: None }),
            }
            Ok(bo.as_ptr())
        })
    }
}

/// Whether Mesa chooses how a buffer lies. What is written as bytes lies in rows.
fn is_implicit(flags: Flags, count: c_uint) -> bool {
    count == 0 && !flags.contains(Flags::LINEAR) && !flags.contains(Flags::WRITE)
}

door! {
    /// 1 when a buffer of that kind can be made, else 0. Mesa claims more than it makes, so that it is tried once.
    pub fn is_format_supported(gbm: Filtered, format: Format, flags: Flags) -> c_int, or 0, {
        let supported = |side| {
            let target = gbm.target(side);
            dispatch!(target, is_format_supported(target.device, format, flags)).unless(|answer| *answer == 0)
        };
        first_of([Side::Native, Side::Mesa], |side| match side {
            Side::Native => supported(side),
            Side::Mesa => supported(side).and_then(|answer| gbm.mesa_makes(format, flags).map(|()| answer)),
        })
    }
}

impl Filtered {
    /// Whether Mesa makes what it claims to.
    fn mesa_makes(&self, format: Format, flags: Flags) -> Result<(), Failure> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(makes) = tried.get(&(format, flags.0)) {
            return if *makes { Ok(()) } else { Err(Failure::Missing("buffer of that kind, though it claims so")) };
        }
        let target = self.target(Side::Mesa);
        let made = dispatch!(target, bo_create(target.device, TRIED_PIXELS, TRIED_PIXELS, format, flags, null(), 0));
        let made = made.unless(|bo| bo.is_null());
        tried.insert((format, flags.0), made.is_ok());
        let bo = made?;
        dispatch!(target, bo_destroy(bo));
        Ok(())
    }
}

door! {
    /// How many planes a buffer has; -1 when neither side knows.
    pub fn get_format_modifier_plane_count(gbm: Filtered, format: Format, modifier: Modifier) -> c_int, or -1, {
        first_of(gbm.order(), |side| {
            let target = gbm.target(side);
            dispatch!(target, get_format_modifier_plane_count(target.device, format, modifier)).unless(|count| *count < 0)
        })
    }
}
