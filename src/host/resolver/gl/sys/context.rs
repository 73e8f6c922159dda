//! The context: current on one thread at a time, made anew when it was lost.

use super::display::{Display, Platform, function};
use super::sampler::Sampler;
use super::{CallFailed, LoadError, Reason, refused};
use glow::HasContext;
use khronos_egl as egl;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `EGL_CONTEXT_OPENGL_RESET_NOTIFICATION_STRATEGY_EXT` and `EGL_LOSE_CONTEXT_ON_RESET_EXT`.
const RESET_STRATEGY: egl::Int = 0x3138;
const LOSE_ON_RESET: egl::Int = 0x31bf;

type ResetStatus = unsafe extern "system" fn() -> u32;
/// `glEGLImageTargetTexture2DOES`.
pub(super) type ImageTarget = unsafe extern "system" fn(u32, *mut c_void);

/// What the driver says of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its renderer, and its version of OpenGL ES.
    pub renderer: String,
    pub version: String,
    /// EGL_MESA_image_dma_buf_export, and EGL_EXT_image_dma_buf_import with modifiers.
    pub exports: bool,
    pub imports: bool,
    /// GL_OES_EGL_image_external_essl3: a shader samples what only an external texture shows.
    pub samples_external: bool,
    /// GL_EXT_texture_format_BGRA8888.
    pub bgra: bool,
    /// GL_EXT_texture_norm16.
    pub norm16: bool,
    /// The largest side in texels of a flat texture and of one with depth, the most layers and samples.
    pub largest_side: u32,
    pub largest_depth: u32,
    pub most_layers: u32,
    pub most_samples: u32,
}

impl Facts {
    /// Whether it draws without a GPU.
    pub fn is_software(&self) -> bool {
        let name = self.renderer.to_lowercase();
        ["llvmpipe", "softpipe", "swrast", "software", "swiftshader"].iter().any(|software| name.contains(software))
    }
}

/// The owner of the context.
pub struct Gl {
    pub(super) display: Display,
    facts: Facts,
    state: Mutex<State>,
    live: AtomicUsize,
    #[cfg(test)]
    fault: Mutex<Option<(usize, Reason)>>,
}

struct State {
    context: egl::Context,
    functions: glow::Context,
    reset_status: Option<ResetStatus>,
    image_target: Option<ImageTarget>,
    /// One that everything is read and cleared through.
    framebuffer: glow::Framebuffer,
    sampler: Sampler,
    /// How many contexts there were before: a texture belongs to one.
    generation: u64,
    lost: bool,
}

// SAFETY: the context and its names are used only by who holds the lock around them, which makes the context current first.
unsafe impl Send for State {}

/// The context, current on this thread.
pub(super) struct Current<'a> {
    gl: &'a Gl,
    pub functions: &'a glow::Context,
    pub framebuffer: glow::Framebuffer,
    pub image_target: Option<ImageTarget>,
    pub sampler: &'a Sampler,
    pub context: egl::Context,
    pub generation: u64,
}

impl Gl {
    /// Opens a platform, and makes a context on it.
    pub fn open(platform: &Platform) -> Result<Arc<Self>, LoadError> {
        let display = Display::open(platform)?;
        let before = Before::new(&display);
        let made = State::new(&display, 0);
        before.restore(&display);
        let (state, facts) = made?;
        Ok(Arc::new(Self {
            display,
            facts,
            state: Mutex::new(state),
            live: AtomicUsize::new(0),
            #[cfg(test)]
            fault: Mutex::default(),
        }))
    }

    /// What the driver says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The formats of dma-bufs that it takes, each with its modifiers and whether only an external texture shows that.
    pub fn dma_buf_formats(&self) -> Vec<(u32, Vec<(u64, bool)>)> {
        self.display.dma_buf_formats()
    }

