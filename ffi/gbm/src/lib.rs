//! `libgbm.so.1`: the functions of Mesa's `gbm.h`.
//!
//! It is a loader, as Mesa's is. Nodes of virtio-gpu have the table of [`virgbm_gbm_core::native`], all others that of a backend of
//! Mesa's ABI. What is the same for callers of minigbm's `gbm.h` is in [`virgbm_gbm_api`].

#![allow(unsafe_code)]

mod backend;
mod mesa;
