//! [`EglImage`]: what a texture and a dma-buf have in common.

use super::context::Gl;
use super::display::{Export, attributes};
use super::texture::Texture;
use super::{CallFailed, Reason, refused};
use khronos_egl::{self as egl, Attrib};
use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// `EGL_LINUX_DMA_BUF_EXT`, `EGL_LINUX_DRM_FOURCC_EXT`, and `EGL_GL_TEXTURE_2D`.
const LINUX_DMA_BUF: egl::Enum = 0x3270;
const FOURCC: Attrib = 0x3271;
const TEXTURE_2D: egl::Enum = 0x30b1;

/// Of each plane `EGL_DMA_BUF_PLANE*_EXT`: descriptor, offset, pitch, and the low and high half of its modifier.
const PLANES: [[Attrib; 5]; 4] = [
    [0x3272, 0x3273, 0x3274, 0x3443, 0x3444],
    [0x3275, 0x3276, 0x3277, 0x3445, 0x3446],
    [0x3278, 0x3279, 0x327a, 0x3447, 0x3448],
    [0x3440, 0x3441, 0x3442, 0x3449, 0x344a],
];

/// The planes of one image, at most.
const MOST_PLANES: usize = PLANES.len();

/// A dma-buf with a picture in it.
#[derive(Clone, Debug)]
pub struct DmaBuf<'a> {
    pub fd: BorrowedFd<'a>,
    pub fourcc: u32,
    pub width: u32,
    pub height: u32,
    pub modifier: u64,
    pub planes: Vec<DmaBufPlane>,
}

/// Where a plane lies.
#[derive(Clone, Copy, Debug)]
pub struct DmaBufPlane {
    pub stride_bytes: u32,
    pub offset_bytes: u32,
}

/// What EGL says of an image that leaves.
#[derive(Debug)]
pub struct Exported {
    pub fourcc: u32,
    pub modifier: u64,
    /// A descriptor for each plane, where it is another than that of the plane before.
    pub fds: Vec<Option<OwnedFd>>,
    pub planes: Vec<DmaBufPlane>,
}

/// An image of EGL.
pub struct EglImage {
    gl: Arc<Gl>,
    raw: egl::Image,
}

// SAFETY: EGL's images are handles, which may be used from any thread.
unsafe impl Send for EglImage {}
// SAFETY: the same.
unsafe impl Sync for EglImage {}

impl EglImage {
    /// The image that a flat texture of one level is.
    pub fn of_texture(texture: &Texture) -> Result<Self, CallFailed> {
        let call = "eglCreateImage";
        let gl = texture.owner();
        let raw = gl.with(Some(texture.generation()), |current| {
            gl.stumble(call)?;
            let name = texture.name().0.get() as usize as *mut c_void;
            // SAFETY: for this kind of image EGL takes a texture's name in the place of a pointer.
            let buffer = unsafe { egl::ClientBuffer::from_ptr(name) };
            let display = &gl.display;
            display.egl.create_image(display.raw, current.context, TEXTURE_2D, buffer, &attributes(&[])).map_err(refused(call))
        })?;
        gl.made();
        Ok(Self { gl: gl.clone(), raw })
    }

