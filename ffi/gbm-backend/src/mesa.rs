//! Mesa's own backend.

use crate::CORE;
use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use virgbm_gbm_core::Failure;
use virgbm_gbm_core::abi::Core;
use virgbm_gbm_core::loader::{self, LoadError, Loaded};

/// Makes a device of Mesa's backend: from where the user says, else from beside the libgbm that loads us, else from the system.
pub fn load(fd: BorrowedFd<'_>, version: u32) -> Result<Loaded, LoadError> {
    // SAFETY: `gbmint_get_backend` has stored the loader's table, which lives as long as the loader does.
    let core = unsafe { CORE.load(Ordering::Acquire).as_ref() }.ok_or(LoadError::Refused(Failure::Null("core")))?;
    let mut folders = loader::told_folders().unwrap_or_default();
    folders.extend(beside(core));
    folders.extend(loader::system_folders());
    // The loader takes a device of the version that it has agreed on with us, and no other.
    loader::load(OsStr::new(loader::MESA), &folders, core, fd, version)?.check_version(version)
}

/// The folder of backends beside the library that a loader's table is in.
fn beside(core: &'static Core) -> Option<PathBuf> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address is any, and there is room for the answer.
    let found = unsafe { libc::dladdr((&raw const *core).cast(), info.as_mut_ptr()) };
    // SAFETY: zeros are an answer without a name, and dladdr fills it in.
    let info = unsafe { info.assume_init() };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr gives the name of a library that is loaded.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(Path::new(OsStr::from_bytes(name.to_bytes())).parent()?.join("gbm"))
}
