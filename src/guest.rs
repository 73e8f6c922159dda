//! The guest library: a [`Device`] on a virtio-gpu [`Node`] gives [`BufferObject`]s.

mod backend;
mod buffer;
mod device;
mod error;
mod handles;
mod mapping;
pub mod node;
mod open_files;
mod options;
mod shared;
#[cfg(feature = "smithay")]
pub mod smithay;
#[cfg(any(test, feature = "test-utils"))]
pub mod test_rig;
mod verdict;

pub use buffer::BufferObject;
pub use device::Device;
pub use error::Error;
pub use mapping::{Access, Mapping};
pub use node::{Node, NodeError};
pub use options::DeviceOptions;
pub use verdict::{BackendKind, Verdict};
