//! The machine's device, opened when it is first needed; for tests without a virtual machine a host in this process.

use thiserror::Error;
use virgbm::guest::node::drm::{DrmNode, OpenError};
use virgbm::guest::{self, Device};

/// Where buffers of other processes come from.
#[derive(Clone)]
pub enum Source {
    /// A device that imports them.
    Device(Device),
    /// A host in some process of a test, whose descriptors are files that are mapped as they are.
    #[cfg(feature = "loopback")]
    Files,
}

/// Why there is no device.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum NoDevice {
    #[error(transparent)]
    Node(#[from] OpenError),
    #[error(transparent)]
    Guest(#[from] guest::Error),
    #[cfg(feature = "loopback")]
    #[error("the host in this process: {0}")]
    Loopback(String),
}

/// Opens the first node of virtio-gpu, or with `VIRGBM_LOOPBACK=1` and the feature `loopback` a host in this process.
///
/// # Errors
/// [`NoDevice`].
pub fn open() -> Result<Device, NoDevice> {
    #[cfg(feature = "loopback")]
    if is_loopback() {
        let node = virgbm::guest::node::loopback::Loopback::new().map_err(|error| NoDevice::Loopback(error.to_string()))?;
        return Ok(Device::open(node)?);
    }
    Ok(Device::open(DrmNode::open_first()?)?)
}

impl Source {
    /// The same for buffers of other processes.
    ///
    /// # Errors
    /// [`NoDevice`].
    pub fn open() -> Result<Self, NoDevice> {
        #[cfg(feature = "loopback")]
        if is_loopback() {
            return Ok(Self::Files);
        }
        open().map(Self::Device)
    }
}

#[cfg(feature = "loopback")]
fn is_loopback() -> bool {
    std::env::var_os("VIRGBM_LOOPBACK").is_some_and(|value| value == "1")
}
