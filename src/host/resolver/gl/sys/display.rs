//! The connection to EGL: which platform, its extensions, and the functions that those add.

use super::{CallFailed, LoadError, Reason, refused};
use crate::host::resolver::gbm::GbmDevice;
use khronos_egl::{self as egl, Attrib, Boolean, Int};
use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) type Egl = egl::DynamicInstance<egl::EGL1_5>;

/// `EGL_PLATFORM_SURFACELESS_MESA`, `EGL_PLATFORM_DEVICE_EXT` and `EGL_PLATFORM_GBM_KHR`.
const SURFACELESS: egl::Enum = 0x31dd;
const DEVICE: egl::Enum = 0x313f;
const GBM: egl::Enum = 0x31d7;

/// The devices of one host, at most.
const DEVICES: usize = 16;

type QueryDeviceString = unsafe extern "system" fn(*mut c_void, Int) -> *const c_char;
type QueryDevices = unsafe extern "system" fn(Int, *mut *mut c_void, *mut Int) -> Boolean;

/// Whose GL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platform {
    /// What EGL takes without a screen.
    Surfaceless,
    /// A device of EGL's list, by its place there.
    Device(usize),
    /// A DRM node, which libgbm opens.
    Node(PathBuf),
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Surfaceless => f.write_str("the surfaceless platform"),
            Self::Device(index) => write!(f, "EGL's device {index}"),
            Self::Node(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An initialised display.
pub struct Display {
    pub(super) egl: Egl,
    pub(super) raw: egl::Display,
    pub(super) export: Option<Export>,
    pub(super) import: Option<Import>,
    extensions: BTreeSet<String>,
    /// What the display stands on.
    node: Option<Arc<GbmDevice>>,
}

// SAFETY: EGL's calls may be made from any thread, and a display is no pointer that anybody here follows.
unsafe impl Send for Display {}
// SAFETY: the same.
unsafe impl Sync for Display {}

/// EGL_MESA_image_dma_buf_export.
#[derive(Clone, Copy)]
pub(super) struct Export {
    pub query: unsafe extern "system" fn(egl::EGLDisplay, egl::EGLImage, *mut Int, *mut Int, *mut u64) -> Boolean,
    pub export: unsafe extern "system" fn(egl::EGLDisplay, egl::EGLImage, *mut Int, *mut Int, *mut Int) -> Boolean,
}

/// EGL_EXT_image_dma_buf_import_modifiers.
#[derive(Clone, Copy)]
pub(super) struct Import {
    formats: unsafe extern "system" fn(egl::EGLDisplay, Int, *mut Int, *mut Int) -> Boolean,
    modifiers: unsafe extern "system" fn(egl::EGLDisplay, Int, Int, *mut u64, *mut Boolean, *mut Int) -> Boolean,
}

/// A function of EGL's or GL's by its name.
///
/// # Safety
/// `T` is a pointer to a function, of the type that the version or the extension says, which is there.
pub(super) unsafe fn function<T: Copy>(egl: &Egl, name: &str) -> Option<T> {
    const { assert!(size_of::<T>() == size_of::<extern "system" fn()>()) };
    // SAFETY: both are pointers to functions, as the caller has promised.
    egl.get_proc_address(name).map(|function| unsafe { std::mem::transmute_copy(&function) })
}

fn words(text: Result<&CStr, egl::Error>) -> BTreeSet<String> {
    let text = text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

impl Display {
    /// Opens a platform.
    pub fn open(platform: &Platform) -> Result<Self, LoadError> {
        // SAFETY: the library runs code when it is loaded, as every program with EGL trusts it to.
        let egl = unsafe { Egl::load_required() }.map_err(|error| LoadError::Library(error.to_string()))?;
        let client = words(egl.query_string(None, egl::EXTENSIONS));
        let needs = |extension: &'static str| {
            if client.contains(extension) { Ok(()) } else { Err(LoadError::Missing(extension)) }
        };
        let mut node = None;
        let (kind, native) = match platform {
            Platform::Surfaceless => {
                needs("EGL_MESA_platform_surfaceless")?;
                (SURFACELESS, std::ptr::null_mut())
            }
            Platform::Device(index) => {
                needs("EGL_EXT_platform_device")?;
                needs("EGL_EXT_device_enumeration")?;
                let listed = devices(&egl)?;
                (DEVICE, *listed.get(*index).ok_or(LoadError::Missing("more devices"))?)
            }
            Platform::Node(path) => {
                needs("EGL_KHR_platform_gbm")?;
                let device = open_node(path)?;
                (GBM, node.insert(device).as_ptr())
            }
        };
        // SAFETY: the platform's extension is there, and the pointer is what it asks for: none, a device of EGL's list, or a
        // device of libgbm that lives as long as the display.
        let raw = unsafe { egl.get_platform_display(kind, native, &[egl::ATTRIB_NONE]) };
        let raw = raw.map_err(refused("eglGetPlatformDisplay"))?;
        egl.initialize(raw).map_err(refused("eglInitialize"))?;
        let extensions = words(egl.query_string(Some(raw), egl::EXTENSIONS));
        let mut display = Self { egl, raw, export: None, import: None, extensions, node };
        for extension in ["EGL_KHR_no_config_context", "EGL_KHR_surfaceless_context", "EGL_KHR_gl_texture_2D_image"] {
            if !display.has(extension) {
                return Err(LoadError::Missing(extension));
            }
        }
        display.export = display.exporting();
        display.import = display.importing();
        Ok(display)
    }

    /// Whether the display has an extension.
    pub fn has(&self, extension: &str) -> bool {
        self.extensions.contains(extension)
    }

    fn exporting(&self) -> Option<Export> {
        if !self.has("EGL_MESA_image_dma_buf_export") {
            return None;
        }
        // SAFETY: the extension is there, and says that the function of this name has this type.
        let query = unsafe { function(&self.egl, "eglExportDMABUFImageQueryMESA") }?;
        // SAFETY: the same.
        let export = unsafe { function(&self.egl, "eglExportDMABUFImageMESA") }?;
        Some(Export { query, export })
    }

    fn importing(&self) -> Option<Import> {
        if !self.has("EGL_EXT_image_dma_buf_import") || !self.has("EGL_EXT_image_dma_buf_import_modifiers") {
            return None;
        }
        // SAFETY: the extension is there, and says that the function of this name has this type.
        let formats = unsafe { function(&self.egl, "eglQueryDmaBufFormatsEXT") }?;
        // SAFETY: the same.
        let modifiers = unsafe { function(&self.egl, "eglQueryDmaBufModifiersEXT") }?;
        Some(Import { formats, modifiers })
    }

    /// The formats of dma-bufs that it takes, each with its modifiers and whether only an external texture shows that.
    pub fn dma_buf_formats(&self) -> Vec<(u32, Vec<(u64, bool)>)> {
        let Some(Import { formats, modifiers }) = self.import else { return Vec::new() };
        let raw = self.raw.as_ptr();
        let mut count = 0;
        // SAFETY: the display is initialised; without room it counts.
        let counted = unsafe { formats(raw, 0, std::ptr::null_mut(), &mut count) };
        let mut codes: Vec<Int> = vec![0; usize::try_from(count).unwrap_or(0)];
        if counted == egl::FALSE || codes.is_empty() {
            return Vec::new();
        }
        // SAFETY: the array has room for as many as it is told.
        let filled = unsafe { formats(raw, count, codes.as_mut_ptr(), &mut count) };
        codes.truncate(if filled == egl::FALSE { 0 } else { usize::try_from(count).unwrap_or(0) });
        let of = |code: Int| {
            let mut count = 0;
            // SAFETY: the display is initialised; without room it counts.
            unsafe { modifiers(raw, code, 0, std::ptr::null_mut(), std::ptr::null_mut(), &mut count) };
            let length = usize::try_from(count).unwrap_or(0);
            let (mut numbers, mut external) = (vec![0; length], vec![egl::FALSE; length]);
            if length > 0 {
                // SAFETY: both arrays have room for as many as it is told.
                unsafe { modifiers(raw, code, count, numbers.as_mut_ptr(), external.as_mut_ptr(), &mut count) };
            }
            let filled = numbers.into_iter().zip(external.into_iter().map(|only| only != egl::FALSE));
            (code as u32, filled.take(usize::try_from(count).unwrap_or(0)).collect())
        };
        codes.into_iter().map(of).collect()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // Others of the process share the display of any platform but a node of its own.
        if self.node.is_some() {
            let _terminated = self.egl.terminate(self.raw);
        }
    }
}

/// What EGL has without a screen, in its order of preference where all of it draws in software: a device that is software by its own
/// word; what Mesa finds by itself; and devices of DRM nodes, whose imports by software have ended processes.
pub fn platforms() -> Vec<Platform> {
    // SAFETY: as in `Display::open`.
    let Ok(egl) = (unsafe { Egl::load_required() }) else { return vec![Platform::Surfaceless] };
    let client = words(egl.query_string(None, egl::EXTENSIONS));
    let lists = ["EGL_EXT_platform_device", "EGL_EXT_device_enumeration", "EGL_EXT_device_query"];
    let all_there = lists.iter().all(|name| client.contains(*name));
    let listed = if all_there { devices(&egl).unwrap_or_default() } else { Vec::new() };
    let each = (0..).zip(&listed).map(|(index, device)| (Platform::Device(index), is_software(&egl, *device)));
    let (software, others): (Vec<_>, Vec<_>) = each.partition(|(_, software)| *software);
    let named = |each: Vec<(Platform, bool)>| each.into_iter().map(|(platform, _)| platform);
    named(software).chain([Platform::Surfaceless]).chain(named(others)).collect()
}

/// Whether a device says that it is none.
fn is_software(egl: &Egl, device: *mut c_void) -> bool {
    // SAFETY: the extension is there, as the caller has seen, and says that the function of this name has this type.
    let query: Option<QueryDeviceString> = unsafe { function(egl, "eglQueryDeviceStringEXT") };
    let Some(query) = query else { return false };
    // SAFETY: the device is one of EGL's list.
    let text = unsafe { query(device, egl::EXTENSIONS) };
    if text.is_null() {
        return false;
    }
    // SAFETY: EGL's strings have an end and live as long as the library.
    words(Ok(unsafe { CStr::from_ptr(text) })).contains("EGL_MESA_device_software")
}

fn open_node(path: &Path) -> Result<Arc<GbmDevice>, LoadError> {
    let opened = GbmDevice::open(path).map(Arc::new);
    opened.map_err(|error| LoadError::Node(path.display().to_string(), error.to_string()))
}

/// EGL's devices, whose extension the caller has seen.
fn devices(egl: &Egl) -> Result<Vec<*mut c_void>, CallFailed> {
    let call = "eglQueryDevicesEXT";
    let failed = CallFailed { call, reason: Reason::Unexplained };
    // SAFETY: the extension is there, and says that the function of this name has this type.
    let query: QueryDevices = unsafe { function(egl, call) }.ok_or(failed)?;
    let (mut found, mut count) = ([std::ptr::null_mut(); DEVICES], 0);
    // SAFETY: the array has room for as many as it is told.
    let told = unsafe { query(DEVICES as Int, found.as_mut_ptr(), &mut count) };
    if told == egl::FALSE {
        return Err(failed);
    }
    Ok(found.into_iter().take(usize::try_from(count).unwrap_or(0)).collect())
}

/// Attributes for a call, with their end.
pub(super) fn attributes(pairs: &[(Attrib, Attrib)]) -> Vec<Attrib> {
    let pairs = pairs.iter().flat_map(|(name, value)| [*name, *value]);
    pairs.chain([egl::ATTRIB_NONE]).collect()
}
