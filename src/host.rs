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
mod fence;
mod guest_memory;
mod object;
mod picture;
mod quota;
mod ranges;
pub mod renderer;
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
#[cfg(feature = "virglrenderer")]
pub use context::virglrenderer;
pub use device::view::{ContextInfo, RendererInfo};
pub use device::{Device, DeviceError, Stats};
pub use error::CommandError;
pub use fence::Fence;
pub use guest_memory::{FilePiece, GuestMemory, OutsideGuestMemory};
pub use picture::{Picture, PictureError};
pub use quota::{Amount, Quota};
pub use renderer::Renderer;
#[cfg(feature = "gl")]
pub use resolver::gbm::{GbmError, GbmResolver};
#[cfg(feature = "gl")]
pub use resolver::gl::{GlError, GlOptions, GlResolver};
pub use resolver::memory::MemoryResolver;
#[cfg(feature = "vulkan")]
pub use resolver::vulkan::{VulkanOptions, VulkanResolver};
pub use resolver::{Allocation, Export, ExportKind, Image, OpaqueMemory, Parameters, ResolveError, Resolver, Shown};
#[cfg(any(feature = "gl", feature = "vulkan"))]
pub use resolver::{Finding, Report};
pub use resource::ResourceInfo;
pub use window::{NoWindow, Window};
