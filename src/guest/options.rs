//! [`DeviceOptions`]: how a device is opened.

use super::error::Error;
use super::verdict::BackendKind;
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
    /// The only backend to use; `None` for the best that the host offers.
    pub backend: Option<BackendKind>,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self { capset_id: CAPSET_ID, name: "virgbm".to_owned(), patience: Duration::from_secs(5), backend: None }
    }
}

/// Names the only backend to use, for those who look for a fault.
const BACKEND_VARIABLE: &str = "VIRGBM_BACKEND";

impl DeviceOptions {
    /// The defaults, with the backend that the variable `VIRGBM_BACKEND` names.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`] for a name that is none.
    pub fn from_environment() -> Result<Self, Error> {
        let name = std::env::var_os(BACKEND_VARIABLE).filter(|name| !name.is_empty());
        let named = |name: std::ffi::OsString| {
            let kind = BackendKind::ALL.into_iter().find(|kind| name == kind.name());
            kind.ok_or_else(|| Error::UnknownBackend { name: name.to_string_lossy().into_owned() })
        };
        Ok(Self { backend: name.map(named).transpose()?, ..Self::default() })
    }
}
