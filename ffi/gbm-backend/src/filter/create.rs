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
    /// Makes a buffer, of whichever side can; one that an EGL will draw to only where Mesa can draw at all.
    pub fn bo_create(
        gbm: Filtered, width: u32, height: u32, format: Format, flags: Flags, modifiers: *const Modifier, count: c_uint
    ) -> *mut Bo, or null_mut(), {
        let mut is_undrawable = false;
        first_of(gbm.order(), |side| {
            if is_undrawable {
                return Err(Failure::Undrawable);
            }
            let target = gbm.target(side);
            let made = dispatch!(target, bo_create(target.device, width, height, format, flags, modifiers, count));
            let made = made.unless(|bo| bo.is_null());
            is_undrawable = side == Side::Mesa && made.as_ref().is_err_and(|refusal| gbm.is_undrawable(flags, refusal));
            let made = made?;
            let Some(bo) = NonNull::new(made) else { return Ok(made) };
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
    /// 1 when a buffer of that kind can be made, else 0.
    pub fn is_format_supported(gbm: Filtered, format: Format, flags: Flags) -> c_int, or 0, {
        if gbm.is_to_be_drawn(flags) && gbm.try_mesa(format, flags).is_err_and(|refusal| gbm.is_undrawable(flags, &refusal)) {
            return Err(Failure::Undrawable);
        }
        first_of([Side::Native, Side::Mesa], |side| {
            let target = gbm.target(side);
            dispatch!(target, is_format_supported(target.device, format, flags)).unless(|answer| *answer == 0)?;
            if side == Side::Mesa { gbm.try_mesa(format, flags).map(|()| 1) } else { Ok(1) }
        })
    }
}

impl Filtered {
    /// Whether an EGL is on that will draw to a buffer.
    fn is_to_be_drawn(&self, flags: Flags) -> bool {
        flags.contains(Flags::RENDERING) && self.egl_is_on()
    }

    /// Whether Mesa's refusal is the last word: where it may make no buffer for the CPU, on a render node without a GPU, it may map
    /// none either, and crashes when it draws to one of ours.
    fn is_undrawable(&self, flags: Flags, refusal: &Failure) -> bool {
        self.is_to_be_drawn(flags) && refusal.errno() == libc::EACCES
    }

    /// Whether Mesa makes a buffer: it claims more than it makes, so that each kind is tried once.
    fn try_mesa(&self, format: Format, flags: Flags) -> Result<(), Failure> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refused) = tried.get(&(format, flags.0)) {
            return refused.map_or(Ok(()), |errno| Err(Failure::Backend(errno)));
        }
        let target = self.target(Side::Mesa);
        let made = dispatch!(target, bo_create(target.device, TRIED_PIXELS, TRIED_PIXELS, format, flags, null(), 0));
        let made = made.unless(|bo| bo.is_null());
        tried.insert((format, flags.0), made.as_ref().err().map(Failure::errno));
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
