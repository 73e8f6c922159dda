//! Android's graphics allocator service on virgbm: `IAllocator` of version 2 over binder.
//!
//! What a client sends becomes a [`Descriptor`](virgbm_android_handle::Descriptor) in [`descriptor`], and that becomes buffers and
//! their handles in `virgbm-android-handle`; [`Service`] stands between the two.

pub mod aidl;
pub mod descriptor;
mod service;

pub use service::{INSTANCE, MAPPER_SUFFIX, Service};
