//! What Android's mapper, allocator and gralloc module share.
//!
//! A [`Descriptor`] becomes a buffer and its [`Handle`] ([`Allocator`]); whoever receives the handle in another process makes an
//! [`Imported`] buffer of it, after every field was checked. What a handle has no room for lies in [`SharedMetadata`].

pub mod allocate;
pub mod device;
pub mod door;
pub mod format;
pub mod handle;
pub mod import;
pub mod logging;
pub mod metadata;
pub mod planes;
pub mod refusal;
pub mod registry;
pub mod resolve;
pub mod sys;
pub mod usage;

pub use allocate::{Allocation, Allocator};
pub use format::HalFormat;
pub use handle::{BadHandle, Description, Handle};
pub use import::{Imported, LockError};
pub use metadata::SharedMetadata;
pub use refusal::Refusal;
pub use registry::Registry;
pub use resolve::{Descriptor, OptionValue};
pub use virgbm_android_abi::NativeHandle;
pub use virgbm_android_abi::imapper::Rect;
