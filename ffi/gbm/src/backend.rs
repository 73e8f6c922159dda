//! Which backend serves a descriptor: the native one for virtio-gpu, or one of Mesa's ABI from a shared library.
//!
//! As Mesa's loader looks for them: `$GBM_BACKEND`, then the driver's name, then `dri`.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use virgbm_gbm_core::abi::{self, Core, Device};
use virgbm_gbm_core::{Failure, Flavour, loader, native};

/// What this loader tells a backend.
static CORE: Core = Core { core_version: abi::VERSION, format_canonicalize: Some(format_canonicalize) };

virgbm_gbm_core::door! {
    /// Gives the fourcc for one of the two formats that gbm had before fourccs.
    fn format_canonicalize(format: virgbm::Format) -> virgbm::Format, or format, {
        Ok(abi::canonical(format))
    }
}

/// Makes a device of the first backend that serves the descriptor.
pub fn create(fd: BorrowedFd<'_>) -> Result<NonNull<Device>, Failure> {
    let mut reasons = Vec::new();
    let folders = loader::told_folders().unwrap_or_else(loader::system_folders);
    let mut attempt = |name: &OsStr| match loader::load(name, &folders, &CORE, fd, abi::VERSION) {
        Ok(loaded) => Some(loaded.keep()),
        Err(error) => {
            reasons.push(format!("{}: {error}", name.display()));
            None
        }
    };
    if let Some(device) = loader::variable("GBM_BACKEND").and_then(|name| attempt(&name)) {
        return Ok(device);
    }
    let other = match native::open(fd, Flavour::Mesa) {
        Ok(state) => return Ok(native::create(fd, abi::VERSION, state)),
        Err(error) => error,
    };
    let driver = other.driver().map(OsString::from);
    for name in driver.into_iter().chain([OsString::from(loader::MESA)]) {
        if let Some(device) = attempt(&name) {
            return Ok(device);
        }
    }
    reasons.insert(0, other.to_string());
    Err(Failure::NoBackend(reasons.join("; ")))
}
