//! What needs the kernel: descriptors, mappings and ioctls. All of the crate's `unsafe` is here and at the C boundary.

#![allow(unsafe_code)]

pub mod dmabuf;
#[cfg(feature = "host")]
pub mod host_pages;
pub mod kcmp;
pub mod memfd;
pub mod mmap;
pub mod poll;
#[cfg(feature = "host")]
pub mod udmabuf;
pub mod virtgpu;
