//! [`DeviceOptions`]: how a device is opened.

use crate::wire::alloc::CAPSET_ID;
use std::time::Duration;

/// How a device is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// The id under which the host offers the allocation capset.
    pub capset_id: u32,
    /// What the host calls the context in its lists.
    pub name: String,
    /// How long the host may be silent before a call gives up. When it answers after all, the device goes on.
    pub patience: Duration,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self { capset_id: CAPSET_ID, name: "virgbm".to_owned(), patience: Duration::from_secs(5) }
    }
}
