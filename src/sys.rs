//! What needs the kernel: descriptors, mappings and ioctls. All of the crate's `unsafe` is here and at the C boundary.

#![allow(unsafe_code)]

#[cfg(feature = "host")]
pub mod dmabuf;
#[cfg(feature = "host")]
pub mod memfd;
pub mod mmap;
#[cfg(feature = "host")]
pub mod udmabuf;
pub mod virtgpu;
