//! ALLOC_GL: the guest's numbers, checked one by one before the driver sees them.

use super::formats::{self, Internal};
use super::sys::{Facts, Shape};
use crate::FormatInfo;
use crate::host::resolver::ImageRefused;
use crate::wire::alloc::GlTexture;
use crate::wire::virgl;
use crate::{Usage, usage::Dialect};

/// Those of virgl's bits that no [`Usage`] says.
const OTHER_BINDS: u32 = virgl::BIND_DEPTH_STENCIL | virgl::BIND_SHARED;

/// A texture that the guest describes.
#[derive(Debug)]
pub struct Asked {
    pub shape: Shape,
    pub internal: &'static Internal,
    /// Where it is a picture that others can be shown.
    pub picture: Option<&'static FormatInfo>,
    /// Its texels, without what a driver adds.
    pub bytes: u64,
}

fn parameter(what: &'static str, value: u32, why: &'static str) -> ImageRefused {
    ImageRefused::Parameter { what, value, why }
}

fn at_most(what: &'static str, asked: u32, limit: u32) -> Result<(), ImageRefused> {
    if asked <= limit { Ok(()) } else { Err(ImageRefused::Limit { what, asked, limit }) }
}

impl Asked {
    /// Checks a description against what the driver has.
    pub fn new(texture: &GlTexture, facts: &Facts) -> Result<Self, ImageRefused> {
        let number = texture.internal_format.get();
        let internal = formats::internal(number).ok_or(ImageRefused::Format(number))?;
        let bind = texture.bind.get();
        let usage = Usage::from_dialect(Dialect::Virgl, (bind & !OTHER_BINDS).into());
        let refused = |why| ImageRefused::Usage { what: "bind", value: bind, why };
        let usage = usage.map_err(|_| refused("it is not one of virgl's for buffers, depth and sharing"))?;
        if usage.contains(Usage::PROTECTED) {
            return Err(refused("this host has no protected memory"));
        }
        if bind & !virgl::BIND_SHARED == 0 || usage.contains(Usage::GPU_DATA) {
            return Err(refused("no texture is used so"));
        }
        let is_depth = internal.attachment != glow::COLOR_ATTACHMENT0;
        if is_depth != (bind & virgl::BIND_DEPTH_STENCIL != 0) {
            return Err(refused("a format of depth, and no other, is bound as such"));
        }
        if texture.flags.get() != 0 {
            return Err(parameter("flags", texture.flags.get(), "none are known"));
        }
        let shape = shape(texture, facts)?;
        let flat = shape.target == glow::TEXTURE_2D && shape.levels == 1;
        let picture = if flat { formats::with_internal(number) } else { None };
        let bytes = bytes(&shape, internal.bytes).ok_or(ImageRefused::Limit { what: "width", asked: shape.width, limit: 0 })?;
        Ok(Self { shape, internal, picture, bytes })
    }
}

/// The dimensions, as GL's own rules and the driver bound them.
fn shape(texture: &GlTexture, facts: &Facts) -> Result<Shape, ImageRefused> {
    let target = texture.target.get();
    let (width, height, depth) = (texture.width.get(), texture.height.get(), texture.depth.get());
    let (layers, levels) = (texture.array_size.get(), texture.levels.get());
    for (what, value) in [("width", width), ("height", height), ("depth", depth), ("array size", layers), ("levels", levels)] {
        if value == 0 {
            return Err(parameter(what, value, "it must be at least 1"));
        }
    }
    let volume = target == glow::TEXTURE_3D;
    let side = if volume { facts.largest_depth } else { facts.largest_side };
    at_most("width", width, side)?;
    at_most("height", height, side)?;
    at_most("depth", depth, if volume { side } else { 1 })?;
    match target {
        glow::TEXTURE_2D | glow::TEXTURE_3D | glow::TEXTURE_2D_MULTISAMPLE => at_most("array size", layers, 1)?,
        glow::TEXTURE_2D_ARRAY => at_most("array size", layers, facts.most_layers)?,
        glow::TEXTURE_CUBE_MAP if layers == 6 && width == height => {}
        glow::TEXTURE_CUBE_MAP => return Err(parameter("array size", layers, "a cube has six square faces")),
        other => return Err(parameter("target", other, "2D, 3D, 2D array, cube and 2D multisample are known")),
    }
    let most_levels = u32::BITS - width.max(height).max(if volume { depth } else { 1 }).leading_zeros();
    at_most("levels", levels, most_levels)?;
    let samples = texture.samples.get().max(1);
    if !samples.is_power_of_two() {
        return Err(parameter("samples", samples, "they are a power of two"));
    }
    if (samples > 1) != (target == glow::TEXTURE_2D_MULTISAMPLE) || samples > 1 && levels > 1 {
        return Err(parameter("samples", samples, "several are for the multisample target, with one level"));
    }
    at_most("samples", samples, facts.most_samples)?;
    let depth = if volume { depth } else { layers };
    Ok(Shape { target, internal_format: texture.internal_format.get(), width, height, depth, levels, samples })
}

