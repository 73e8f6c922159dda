//! [`DeviceConfig`]: how a device is set up.

use super::quota::Quota;
use crate::wire::alloc::CAPSET_ID;

/// How a device is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// The id under which the allocation capset is offered: 1 to 31, and none that is already a standard.
    pub capset_id: u32,
    /// What blob sizes are rounded up to, in bytes: a power of two, 4096 or more.
    pub blob_alignment: u32,
    /// Its limits.
    pub quota: Quota,
    /// The size of its screen in pixels; a device without one only renders.
    pub scanout: Option<(u32, u32)>,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { capset_id: CAPSET_ID, blob_alignment: 4096, quota: Quota::default(), scanout: None }
    }
}
