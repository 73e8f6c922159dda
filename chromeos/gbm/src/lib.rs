//! `libgbm.so.1` for callers of minigbm's `gbm.h`: nodes of virtio-gpu, and no others.
//!
//! What is the same for callers of Mesa's is in [`virgbm_gbm_api`]; what is here depends on the header, or is minigbm's alone. Every
//! device has the table of [`virgbm_gbm_core::native`], whose buffers can be asked for more than the table tells.

#![allow(unsafe_code)]

mod bo;
mod detect;
mod device;
