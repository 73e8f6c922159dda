//! Memory that other processes see, and the handles of Android's C libraries. All of the crate's `unsafe` is here.

#![allow(unsafe_code)]

pub mod native_handle;
pub mod words;
