//! A driver of minigbm's for virtio-gpu nodes, on [`virgbm::guest`]: what `backend.c` calls, which has minigbm's own headers.
//!
//! `virgbm_minigbm.h` is the boundary, and none of minigbm's structures cross it: these change between its versions, without a number
//! by which to tell. Failures are -errno, as minigbm has them.

#![allow(unsafe_code)]

mod abi;
mod buffer;
mod device;
mod formats;
mod resolve;
#[cfg(test)]
#[cfg(feature = "loopback")]
mod test_rig;
mod view;
