//! Backends of Mesa's ABI in shared libraries: in which folders they lie, and how one makes a device.
//!
//! A backend `name` is the file `<name>_gbm.so`, in `tls/` or plain, in the folders of `$GBM_BACKENDS_PATH` or else the system's. A
//! program with more rights than its user has ignores the variables.

#![allow(unsafe_code)]

use crate::abi::{Backend, Core, Device, GetBackend};
use crate::door::{self, FromC, Given};
use crate::{Failure, trace};
use std::env;
use std::ffi::{CStr, CString, OsStr, OsString, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use thiserror::Error;

/// The backend for every driver that Mesa knows.
pub const MESA: &str = "dri";

/// Where backends are when nobody says: where this library was installed to, then where systems have them.
const FOLDERS: &[Option<&str>] =
    &[option_env!("VIRGBM_GBM_BACKENDS_PATH"), MULTIARCH, Some("/usr/lib64/gbm"), Some("/usr/lib/gbm")];

/// Debian's folder for the machine.
const MULTIARCH: Option<&str> = if cfg!(target_arch = "x86_64") {
    Some("/usr/lib/x86_64-linux-gnu/gbm")
} else if cfg!(target_arch = "aarch64") {
    Some("/usr/lib/aarch64-linux-gnu/gbm")
} else {
    None
};

/// Why a backend does not serve a descriptor.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum LoadError {
    #[error("a name with a slash")]
    Name,
    #[error("not found in {}", .0.join(", "))]
    NotFound(Vec<String>),
    #[error("{path}: {message}")]
    Library { path: String, message: String },
    #[error("{0} is no backend: gbmint_get_backend is missing, or gives none")]
    NoBackend(String),
    #[error("it refuses the device: {0}")]
    Refused(Failure),
    #[error("it made a device of version {made} where {agreed} was agreed on")]
    Version { made: u32, agreed: u32 },
}

/// A library that is loaded until it is dropped.
pub struct Library(NonNull<c_void>);

// SAFETY: the handle is the dynamic linker's, which threads may use at once.
unsafe impl Send for Library {}

// SAFETY: the same.
unsafe impl Sync for Library {}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: the handle came from dlopen, and is closed once.
        unsafe { libc::dlclose(self.0.as_ptr()) };
    }
}

/// A device that a backend has made, with the library that it needs for as long as it lives.
pub struct Loaded {
    /// The device, of the version that was agreed on.
    pub device: NonNull<Device>,
    /// Its code.
    pub library: Library,
}

impl Loaded {
    /// The version of the ABI that the device has.
    pub fn version(&self) -> u32 {
        // SAFETY: the backend has made the device, which is alive.
        unsafe { self.device.as_ref() }.v0.backend_version
    }

    /// Refuses a device that is not of this version, and frees it.
    ///
    /// # Errors
    /// [`LoadError::Version`].
    pub fn check_version(self, agreed: u32) -> Result<Self, LoadError> {
        let made = self.version();
        if made == agreed {
            return Ok(self);
        }
        // SAFETY: the device is alive, and nobody else has it.
        if let Some(destroy) = unsafe { self.device.as_ref() }.v0.destroy {
            // SAFETY: the function is the device's own.
            unsafe { destroy(self.device.as_ptr()) };
        }
        Err(LoadError::Version { made, agreed })
    }
}

impl Loaded {
    /// Leaves the library with its device.
    pub fn keep(self) -> NonNull<Device> {
        let library = Box::into_raw(Box::new(self.library)).cast();
        // SAFETY: the backend has just made the device, and the field is the loader's.
        unsafe { (*self.device.as_ptr()).v0.backend_desc = library };
        self.device
    }
}

/// The library of a device's backend, which the caller of this drops; `None` for the native one.
pub fn library(device: &Device) -> Option<Box<Library>> {
    let library = NonNull::new(device.v0.backend_desc.cast::<Library>())?;
    // SAFETY: `keep` alone sets the field, to a box that the device owns; the device is about to go.
    Some(unsafe { Box::from_raw(library.as_ptr()) })
}