/// The bytes of all texels.
fn bytes(shape: &Shape, texel_bytes: u8) -> Option<u64> {
    let level = |level: u32| {
        let smaller = |side: u32| u64::from((side >> level).max(1));
        let depth = if shape.target == glow::TEXTURE_3D { smaller(shape.depth) } else { shape.depth.into() };
        smaller(shape.width).checked_mul(smaller(shape.height))?.checked_mul(depth)
    };
    let texels = (0..shape.levels).try_fold(0u64, |all, index| all.checked_add(level(index)?))?;
    texels.checked_mul(shape.samples.into())?.checked_mul(texel_bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    fn facts() -> Facts {
        Facts {
            renderer: String::new(),
            version: String::new(),
            exports: false,
            imports: false,
            samples_external: false,
            bgra: true,
            norm16: true,
            largest_side: 4096,
            largest_depth: 512,
            most_layers: 256,
            most_samples: 4,
        }
    }

    /// A flat picture of 64x64 in RGBA8 that is sampled.
    fn texture() -> GlTexture {
        GlTexture {
            target: glow::TEXTURE_2D.into(),
            internal_format: glow::RGBA8.into(),
            bind: 8.into(),
            width: 64.into(),
            height: 64.into(),
            depth: 1.into(),
            array_size: 1.into(),
            levels: 1.into(),
            samples: 1.into(),
            flags: 0.into(),
        }
    }

    fn refused(texture: GlTexture) -> ImageRefused {
        Asked::new(&texture, &facts()).unwrap_err()
    }

    #[test]
    fn a_flat_texture_is_a_picture() {
        let asked = Asked::new(&texture(), &facts()).unwrap();
        assert_eq!((asked.picture.unwrap().format, asked.bytes), (Format::ABGR8888, 64 * 64 * 4));
        let mipmapped = Asked::new(&GlTexture { levels: 7.into(), ..texture() }, &facts()).unwrap();
        assert_eq!((mipmapped.picture, mipmapped.bytes), (None, (4096 + 1024 + 256 + 64 + 16 + 4 + 1) * 4));
    }

    #[test]
    fn every_target_counts_its_texels() {
        let bytes = |target: u32, depth: u32, layers: u32, samples: u32| {
            let texture = GlTexture {
                target: target.into(),
                depth: depth.into(),
                array_size: layers.into(),
                samples: samples.into(),
                ..texture()
            };
            Asked::new(&texture, &facts()).unwrap().bytes / (64 * 64 * 4)
        };
        assert_eq!(bytes(glow::TEXTURE_3D, 8, 1, 0), 8);
        assert_eq!(bytes(glow::TEXTURE_2D_ARRAY, 1, 5, 1), 5);
        assert_eq!(bytes(glow::TEXTURE_CUBE_MAP, 1, 6, 1), 6);
        assert_eq!(bytes(glow::TEXTURE_2D_MULTISAMPLE, 1, 1, 4), 4);
    }

    #[test]
    fn each_number_that_can_not_be_is_refused_by_name() {
        use ImageRefused as R;
        assert_eq!(refused(GlTexture { internal_format: 0x1908.into(), ..texture() }), R::Format(0x1908), "no sized format");
        let parameter = |texture: GlTexture| match refused(texture) {
            R::Parameter { what, .. } | R::Usage { what, .. } => what,
            other => panic!("{other}"),
        };
        assert_eq!(parameter(GlTexture { width: 0.into(), ..texture() }), "width");
        assert_eq!(parameter(GlTexture { levels: 0.into(), ..texture() }), "levels");
        assert_eq!(parameter(GlTexture { target: 0x0de0.into(), ..texture() }), "target");
        assert_eq!(parameter(GlTexture { bind: 0.into(), ..texture() }), "bind");
        assert_eq!(parameter(GlTexture { bind: (1 << 5).into(), ..texture() }), "bind");
        assert_eq!(parameter(GlTexture { internal_format: glow::DEPTH_COMPONENT24.into(), ..texture() }), "bind");
        assert_eq!(parameter(GlTexture { flags: 1.into(), ..texture() }), "flags");
        assert_eq!(parameter(GlTexture { samples: 3.into(), ..texture() }), "samples");
        assert_eq!(parameter(GlTexture { samples: 4.into(), ..texture() }), "samples");
        assert_eq!(parameter(GlTexture { target: glow::TEXTURE_CUBE_MAP.into(), ..texture() }), "array size");
        let limit = |texture: GlTexture| match refused(texture) {
            R::Limit { what, limit, .. } => (what, limit),
            other => panic!("{other}"),
        };
        assert_eq!(limit(GlTexture { width: 4097.into(), ..texture() }), ("width", 4096));
        assert_eq!(limit(GlTexture { depth: 2.into(), ..texture() }), ("depth", 1));
        assert_eq!(limit(GlTexture { levels: 8.into(), ..texture() }), ("levels", 7));
        assert_eq!(limit(GlTexture { array_size: 2.into(), ..texture() }), ("array size", 1));
        let multisample = GlTexture { target: glow::TEXTURE_2D_MULTISAMPLE.into(), ..texture() };
        assert_eq!(limit(GlTexture { samples: 8.into(), ..multisample }), ("samples", 4));
    }
}
