//! What the `libgbm.so.1` of each flavour, Mesa's backends and minigbm's share: the backend ABI, the doors through which C comes in,
//! and a backend that serves virtio-gpu nodes with [`virgbm::guest`].

pub mod abi;
pub mod door;
mod errno;
pub mod failure;
pub mod flavour;
pub mod loader;
pub mod native;
pub mod trace;

pub use failure::Failure;
pub use flavour::{Flavour, ImportKind};
