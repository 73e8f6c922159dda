//! Bytes only: the structures that guest and host exchange, with their constants. All little-endian, without implicit padding.

pub mod alloc;
pub mod cross_domain;
pub mod virgl;
pub mod virtio_gpu;
