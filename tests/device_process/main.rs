//! `virgbm host` as a process, in front of strangers and of a small VMM whose guest does what it likes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod chains;
mod connections;
mod guest;
mod life;
mod order;
mod process;
mod random;
mod ring;
mod shmem;
mod strangers;
mod vmm;
