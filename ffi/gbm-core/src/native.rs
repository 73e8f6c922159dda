//! The backend: the functions of the ABI on [`virgbm::guest`].
//!
//! A device borrows the caller's descriptor and keeps one of its own on the same open file, so that it goes on when the caller
//! closes its. Every buffer is one kernel object, whatever its planes.

#![allow(unsafe_code)]

mod apart;
mod bo;
mod device;
mod import;
#[cfg(feature = "loopback")]
mod loopback;
mod map;
mod plan;
mod surface;
mod write;

pub use apart::{open_apart, open_first};
pub use bo::{BoState, own};
pub use device::{DeviceState, NotServed, create, open};
pub use import::{Claim, check_import};
pub use plan::request_for_usage;