    /// The image that a dma-buf holds, whose modifier the driver takes.
    pub fn of_dma_buf(gl: &Arc<Gl>, dma_buf: &DmaBuf<'_>) -> Result<Self, CallFailed> {
        let call = "eglCreateImage";
        if !gl.facts().imports || dma_buf.planes.len() > MOST_PLANES {
            return Err(CallFailed { call, reason: Reason::Unable("the driver takes no such dma-buf") });
        }
        let number = |value: u32| value as Attrib;
        let (low, high) = (dma_buf.modifier as u32, (dma_buf.modifier >> 32) as u32);
        let mut pairs = vec![
            (egl::WIDTH as Attrib, number(dma_buf.width)),
            (egl::HEIGHT as Attrib, number(dma_buf.height)),
            (FOURCC, number(dma_buf.fourcc)),
        ];
        for (names, plane) in PLANES.iter().zip(&dma_buf.planes) {
            let values = [
                dma_buf.fd.as_raw_fd() as Attrib,
                number(plane.offset_bytes),
                number(plane.stride_bytes),
                number(low),
                number(high),
            ];
            pairs.extend(names.iter().copied().zip(values));
        }
        gl.stumble(call)?;
        let display = &gl.display;
        // SAFETY: for this kind of image EGL takes no context.
        let no_context = unsafe { egl::Context::from_ptr(egl::NO_CONTEXT) };
        // SAFETY: nor a buffer.
        let no_buffer = unsafe { egl::ClientBuffer::from_ptr(std::ptr::null_mut()) };
        let made = display.egl.create_image(display.raw, no_context, LINUX_DMA_BUF, no_buffer, &attributes(&pairs));
        let raw = made.map_err(refused(call))?;
        gl.made();
        Ok(Self { gl: gl.clone(), raw })
    }

    pub(super) const fn owner(&self) -> &Arc<Gl> {
        &self.gl
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.raw.as_ptr()
    }

    /// Its dma-bufs, and how the driver says that the picture lies in them.
    pub fn export(&self) -> Result<Exported, CallFailed> {
        let call = "eglExportDMABUFImageQueryMESA";
        let Some(Export { query, export }) = self.gl.display.export else {
            return Err(CallFailed { call, reason: Reason::Unable("the driver has no such call") });
        };
        self.gl.stumble(call)?;
        let (display, image) = (self.gl.display.raw.as_ptr(), self.raw.as_ptr());
        let (mut fourcc, mut count) = (0, 0);
        // SAFETY: the image lives; without an array it tells no modifiers.
        let told = unsafe { query(display, image, &mut fourcc, &mut count, std::ptr::null_mut()) };
        let length = usize::try_from(count).unwrap_or(0);
        // One driver says that it did, and names no plane.
        if told == egl::FALSE || !(1..=MOST_PLANES).contains(&length) {
            return Err(CallFailed { call, reason: Reason::Unable("the driver names no planes") });
        }
        let mut modifiers = [0; MOST_PLANES];
        // SAFETY: the image lives, and the array has room for the most planes that there are.
        let told = unsafe { query(display, image, &mut fourcc, &mut count, modifiers.as_mut_ptr()) };
        if told == egl::FALSE {
            return Err(CallFailed { call, reason: Reason::Unexplained });
        }
        let call = "eglExportDMABUFImageMESA";
        self.gl.stumble(call)?;
        let (mut fds, mut strides, mut offsets) = ([-1; MOST_PLANES], [0; MOST_PLANES], [0; MOST_PLANES]);
        // SAFETY: the same.
        let done = unsafe { export(display, image, fds.as_mut_ptr(), strides.as_mut_ptr(), offsets.as_mut_ptr()) };
        if done == egl::FALSE {
            return Err(CallFailed { call, reason: Reason::Unexplained });
        }
        // SAFETY: a descriptor that the call has left is new, and nobody else owns it.
        let own = |fd: i32| (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
        let fds = fds.into_iter().map(own).take(length).collect();
        let [modifier, ..] = modifiers;
        let place = |(stride, offset): (i32, i32)| {
            let number = |value| u32::try_from(value).map_err(|_| CallFailed { call, reason: Reason::Unable("it is negative") });
            Ok(DmaBufPlane { stride_bytes: number(stride)?, offset_bytes: number(offset)? })
        };
        let places: Result<_, CallFailed> = strides.into_iter().zip(offsets).take(length).map(place).collect();
        Ok(Exported { fourcc: fourcc as u32, modifier, fds, planes: places? })
    }
}

impl Drop for EglImage {
    fn drop(&mut self) {
        let display = &self.gl.display;
        if let Err(error) = display.egl.destroy_image(display.raw, self.raw) {
            log::error!("EGL: an image stays: {error}");
        }
        self.gl.destroyed();
    }
}