/// A variable that says where backends are or which one to take, unless it is not the user's to say.
pub fn variable(name: &str) -> Option<OsString> {
    // SAFETY: the function reads what the kernel gave the process.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) != 0 };
    env::var_os(name).filter(|value| !secure && !value.is_empty())
}

/// The folders of `$GBM_BACKENDS_PATH`.
pub fn told_folders() -> Option<Vec<PathBuf>> {
    variable("GBM_BACKENDS_PATH").map(|path| env::split_paths(&path).collect())
}

/// The system's folders.
pub fn system_folders() -> Vec<PathBuf> {
    FOLDERS.iter().flatten().map(PathBuf::from).collect()
}

/// Loads a backend by its name from the first folder that has it, and makes a device. Backend and caller take the lower of their
/// versions.
///
/// # Errors
/// [`LoadError`].
pub fn load(
    name: &OsStr,
    folders: &[PathBuf],
    core: &'static Core,
    fd: BorrowedFd<'_>,
    version: u32,
) -> Result<Loaded, LoadError> {
    let path = find(name, folders)?;
    let told = path.display().to_string();
    let library = open(&path)?;
    let Some(backend) = backend_of(&library, core) else { return Err(LoadError::NoBackend(told)) };
    let Some(create_device) = backend.create_device else { return Err(LoadError::NoBackend(told)) };
    let agreed = backend.backend_version.min(version);
    // SAFETY: the function is the backend's own, and the descriptor is open.
    let device = door::ask(|| unsafe { create_device(fd.as_raw_fd(), agreed) });
    let device = device.unless(|device| device.is_null()).map_err(LoadError::Refused)?;
    let Some(device) = NonNull::new(device) else { return Err(LoadError::NoBackend(told)) };
    let loaded = Loaded { device, library }.check_version(agreed)?;
    trace::note(format_args!("  * {} from {told}, version {agreed}", name.display()));
    Ok(loaded)
}

/// The first file of a backend.
fn find(name: &OsStr, folders: &[PathBuf]) -> Result<PathBuf, LoadError> {
    if name.as_bytes().contains(&b'/') {
        return Err(LoadError::Name);
    }
    let mut file = name.to_owned();
    file.push("_gbm.so");
    let mut paths = folders.iter().flat_map(|folder| [folder.join("tls").join(&file), folder.join(&file)]);
    let not_found = || LoadError::NotFound(folders.iter().map(|folder| folder.display().to_string()).collect());
    paths.find(|path| path.exists()).ok_or_else(not_found)
}

fn open(path: &Path) -> Result<Library, LoadError> {
    let failed = |message: String| LoadError::Library { path: path.display().to_string(), message };
    let text = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.to_string()))?;
    // SAFETY: the path is a string; whoever chose the folder answers for the code in it.
    let handle = unsafe { libc::dlopen(text.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    NonNull::new(handle).map(Library).ok_or_else(|| {
        // SAFETY: the call has no conditions.
        let message = unsafe { libc::dlerror() };
        // SAFETY: it is null or a string of this thread's, which stays until the next call.
        failed(unsafe { door::string(message) })
    })
}

/// What `gbmint_get_backend` gives.
fn backend_of(library: &Library, core: &'static Core) -> Option<Given<Backend>> {
    const ENTRY: &CStr = c"gbmint_get_backend";
    // SAFETY: the handle is open, the name a string.
    let symbol = NonNull::new(unsafe { libc::dlsym(library.0.as_ptr(), ENTRY.as_ptr()) })?;
    // SAFETY: the ABI says that a function of this type has this name.
    let get_backend: GetBackend = unsafe { std::mem::transmute(symbol.as_ptr()) };
    // SAFETY: the function is the backend's, and the loader's table lives forever.
    let backend = unsafe { get_backend(core) };
    // SAFETY: the backend gives null or its own table, which lives as long as its library.
    unsafe { Given::from_c(backend.cast_mut(), "backend") }.ok()
}
