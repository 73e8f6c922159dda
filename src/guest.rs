//! The guest library: a [`Device`] on a virtio-gpu [`Node`] gives [`BufferObject`]s.

pub mod backend;
mod buffer;
mod device;
mod error;
mod handles;
mod mapping;
pub mod node;

pub use backend::{BackendKind, Verdict};
pub use buffer::BufferObject;
pub use device::{Device, DeviceOptions};
pub use error::Error;
pub use mapping::{Access, Mapping};
pub use node::{Node, NodeError};
