//! EGL's and GL's calls as methods that keep their rules about threads, contexts and lengths: all `unsafe` of the resolver is here.
//!
//! One context draws for everybody: whoever holds its lock has it current on their thread, and gives it back afterwards, since a
//! context can be current on one thread only. What is made holds the context's owner, so that nothing is destroyed too late.

#![allow(unsafe_code)]

mod context;
mod display;
mod image;
mod sampler;
mod texture;

use thiserror::Error;

pub use context::{Facts, Gl};
pub use display::{Platform, platforms};
pub use image::{DmaBuf, DmaBufPlane, EglImage};
pub use sampler::TEXTURE_EXTERNAL;
pub use texture::{Shape, Texels, Texture};

/// A call that the driver refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{call}: {reason}")]
pub struct CallFailed {
    /// The call's name.
    pub call: &'static str,
    /// Why.
    pub reason: Reason,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    #[error("out of memory")]
    OutOfMemory,
    #[error("the context was lost, with what it held")]
    Lost,
    #[error("GL error {0:#06x}")]
    Gl(u32),
    #[error("{0}")]
    Egl(khronos_egl::Error),
    #[error("EGL says no, and not why")]
    Unexplained,
    #[error("framebuffer status {0:#06x}")]
    Framebuffer(u32),
    #[error("{0}")]
    Unable(&'static str),
}

/// Names the call of a refusal by EGL.
fn refused(call: &'static str) -> impl Fn(khronos_egl::Error) -> CallFailed {
    move |error| {
        let reason = match error {
            khronos_egl::Error::BadAlloc => Reason::OutOfMemory,
            khronos_egl::Error::ContextLost => Reason::Lost,
            other => Reason::Egl(other),
        };
        CallFailed { call, reason }
    }
}

/// Why there is no GL here.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("EGL 1.5: {0}")]
    Library(String),
    #[error("its platform has no {0}")]
    Missing(&'static str),
    #[error("{0}: {1}")]
    Node(String, String),
    #[error(transparent)]
    Call(#[from] CallFailed),
    #[error("OpenGL ES {0}.{1}, and 3.0 is needed")]
    Old(u32, u32),
}
