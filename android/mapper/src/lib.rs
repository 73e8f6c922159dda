//! `mapper.virgbm.so`: Android's stable-C IMapper 5 (`android/hardware/graphics/mapper/IMapper.h`) on virgbm.
//!
//! It needs no binder, and opens the device when the first buffer is imported.

mod failure;
mod functions;
mod metadata;

pub use functions::{AIMapper_loadIMapper, ANDROID_HAL_MAPPER_VERSION, ANDROID_HAL_STABLEC_VERSION};
