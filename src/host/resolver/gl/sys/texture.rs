//! [`Texture`]: storage, transfers in rows, clears.

use super::context::{Current, Gl};
use super::image::EglImage;
use super::sampler::TEXTURE_EXTERNAL;
use super::{CallFailed, Reason};
use glow::{HasContext, PixelPackData, PixelUnpackData};
use std::ops::Range;
use std::sync::Arc;

/// `GL_BGRA8_EXT`, whose storage without GL_EXT_texture_storage is asked for by its transfer format.
const BGRA8: u32 = 0x93a1;

/// How texels are transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texels {
    /// The sized internal format.
    pub internal_format: u32,
    /// `format` and `type` of a transfer.
    pub format: u32,
    pub kind: u32,
    /// The bytes of one.
    pub bytes: u8,
}

/// A texture to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub target: u32,
    pub internal_format: u32,
    pub width: u32,
    pub height: u32,
    /// The depth, or the layers; 1 for a flat one.
    pub depth: u32,
    pub levels: u32,
    pub samples: u32,
}

impl Shape {
    /// A flat texture of one level.
    pub const fn flat(internal_format: u32, width: u32, height: u32) -> Self {
        Self { target: glow::TEXTURE_2D, internal_format, width, height, depth: 1, levels: 1, samples: 1 }
    }

    /// The faces or layers of a level, each cleared apart.
    fn layers(&self, level: u32) -> u32 {
        match self.target {
            glow::TEXTURE_3D => (self.depth >> level).max(1),
            glow::TEXTURE_CUBE_MAP => 6,
            _ => self.depth,
        }
    }
}

/// A texture, which goes with its context at the latest.
pub struct Texture {
    gl: Arc<Gl>,
    name: glow::Texture,
    target: u32,
    generation: u64,
}

impl Texture {
    /// Storage with nothing known in it.
    pub fn new(gl: &Arc<Gl>, shape: &Shape) -> Result<Self, CallFailed> {
        Self::make(gl, shape.target, |current| store(current, shape))
    }

    /// The texture that an image of EGL is.
    pub fn of_image(image: &EglImage, target: u32) -> Result<Self, CallFailed> {
        let call = "glEGLImageTargetTexture2DOES";
        Self::make(image.owner(), target, |current| {
            let bind = current.image_target.ok_or(CallFailed { call, reason: Reason::Unable("the driver has no such call") })?;
            // SAFETY: a texture of this target is bound, the context is current, and the image lives.
            current.call(call, |_| unsafe { bind(target, image.as_ptr()) })
        })
    }

