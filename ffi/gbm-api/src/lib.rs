//! The functions of `gbm.h` that are the same for callers of Mesa's and of minigbm's: a library that links this exports them.
//!
//! Every call goes through the table of the device that it is about, read anew each time, since others (EGL) change tables. What
//! depends on the header is left to the library: which nodes are served and how, what a list of modifiers without a usage means,
//! and the unit of a pixel's size.

#![allow(unsafe_code)]

/// Calls a function of a device's table.
macro_rules! dispatch {
    ($($call:tt)*) => { virgbm_gbm_core::dispatch!($($call)*) };
}

mod bo;
pub mod create;
pub mod device;
mod plane;
pub mod surface;
