//! The host module: a virtio-gpu device that allocates.
//!
//! [`Device`] takes control-queue commands as bytes and answers as bytes; a VMM brings the transport, the guest's memory
//! ([`GuestMemory`]) and the host-visible window ([`Window`]). Parameters become memory in a [`Resolver`].

mod backing;
mod capsets;
mod config;
mod context;
mod control;
mod device;
mod dma_buf;
mod edid;
mod error;
mod guest_memory;
mod object;
mod picture;
mod quota;
mod ranges;
pub mod resolver;
mod resource;
mod scanout;
#[cfg(any(test, feature = "test-utils"))]
pub mod test_rig;
mod transfer;
#[cfg(feature = "vhost-user")]
pub mod vhost_user;
mod window;

pub use config::{DeviceConfig, Features, Protocols};
pub use device::view::ContextInfo;
pub use device::{Device, DeviceError, Stats};
pub use error::CommandError;
pub use guest_memory::{FilePiece, GuestMemory, OutsideGuestMemory};
pub use picture::{Picture, PictureError};
pub use quota::{Amount, Quota};
pub use resolver::memory::MemoryResolver;
#[cfg(feature = "vulkan")]
pub use resolver::vulkan::{VulkanOptions, VulkanResolver};
pub use resolver::{Allocation, Export, ExportKind, Image, Parameters, ResolveError, Resolver, Shown};
pub use resource::ResourceInfo;
pub use window::{NoWindow, Window};
