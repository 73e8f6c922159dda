//! What needs the kernel: descriptors, mappings and ioctls. All of the crate's `unsafe` is here and at the C boundary.

#![allow(unsafe_code)]

pub mod dmabuf;
pub mod kcmp;
#[cfg(any(feature = "host", test))]
pub mod memfd;
pub mod mmap;
pub mod poll;
#[cfg(feature = "host")]
pub mod udmabuf;
pub mod virtgpu;
