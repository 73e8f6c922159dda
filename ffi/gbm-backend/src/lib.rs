//! `virtio_gpu_gbm.so`: what Mesa's libgbm loads for nodes of the driver `virtio_gpu`.
//!
//! It exports `gbmint_get_backend` and nothing else, and starts no thread. A device is served in one of three [modes](mode::Mode).

#![allow(unsafe_code)]

mod filter;
mod mesa;
mod mode;

use mode::Mode;
use std::ffi::{c_int, c_uint};
use std::os::fd::BorrowedFd;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};
use virgbm_gbm_core::abi::{self, Backend, Core, Device};
use virgbm_gbm_core::door::Given;
use virgbm_gbm_core::{Failure, Flavour, native, trace};

/// What this backend tells the loader.
static BACKEND: Backend =
    Backend { backend_version: abi::VERSION, backend_name: c"virtio_gpu".as_ptr(), create_device: Some(create_device) };

/// What the loader tells its backends: kept, since the ABI gives it once and not with each device.
static CORE: AtomicPtr<Core> = AtomicPtr::new(null_mut());

virgbm_gbm_core::door! {
    /// The backend's only export.
    #[unsafe(no_mangle)]
    pub fn gbmint_get_backend(core: Given<Core>) -> *const Backend, or null(), {
        CORE.store(core.as_ptr(), Ordering::Release);
        Ok(&raw const BACKEND)
    }
}

virgbm_gbm_core::door! {
    /// Makes a device, of the loader's version or ours, whichever is lower; null leaves the descriptor to the loader's next backend.
    fn create_device(fd: c_int, version: c_uint) -> *mut Device, or null_mut(), {
        if fd < 0 {
            return Err(Failure::NoDevice(fd));
        }
        // SAFETY: it is not negative, and the loader keeps it open.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        serve(fd, version.min(abi::VERSION)).map_err(Failure::HandedOn)
    }
}

/// Makes a device in the mode that is asked for, or else in the first that works: filter, native, pass.
fn serve(fd: BorrowedFd<'_>, version: u32) -> Result<*mut Device, String> {
    let asked_for = Mode::asked_for();
    match asked_for {
        Some(Mode::Pass) => return Err("VIRGBM_GBM_MODE says so".to_owned()),
        Some(Mode::Native) => return serve_natively(fd, version),
        Some(Mode::Filter) | None => {}
    }
    let state = native::open_apart(fd).map_err(|error| error.to_string())?;
    match mesa::load(fd, version) {
        Ok(mesa) => filter::create(fd, version, mesa, state).map_err(|failure| failure.to_string()),
        Err(error) if asked_for.is_some() => Err(format!("Mesa's backend: {error}")),
        Err(error) => {
            trace::note(format_args!("  - filter: Mesa's backend: {error}"));
            drop(state);
            serve_natively(fd, version)
        }
    }
}

fn serve_natively(fd: BorrowedFd<'_>, version: u32) -> Result<*mut Device, String> {
    let state = native::open(fd, Flavour::Mesa).map_err(|error| error.to_string())?;
    Ok(native::create(fd, version, state).as_ptr())
}
