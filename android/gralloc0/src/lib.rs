//! `gralloc.virgbm.so`: Android's gralloc0 module (`hardware/gralloc.h`, API 0.3) on virgbm, for ARC++, Waydroid, Android-x86, and
//! Mesa's u_gralloc, which knows it by the name "CrOS Gralloc" and its private calls.

mod device;
mod doors;
mod failure;
mod module;
mod perform;
mod ycbcr;

pub use module::HMI;