    /// How many textures and images of EGL there are.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn made(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn destroyed(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` with the context current on this thread; a lost one is made anew first. `generation` is the context that the
    /// work's textures belong to.
    pub(super) fn with<T>(
        &self,
        generation: Option<u64>,
        work: impl FnOnce(&Current<'_>) -> Result<T, CallFailed>,
    ) -> Result<T, CallFailed> {
        let mut state = self.lock();
        let before = Before::new(&self.display);
        let done = self.with_current(&mut state, generation, work);
        before.restore(&self.display);
        done
    }

    fn with_current<T>(
        &self,
        state: &mut State,
        generation: Option<u64>,
        work: impl FnOnce(&Current<'_>) -> Result<T, CallFailed>,
    ) -> Result<T, CallFailed> {
        let lost = CallFailed { call: "the context", reason: Reason::Lost };
        if state.lost {
            state.renew(&self.display)?;
        }
        if generation.is_some_and(|generation| generation != state.generation) {
            return Err(lost);
        }
        let current = self.display.egl.make_current(self.display.raw, None, None, Some(state.context));
        if let Err(failed) = current.map_err(refused("eglMakeCurrent")) {
            // The next one makes another context.
            state.lost = matches!(failed.reason, Reason::Lost);
            return Err(failed);
        }
        let done = work(&Current {
            gl: self,
            functions: &state.functions,
            framebuffer: state.framebuffer,
            image_target: state.image_target,
            sampler: &state.sampler,
            context: state.context,
            generation: state.generation,
        });
        let failed = matches!(&done, Err(CallFailed { reason: Reason::Lost, .. }));
        if failed || state.is_reset() {
            log::error!("GL: the context of {} was lost: another is made", self.facts.renderer);
            state.lost = true;
            return Err(lost);
        }
        done
    }
}

impl Current<'_> {
    /// Makes a call, and asks GL whether it has worked.
    pub fn call<T>(&self, call: &'static str, work: impl FnOnce(&glow::Context) -> T) -> Result<T, CallFailed> {
        self.gl.stumble(call)?;
        let done = work(self.functions);
        // SAFETY: the context is current.
        match unsafe { self.functions.get_error() } {
            glow::NO_ERROR => Ok(done),
            glow::OUT_OF_MEMORY => Err(CallFailed { call, reason: Reason::OutOfMemory }),
            glow::CONTEXT_LOST => Err(CallFailed { call, reason: Reason::Lost }),
            other => Err(CallFailed { call, reason: Reason::Gl(other) }),
        }
    }
}

/// Drivers that fail, for tests.
#[cfg(test)]
impl Gl {
    /// Lets the call after `calls` others fail, once.
    pub fn fail_after(&self, calls: usize, reason: Reason) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some((calls, reason));
    }

    /// Takes the fault back; whether it was still to come.
    pub fn forgive(&self) -> bool {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    pub(super) fn stumble(&self, call: &'static str) -> Result<(), CallFailed> {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.take() {
            Some((0, reason)) => Err(CallFailed { call, reason }),
            later => {
                *fault = later.map(|(calls, reason)| (calls - 1, reason));
                Ok(())
            }
        }
    }
}

#[cfg(not(test))]
impl Gl {
    #[allow(clippy::unused_self)]
    pub(super) const fn stumble(&self, _: &'static str) -> Result<(), CallFailed> {
        Ok(())
    }
}

impl Drop for Gl {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        // With its context goes whatever was made in it.
        let _destroyed = self.display.egl.destroy_context(self.display.raw, state.context);
    }
}

/// What was current on this thread: a VMM may draw too.
struct Before {
    display: Option<egl::Display>,
    draw: Option<egl::Surface>,
    read: Option<egl::Surface>,
    context: Option<egl::Context>,
    api: egl::Enum,
}

impl Before {
    /// Looks what is current, and takes to OpenGL ES.
    fn new(display: &Display) -> Self {
        let egl = &display.egl;
        let (draw, read) = (egl.get_current_surface(egl::DRAW), egl.get_current_surface(egl::READ));
        let before =
            Self { display: egl.get_current_display(), draw, read, context: egl.get_current_context(), api: egl.query_api() };
        let _always_there = egl.bind_api(egl::OPENGL_ES_API);
        before
    }

    fn restore(self, display: &Display) {
        let egl = &display.egl;
        // A context stays current on its thread until it is let go, and no other thread could use it.
        let _let_go = egl.make_current(display.raw, None, None, None);
        let _known = egl.bind_api(self.api);
        if let (Some(other), Some(context)) = (self.display, self.context)
            && let Err(error) = egl.make_current(other, self.draw, self.read, Some(context))
        {
            log::error!("EGL: the context that was current can't be made so again: {error}");
        }
    }
}

