//! Which backend serves a descriptor: the native one for virtio-gpu, or one of Mesa's ABI from a shared library.
//!
//! As Mesa's loader looks for them: `$GBM_BACKEND`, then the driver's name, then `dri`; each as `<name>_gbm.so`, in `tls/` and
//! plain, in the folders of `$GBM_BACKENDS_PATH` or else the system's. A program with more rights than its user has ignores the
//! variables.

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use thiserror::Error;
use virgbm_gbm_core::abi::{self, Backend, Core, Device, GetBackend};
use virgbm_gbm_core::door::{self, FromC, Given};
use virgbm_gbm_core::{Failure, native, trace};

/// The backend for every driver that Mesa knows.
const FALLBACK: &str = "dri";

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

/// What this loader tells a backend.
static CORE: Core = Core { core_version: abi::VERSION, format_canonicalize: Some(format_canonicalize) };

virgbm_gbm_core::door! {
    /// Gives the fourcc for one of the two formats that gbm had before fourccs.
    fn format_canonicalize(format: virgbm::Format) -> virgbm::Format, or format, {
        Ok(abi::canonical(format))
    }
}

/// Why a backend does not serve a descriptor.
#[derive(Debug, Error)]
enum LoadError {
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

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: the handle came from dlopen, and is closed once.
        unsafe { libc::dlclose(self.0.as_ptr()) };
    }
}

/// Makes a device of the first backend that serves the descriptor.
pub fn create(fd: BorrowedFd<'_>) -> Result<NonNull<Device>, Failure> {
    let mut reasons = Vec::new();
    let secure = is_secure();
    let mut attempt = |name: &OsStr| {
        let loaded = load(name, fd, secure);
        loaded.inspect_err(|error| reasons.push(format!("{}: {error}", name.display()))).ok()
    };
    let asked_for = env::var_os("GBM_BACKEND").filter(|name| !secure && !name.is_empty());
    if let Some(device) = asked_for.and_then(|name| attempt(&name)) {
        return Ok(device);
    }
    let other = match native::open(fd) {
        Ok(state) => return Ok(native::create(fd, abi::VERSION, state)),
        Err(error) => error,
    };
    let driver = other.driver().map(OsString::from);
    for name in driver.into_iter().chain([OsString::from(FALLBACK)]) {
        if let Some(device) = attempt(&name) {
            return Ok(device);
        }
    }
    reasons.insert(0, other.to_string());
    Err(Failure::NoBackend(reasons.join("; ")))
}

/// The library of a device's backend, which the caller of this drops; `None` for the native one.
pub fn library(device: &Device) -> Option<Box<Library>> {
    let library = NonNull::new(device.v0.backend_desc.cast::<Library>())?;
    // SAFETY: `load` alone sets the field, to a box that the device owns; the device is about to go.
    Some(unsafe { Box::from_raw(library.as_ptr()) })
}

/// Loads a backend by its name and makes a device.
fn load(name: &OsStr, fd: BorrowedFd<'_>, secure: bool) -> Result<NonNull<Device>, LoadError> {
    let path = find(name, secure)?;
    let told = path.display().to_string();
    let library = open(&path)?;
    let Some(backend) = backend_of(&library) else { return Err(LoadError::NoBackend(told)) };
    let Some(create_device) = backend.create_device else { return Err(LoadError::NoBackend(told)) };
    let agreed = backend.backend_version.min(abi::VERSION);
    // SAFETY: the function is the backend's own, and the descriptor is open.
    let device = door::ask(|| unsafe { create_device(fd.as_raw_fd(), agreed) });
    let device = device.unless(|device| device.is_null()).map_err(LoadError::Refused)?;
    // SAFETY: the backend has just made the device.
    let given = unsafe { Given::<Device>::from_c(device, "device") }.map_err(LoadError::Refused)?;
    let made = given.v0.backend_version;
    if made != agreed {
        if let Some(destroy) = given.v0.destroy {
            // SAFETY: the function is the device's own, and nobody else has the device.
            unsafe { destroy(device) };
        }
        return Err(LoadError::Version { made, agreed });
    }
    trace::note(format_args!("  * {} from {told}, version {made}", name.display()));
    let library = Box::into_raw(Box::new(library)).cast();
    // SAFETY: the device is alive, and the field is the loader's.
    unsafe { (*device).v0.backend_desc = library };
    NonNull::new(device).ok_or(LoadError::NoBackend(told))
}

/// The first file of a backend.
fn find(name: &OsStr, secure: bool) -> Result<PathBuf, LoadError> {
    if name.as_bytes().contains(&b'/') {
        return Err(LoadError::Name);
    }
    let mut file = name.to_owned();
    file.push("_gbm.so");
    let told = env::var_os("GBM_BACKENDS_PATH").filter(|path| !secure && !path.is_empty());
    let folders: Vec<PathBuf> = match &told {
        Some(path) => env::split_paths(path).collect(),
        None => FOLDERS.iter().flatten().map(PathBuf::from).collect(),
    };
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
fn backend_of(library: &Library) -> Option<Given<Backend>> {
    const ENTRY: &CStr = c"gbmint_get_backend";
    // SAFETY: the handle is open, the name a string.
    let symbol = NonNull::new(unsafe { libc::dlsym(library.0.as_ptr(), ENTRY.as_ptr()) })?;
    // SAFETY: the ABI says that a function of this type has this name.
    let get_backend: GetBackend = unsafe { std::mem::transmute(symbol.as_ptr()) };
    // SAFETY: the function is the backend's, and the loader's table lives forever.
    let backend = unsafe { get_backend(&CORE) };
    // SAFETY: the backend gives null or its own table, which lives as long as its library.
    unsafe { Given::from_c(backend.cast_mut(), "backend") }.ok()
}

/// Whether the program has more rights than its user.
fn is_secure() -> bool {
    // SAFETY: the function reads what the kernel gave the process.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
