//! [`Sampler`]: draws a texture into eight bits each of red, green, blue and alpha, as any program of the host would see it.

use super::context::Current;
use super::texture::{Texture, signed};
use super::{CallFailed, Reason};
use glow::{HasContext, PixelPackData};

/// One triangle over all of the target, whose texels are asked for by their places in it.
const VERTICES: &str = "#version 300 es
void main() {
    gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}
";
const FLAT: &str = "#version 300 es
precision highp float;
uniform highp sampler2D picture;
out vec4 colour;
void main() { colour = texelFetch(picture, ivec2(gl_FragCoord.xy), 0); }
";
const EXTERNAL: &str = "#version 300 es
#extension GL_OES_EGL_image_external_essl3 : require
precision highp float;
uniform highp samplerExternalOES picture;
out vec4 colour;
void main() { colour = texture(picture, gl_FragCoord.xy / vec2(textureSize(picture, 0))); }
";

/// `GL_TEXTURE_EXTERNAL_OES`.
pub const TEXTURE_EXTERNAL: u32 = 0x8d65;

/// The programs of one context.
pub(super) struct Sampler {
    flat: glow::Program,
    external: Option<glow::Program>,
    vertices: glow::VertexArray,
}

const fn refused(call: &'static str, why: &'static str) -> CallFailed {
    CallFailed { call, reason: Reason::Unable(why) }
}

impl Sampler {
    /// Compiles them; the context is current.
    pub fn new(functions: &glow::Context, external: bool) -> Result<Self, CallFailed> {
        let call = "glGenVertexArrays";
        // SAFETY: the context is current.
        let vertices = unsafe { functions.create_vertex_array() };
        let vertices = vertices.map_err(|_| CallFailed { call, reason: Reason::OutOfMemory })?;
        let external = if external { Some(program(functions, EXTERNAL)?) } else { None };
        Ok(Self { flat: program(functions, FLAT)?, external, vertices })
    }

    /// Draws a texture, and reads what was drawn.
    pub fn sample(&self, current: &Current<'_>, texture: &Texture, width: u32, height: u32) -> Result<Vec<u8>, CallFailed> {
        let program = match texture.target() {
            glow::TEXTURE_2D => self.flat,
            TEXTURE_EXTERNAL => self.external.ok_or(refused("glUseProgram", "no shader samples external textures here"))?,
            _ => return Err(refused("glUseProgram", "it is not flat")),
        };
        let functions = current.functions;
        let bytes = (u64::from(width) * u64::from(height)).checked_mul(4).and_then(|bytes| usize::try_from(bytes).ok());
        let mut pixels = vec![0; bytes.ok_or(CallFailed { call: "glReadPixels", reason: Reason::OutOfMemory })?];
        // SAFETY: the context is current.
        let buffer = current.call("glGenRenderbuffers", |functions| unsafe { functions.create_renderbuffer() })?;
        let buffer = buffer.map_err(|_| CallFailed { call: "glGenRenderbuffers", reason: Reason::OutOfMemory })?;
        let drawn = self.draw(current, texture, program, buffer, (width, height), &mut pixels);
        // SAFETY: the context is current, and the names are its own or none; the bound framebuffer lets go of it.
        unsafe { functions.delete_renderbuffer(buffer) };
        // SAFETY: as above.
        unsafe { functions.bind_framebuffer(glow::FRAMEBUFFER, None) };
        // SAFETY: as above.
        unsafe { functions.bind_texture(texture.target(), None) };
        // SAFETY: as above.
        unsafe { functions.use_program(None) };
        drawn.map(|()| pixels)
    }

    fn draw(
        &self,
        current: &Current<'_>,
        texture: &Texture,
        program: glow::Program,
        buffer: glow::Renderbuffer,
        (width, height): (u32, u32),
        pixels: &mut [u8],
    ) -> Result<(), CallFailed> {
        let (across, down) = (signed(width), signed(height));
        let (framebuffer, storage, place) = (glow::FRAMEBUFFER, glow::RENDERBUFFER, glow::COLOR_ATTACHMENT0);
        let status = current.call("glRenderbufferStorage", |functions| {
            // SAFETY: the context is current, and the names are its own.
            unsafe { functions.bind_renderbuffer(storage, Some(buffer)) };
            // SAFETY: as above.
            unsafe { functions.renderbuffer_storage(storage, glow::RGBA8, across, down) };
            // SAFETY: as above.
            unsafe { functions.bind_framebuffer(framebuffer, Some(current.framebuffer)) };
            // SAFETY: as above.
            unsafe { functions.framebuffer_renderbuffer(framebuffer, place, storage, Some(buffer)) };
            // SAFETY: as above.
            unsafe { functions.check_framebuffer_status(framebuffer) }
        })?;
        if status != glow::FRAMEBUFFER_COMPLETE {
            return Err(CallFailed { call: "glCheckFramebufferStatus", reason: Reason::Framebuffer(status) });
        }
        current.call("glDrawArrays", |functions| {
            // SAFETY: the context is current, and the names are its own.
            unsafe { functions.viewport(0, 0, across, down) };
            // SAFETY: as above.
            unsafe { functions.use_program(Some(program)) };
            // SAFETY: as above.
            unsafe { functions.bind_vertex_array(Some(self.vertices)) };
            // SAFETY: as above.
            unsafe { functions.bind_texture(texture.target(), Some(texture.name())) };
            // SAFETY: as above; the vertices come from no buffer.
            unsafe { functions.draw_arrays(glow::TRIANGLES, 0, 3) };
        })?;
        current.call("glReadPixels", |functions| {
            // SAFETY: the context is current.
            unsafe { functions.pixel_store_i32(glow::PACK_ALIGNMENT, 1) };
            let pixels = PixelPackData::Slice(Some(pixels));
            // SAFETY: the framebuffer is complete, and the slice has room for its pixels.
            unsafe { functions.read_pixels(0, 0, across, down, glow::RGBA, glow::UNSIGNED_BYTE, pixels) };
        })
    }
}

fn program(functions: &glow::Context, fragments: &str) -> Result<glow::Program, CallFailed> {
    let out_of_memory = |call| move |_| CallFailed { call, reason: Reason::OutOfMemory };
    // SAFETY: the context is current.
    let program = unsafe { functions.create_program() }.map_err(out_of_memory("glCreateProgram"))?;
    for (kind, source) in [(glow::VERTEX_SHADER, VERTICES), (glow::FRAGMENT_SHADER, fragments)] {
        // SAFETY: the context is current.
        let shader = unsafe { functions.create_shader(kind) }.map_err(out_of_memory("glCreateShader"))?;
        // SAFETY: the context is current, and the names are its own.
        unsafe { functions.shader_source(shader, source) };
        // SAFETY: as above.
        unsafe { functions.compile_shader(shader) };
        // SAFETY: as above.
        unsafe { functions.attach_shader(program, shader) };
        // SAFETY: as above; it goes with its program.
        unsafe { functions.delete_shader(shader) };
    }
    // SAFETY: the context is current, and the program is its own.
    unsafe { functions.link_program(program) };
    // SAFETY: the same.
    if unsafe { functions.get_program_link_status(program) } {
        return Ok(program);
    }
    // SAFETY: the same.
    log::error!("GL: a shader: {}", unsafe { functions.get_program_info_log(program) });
    Err(refused("glLinkProgram", "the driver does not take the shader"))
}
