//! virgbm: the buffer allocator for virtual machines.
//!
//! One buffer goes one way: a [`BufferRequest`] becomes a [`Layout`], the layout becomes a blob that the host allocates, the blob
//! becomes a mapping or a file descriptor.

pub mod format;
pub mod guest;
#[cfg(feature = "host")]
pub mod host;
pub mod layout;
pub mod modifier;
pub mod offer;
#[cfg(feature = "host")]
pub mod pixel;
pub mod request;
pub mod support;
pub mod sys;
pub mod usage;
pub mod wire;

pub use format::{Component, ComponentKind, Format, FormatClass, FormatInfo, PlaneFormat};
pub use layout::{Alignment, Layout, LayoutError, Plane, Planes};
pub use modifier::Modifier;
pub use offer::{Offer, OfferError};
pub use request::{BufferRequest, RequestError};
pub use support::{Extent, Support, SupportTable, Unsupported};
pub use usage::Usage;

/// The README's examples are compiled with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
