//! [`DeviceOptions`]: how a device is opened.

use crate::wire::alloc::CAPSET_ID;

/// How a device is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// The id under which the host offers the allocation capset.
    pub capset_id: u32,
    /// What the host calls the context in its lists.
    pub name: String,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self { capset_id: CAPSET_ID, name: "virgbm".to_owned() }
    }
}
