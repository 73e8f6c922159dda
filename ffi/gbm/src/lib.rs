//! `libgbm.so.1`: the functions of `gbm.h`.
//!
//! It is a loader, as Mesa's is: every call goes through the table of the device that it is about, read anew each time, since
//! others (EGL) change tables. Nodes of virtio-gpu have the table of [`virgbm_gbm_core::native`], all others that of a backend of
//! Mesa's ABI.

#![allow(unsafe_code)]

/// Makes an exported door.
macro_rules! exported {
    ($(#[$meta:meta])* fn $($rest:tt)*) => {
        virgbm_gbm_core::door! {
            $(#[$meta])*
            #[unsafe(no_mangle)]
            pub fn $($rest)*
        }
    };
}

/// Calls a function of a device's table.
macro_rules! dispatch {
    ($($call:tt)*) => { virgbm_gbm_core::dispatch!($($call)*) };
}

mod backend;
mod bo;
mod create;
mod device;
mod plane;
mod surface;
