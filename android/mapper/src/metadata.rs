//! The metadata of buffers as the HAL streams it (`StandardMetadataType.aidl`, `IMapperMetadataTypes.h`).

mod crop;
mod get;
mod set;
mod standard;
mod stream;

pub use get::get;
pub use set::set;
pub use standard::{Setting, Standard};
