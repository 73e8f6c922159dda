//! The C boundary: handles as a small libcutils makes them, what a lock gives, and the calls of a process without system calls.

#![allow(unsafe_code)]

pub mod fence;
pub mod handle;
pub mod memory;
pub mod quiet;