    /// A new texture, bound while `fill` gives it storage.
    fn make(gl: &Arc<Gl>, target: u32, fill: impl FnOnce(&Current<'_>) -> Result<(), CallFailed>) -> Result<Self, CallFailed> {
        let (name, generation) = gl.with(None, |current| {
            // SAFETY: the context is current.
            let name = current.call("glGenTextures", |functions| unsafe { functions.create_texture() })?;
            let name = name.map_err(|_| CallFailed { call: "glGenTextures", reason: Reason::OutOfMemory })?;
            // SAFETY: the context is current, and the name is its own.
            let bound = current.call("glBindTexture", |functions| unsafe { functions.bind_texture(target, Some(name)) });
            let filled = bound.and_then(|()| fill(current)).and_then(|()| sample_nearest(current, target));
            // SAFETY: the context is current.
            unsafe { current.functions.bind_texture(target, None) };
            if filled.is_err() {
                // SAFETY: the context is current, and nobody else knows the name.
                unsafe { current.functions.delete_texture(name) };
            }
            filled.map(|()| (name, current.generation))
        })?;
        gl.made();
        Ok(Self { gl: gl.clone(), name, target, generation })
    }

    pub(super) const fn owner(&self) -> &Arc<Gl> {
        &self.gl
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) const fn name(&self) -> glow::Texture {
        self.name
    }

    pub(super) const fn target(&self) -> u32 {
        self.target
    }

    /// Whether it has no texels that could be read, only samples.
    pub const fn is_external(&self) -> bool {
        self.target == TEXTURE_EXTERNAL
    }

    /// Fills all of it with zeroes.
    pub fn clear(&self, shape: &Shape, attachment: u32) -> Result<(), CallFailed> {
        self.gl.with(Some(self.generation), |current| {
            let each = (0..shape.levels).flat_map(|level| (0..shape.layers(level)).map(move |layer| (level, layer)));
            let mut cleared = Ok(());
            for (level, layer) in each {
                cleared = attach(current, self, attachment, level, layer).and_then(|()| wipe(current, attachment));
                if cleared.is_err() {
                    break;
                }
            }
            release(current, attachment);
            cleared
        })
    }

    /// Reads rows of a flat texture, without padding between them.
    pub fn read(&self, texels: Texels, width: u32, rows: Range<u32>, bytes: &mut [u8]) -> Result<(), CallFailed> {
        let call = "glReadPixels";
        check_length(call, texels, width, &rows, bytes.len())?;
        self.gl.with(Some(self.generation), |current| {
            let attached = attach(current, self, glow::COLOR_ATTACHMENT0, 0, 0);
            let read = attached.and_then(|()| can_read(current, texels)).and_then(|()| {
                let (x, y, columns, count) = (0, signed(rows.start), signed(width), signed(rows.end - rows.start));
                current.call(call, |functions| {
                    // SAFETY: the context is current.
                    unsafe { functions.pixel_store_i32(glow::PACK_ALIGNMENT, 1) };
                    let pixels = PixelPackData::Slice(Some(bytes));
                    // SAFETY: the framebuffer is complete, and the slice has room for the rows without padding.
                    unsafe { functions.read_pixels(x, y, columns, count, texels.format, texels.kind, pixels) };
                })
            });
            release(current, glow::COLOR_ATTACHMENT0);
            read
        })
    }

    /// Writes rows of a flat texture, without padding between them, and waits until others can see them.
    pub fn write(&self, texels: Texels, width: u32, rows: Range<u32>, bytes: &[u8]) -> Result<(), CallFailed> {
        let call = "glTexSubImage2D";
        check_length(call, texels, width, &rows, bytes.len())?;
        self.gl.with(Some(self.generation), |current| {
            let (y, columns, count) = (signed(rows.start), signed(width), signed(rows.end - rows.start));
            let (target, pixels) = (self.target, PixelUnpackData::Slice(Some(bytes)));
            current.call(call, |functions| {
                // SAFETY: the context is current.
                unsafe { functions.pixel_store_i32(glow::UNPACK_ALIGNMENT, 1) };
                // SAFETY: the context is current, and the texture is its own.
                unsafe { functions.bind_texture(target, Some(self.name)) };
                // SAFETY: the slice holds the rows without padding.
                unsafe { functions.tex_sub_image_2d(target, 0, 0, y, columns, count, texels.format, texels.kind, pixels) };
                // SAFETY: the context is current.
                unsafe { functions.bind_texture(target, None) };
            })?;
            // SAFETY: the context is current.
            current.call("glFinish", |functions| unsafe { functions.finish() })
        })
    }

    /// The picture that a shader samples: eight bits each of red, green, blue and alpha.
    pub fn sample(&self, width: u32, height: u32) -> Result<Vec<u8>, CallFailed> {
        self.gl.with(Some(self.generation), |current| current.sampler.sample(current, self, width, height))
    }
}

impl Drop for Texture {
    fn drop(&mut self) {
        let gone = self.gl.with(Some(self.generation), |current| {
            // SAFETY: the context is current and the name is its own, which nobody uses after this.
            unsafe { current.functions.delete_texture(self.name) };
            Ok(())
        });
        match gone {
            Ok(()) | Err(CallFailed { reason: Reason::Lost, .. }) => {}
            Err(error) => log::error!("GL: a texture stays: {error}"),
        }
        self.gl.destroyed();
    }
}

pub(super) fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn check_length(call: &'static str, texels: Texels, width: u32, rows: &Range<u32>, length: usize) -> Result<(), CallFailed> {
    let count = u64::from(rows.end.saturating_sub(rows.start));
    let needed = (u64::from(width) * u64::from(texels.bytes)).checked_mul(count);
    let enough = needed == Some(length as u64) && count > 0;
    if enough { Ok(()) } else { Err(CallFailed { call, reason: Reason::Unable("the bytes are not those of the rows") }) }
}

fn store(current: &Current<'_>, shape: &Shape) -> Result<(), CallFailed> {
    let Shape { target, internal_format, width, height, depth, levels, samples } = *shape;
    let (width, height, depth) = (signed(width), signed(height), signed(depth));
    let (levels, samples) = (signed(levels), signed(samples));
    match target {
        glow::TEXTURE_2D_MULTISAMPLE => current.call("glTexStorage2DMultisample", |functions| {
            // SAFETY: the context is current, and a texture of this target is bound.
            unsafe { functions.tex_storage_2d_multisample(target, samples, internal_format, width, height, true) };
        }),
        glow::TEXTURE_3D | glow::TEXTURE_2D_ARRAY | glow::TEXTURE_CUBE_MAP_ARRAY => current.call("glTexStorage3D", |functions| {
            // SAFETY: the context is current, and a texture of this target is bound.
            unsafe { functions.tex_storage_3d(target, levels, internal_format, width, height, depth) };
        }),
        glow::TEXTURE_2D if internal_format == BGRA8 && levels == 1 => current.call("glTexImage2D", |functions| {
            let pixels = PixelUnpackData::Slice(None);
            let format = glow::BGRA;
            // SAFETY: the same, and without bytes it reads none.
            unsafe { functions.tex_image_2d(target, 0, signed(format), width, height, 0, format, glow::UNSIGNED_BYTE, pixels) };
        }),
        _ => current.call("glTexStorage2D", |functions| {
            // SAFETY: the context is current, and a texture of this target is bound.
            unsafe { functions.tex_storage_2d(target, levels, internal_format, width, height) };
        }),
    }
}

/// Samples are texels as they are; without that, and without more levels, a texture is not complete.
fn sample_nearest(current: &Current<'_>, target: u32) -> Result<(), CallFailed> {
    if target == glow::TEXTURE_2D_MULTISAMPLE {
        return Ok(());
    }
    let parameters = [
        (glow::TEXTURE_MIN_FILTER, glow::NEAREST),
        (glow::TEXTURE_MAG_FILTER, glow::NEAREST),
        (glow::TEXTURE_WRAP_S, glow::CLAMP_TO_EDGE),
        (glow::TEXTURE_WRAP_T, glow::CLAMP_TO_EDGE),
    ];
    current.call("glTexParameteri", |functions| {
        for (name, value) in parameters {
            // SAFETY: the context is current, and a texture of this target is bound.
            unsafe { functions.tex_parameter_i32(target, name, signed(value)) };
        }
    })
}

/// Puts a level and layer of a texture into the framebuffer, which is bound then.
pub(super) fn attach(
    current: &Current<'_>,
    texture: &Texture,
    attachment: u32,
    level: u32,
    layer: u32,
) -> Result<(), CallFailed> {
    let (target, name) = (glow::FRAMEBUFFER, Some(texture.name));
    let (level, layer) = (signed(level), layer);
    let status = current.call("glFramebufferTexture2D", |functions| {
        // SAFETY: the context is current, and the framebuffer is its own.
        unsafe { functions.bind_framebuffer(target, Some(current.framebuffer)) };
        match texture.target {
            glow::TEXTURE_3D | glow::TEXTURE_2D_ARRAY | glow::TEXTURE_CUBE_MAP_ARRAY => {
                // SAFETY: the context is current, and the texture is its own.
                unsafe { functions.framebuffer_texture_layer(target, attachment, name, level, signed(layer)) };
            }
            glow::TEXTURE_CUBE_MAP => {
                let face = glow::TEXTURE_CUBE_MAP_POSITIVE_X + layer;
                // SAFETY: the same.
                unsafe { functions.framebuffer_texture_2d(target, attachment, face, name, level) };
            }
            // SAFETY: the same.
            flat => unsafe { functions.framebuffer_texture_2d(target, attachment, flat, name, level) },
        }
        // SAFETY: the context is current.
        unsafe { functions.check_framebuffer_status(target) }
    })?;
    if status == glow::FRAMEBUFFER_COMPLETE {
        Ok(())
    } else {
        Err(CallFailed { call: "glCheckFramebufferStatus", reason: Reason::Framebuffer(status) })
    }
}

/// Takes the texture out of the framebuffer, which would keep it.
pub(super) fn release(current: &Current<'_>, attachment: u32) {
    let target = glow::FRAMEBUFFER;
    // SAFETY: the context is current; what is not bound or attached is ignored.
    unsafe { current.functions.framebuffer_texture_2d(target, attachment, glow::TEXTURE_2D, None, 0) };
    // SAFETY: the context is current.
    unsafe { current.functions.bind_framebuffer(target, None) };
    // SAFETY: the context is current: the errors of a call on nothing are taken away.
    unsafe { current.functions.get_error() };
}

fn wipe(current: &Current<'_>, attachment: u32) -> Result<(), CallFailed> {
    let mask = match attachment {
        glow::DEPTH_ATTACHMENT => glow::DEPTH_BUFFER_BIT,
        glow::DEPTH_STENCIL_ATTACHMENT => glow::DEPTH_BUFFER_BIT | glow::STENCIL_BUFFER_BIT,
        _ => glow::COLOR_BUFFER_BIT,
    };
    current.call("glClear", |functions| {
        // SAFETY: the context is current.
        unsafe { functions.clear_color(0.0, 0.0, 0.0, 0.0) };
        // SAFETY: the context is current.
        unsafe { functions.clear_depth_f32(0.0) };
        // SAFETY: the context is current, and the framebuffer complete.
        unsafe { functions.clear(mask) };
    })?;
    // SAFETY: the context is current.
    current.call("glFinish", |functions| unsafe { functions.finish() })
}

/// OpenGL ES gives texels as RGBA bytes or in the one form that the driver has chosen for the framebuffer.
fn can_read(current: &Current<'_>, texels: Texels) -> Result<(), CallFailed> {
    let number = |name: u32| {
        // SAFETY: the context is current with a complete framebuffer, and the name is one of a number.
        u32::try_from(unsafe { current.functions.get_parameter_i32(name) }).unwrap_or(0)
    };
    let chosen = (number(glow::IMPLEMENTATION_COLOR_READ_FORMAT), number(glow::IMPLEMENTATION_COLOR_READ_TYPE));
    let wanted = (texels.format, texels.kind);
    if wanted == chosen || wanted == (glow::RGBA, glow::UNSIGNED_BYTE) {
        return Ok(());
    }
    log::debug!("GL: texels of {:#06x} are read as {chosen:#06x?}, not {wanted:#06x?}", texels.internal_format);
    Err(CallFailed { call: "glReadPixels", reason: Reason::Unable("the driver gives the texels back in another form") })
}