impl State {
    /// A context, left current.
    fn new(display: &Display, generation: u64) -> Result<(Self, Facts), LoadError> {
        let robust = display.has("EGL_EXT_create_context_robustness");
        let mut attributes = vec![egl::CONTEXT_MAJOR_VERSION, 3, egl::CONTEXT_MINOR_VERSION, 0];
        if robust {
            attributes.extend([RESET_STRATEGY, LOSE_ON_RESET]);
        }
        attributes.push(egl::NONE);
        // SAFETY: EGL_KHR_no_config_context, which was seen, takes no config for any.
        let no_config = unsafe { egl::Config::from_ptr(std::ptr::null_mut()) };
        let context =
            display.egl.create_context(display.raw, no_config, None, &attributes).map_err(refused("eglCreateContext"))?;
        Self::furnish(display, context, generation, robust).inspect_err(|_| {
            let _destroyed = display.egl.destroy_context(display.raw, context);
        })
    }

    fn furnish(display: &Display, context: egl::Context, generation: u64, robust: bool) -> Result<(Self, Facts), LoadError> {
        let egl = &display.egl;
        egl.make_current(display.raw, None, None, Some(context)).map_err(refused("eglMakeCurrent"))?;
        let load = |name: &str| egl.get_proc_address(name);
        // SAFETY: the context is current, and what is loaded are GL's own functions.
        let functions = unsafe {
            glow::Context::from_loader_function_cstr(|name| {
                name.to_str().ok().and_then(load).map_or(std::ptr::null(), |function| function as *const c_void)
            })
        };
        let version = functions.version();
        if version.major < 3 || !version.is_embedded {
            return Err(LoadError::Old(version.major, version.minor));
        }
        let extensions = functions.supported_extensions();
        let has = |name: &str| extensions.contains(name);
        let at_least = |major, minor| (version.major, version.minor) >= (major, minor);
        let status = if at_least(3, 2) {
            Some("glGetGraphicsResetStatus")
        } else {
            let named =
                [("GL_KHR_robustness", "glGetGraphicsResetStatusKHR"), ("GL_EXT_robustness", "glGetGraphicsResetStatusEXT")];
            named.into_iter().find(|(extension, _)| has(extension)).map(|(_, name)| name)
        };
        // SAFETY: the version or extension is there, and says that the function of this name has this type.
        let reset_status = status.filter(|_| robust).and_then(|name| unsafe { function(egl, name) });
        // SAFETY: the same.
        let target = || unsafe { function(egl, "glEGLImageTargetTexture2DOES") };
        let image_target: Option<ImageTarget> = if has("GL_OES_EGL_image") { target() } else { None };
        let samples_external = has("GL_OES_EGL_image_external_essl3");
        let number = |name: u32| {
            // SAFETY: the context is current, and the name is one of OpenGL ES 3.0 with one number.
            u32::try_from(unsafe { functions.get_parameter_i32(name) }).unwrap_or(0)
        };
        let text = |name: u32| {
            // SAFETY: the context is current, and the name is one of a text.
            unsafe { functions.get_parameter_string(name) }
        };
        let facts = Facts {
            renderer: text(glow::RENDERER),
            version: text(glow::VERSION),
            exports: display.export.is_some(),
            imports: display.import.is_some() && image_target.is_some(),
            samples_external,
            bgra: has("GL_EXT_texture_format_BGRA8888"),
            norm16: has("GL_EXT_texture_norm16"),
            largest_side: number(glow::MAX_TEXTURE_SIZE),
            largest_depth: number(glow::MAX_3D_TEXTURE_SIZE),
            most_layers: number(glow::MAX_ARRAY_TEXTURE_LAYERS),
            most_samples: if at_least(3, 1) { number(glow::MAX_SAMPLES) } else { 1 },
        };
        let call = "glGenFramebuffers";
        // SAFETY: the context is current.
        let framebuffer = unsafe { functions.create_framebuffer() };
        let framebuffer = framebuffer.map_err(|_| CallFailed { call, reason: Reason::OutOfMemory })?;
        let sampler = Sampler::new(&functions, samples_external)?;
        let state = Self { context, functions, reset_status, image_target, framebuffer, sampler, generation, lost: false };
        Ok((state, facts))
    }

    /// Another context for one that was lost, whose textures went with it.
    fn renew(&mut self, display: &Display) -> Result<(), CallFailed> {
        let made = Self::new(display, self.generation + 1);
        let call = "eglCreateContext";
        let (state, _) = made.map_err(|error| match error {
            LoadError::Call(failed) => failed,
            _ => CallFailed { call, reason: Reason::Lost },
        })?;
        let _destroyed = display.egl.destroy_context(display.raw, self.context);
        *self = state;
        Ok(())
    }

    /// Whether the driver has taken the current context away.
    fn is_reset(&self) -> bool {
        // SAFETY: the context is current.
        self.reset_status.is_some_and(|status| unsafe { status() } != glow::NO_ERROR)
    }
}
