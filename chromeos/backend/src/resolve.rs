//! What gralloc leaves open: which format a flexible one is on a host, and what of a usage the host has.

use virgbm::{Format, Usage};

/// What a request of gralloc becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub format: Format,
    pub usage: Usage,
}

/// What is known of the host.
pub struct Host<'a> {
    /// Whether it is a 2D one, for which software decodes: into the YV12 that it draws from.
    pub is_2d: bool,
    /// Whether it has a format for a usage.
    pub has: &'a dyn Fn(Format, Usage) -> bool,
}

/// Resolves a request. Scanout that the host has not is left out, not refused: the compositor draws such a buffer.
pub fn resolve(host: &Host<'_>, asked: Resolved) -> Resolved {
    let Resolved { mut format, mut usage } = asked;
    match format {
        Format::FLEX_IMPLEMENTATION_DEFINED if usage.intersects(Usage::CAMERA_READ | Usage::CAMERA_WRITE) => {
            format = Format::NV12
        }
        Format::FLEX_IMPLEMENTATION_DEFINED => {
            // Encoders are fed this one by way of the GPU.
            (format, usage) = (Format::XBGR8888, usage.difference(Usage::VIDEO_ENCODER));
            usage |= if host.is_2d { Usage::empty() } else { Usage::LINEAR };
        }
        Format::FLEX_YCBCR_420_888 => format = if host.is_2d { Format::YVU420_ANDROID } else { Format::NV12 },
        _ => {}
    }
    if format == Format::YVU420_ANDROID {
        usage = usage.difference(Usage::SCANOUT) | Usage::LINEAR;
    }
    let unseen = usage.difference(Usage::SCANOUT);
    if !(host.has)(format, usage) && (host.has)(format, unseen) {
        usage = unseen;
    }
    Resolved { format, usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(is_2d: bool, format: Format, usage: Usage) -> (Format, Usage) {
        let has = |format, usage: Usage| !usage.contains(Usage::SCANOUT) || format == Format::XRGB8888;
        let resolved = resolve(&Host { is_2d, has: &has }, Resolved { format, usage });
        (resolved.format, resolved.usage)
    }

    #[test]
    fn what_is_left_to_the_allocator_is_nv12_for_cameras_and_else_rgb() {
        let camera = Usage::CAMERA_WRITE | Usage::TEXTURE;
        assert_eq!(on(false, Format::FLEX_IMPLEMENTATION_DEFINED, camera), (Format::NV12, camera));
        let encoded = Usage::VIDEO_ENCODER | Usage::RENDER;
        assert_eq!(on(false, Format::FLEX_IMPLEMENTATION_DEFINED, encoded), (Format::XBGR8888, Usage::RENDER | Usage::LINEAR));
        assert_eq!(on(true, Format::FLEX_IMPLEMENTATION_DEFINED, encoded), (Format::XBGR8888, Usage::RENDER));
    }

    #[test]
    fn flexible_yuv_is_what_the_host_draws_from() {
        assert_eq!(on(false, Format::FLEX_YCBCR_420_888, Usage::TEXTURE), (Format::NV12, Usage::TEXTURE));
        let android = (Format::YVU420_ANDROID, Usage::TEXTURE | Usage::LINEAR);
        assert_eq!(on(true, Format::FLEX_YCBCR_420_888, Usage::TEXTURE), android);
        assert_eq!(on(false, Format::YVU420_ANDROID, Usage::TEXTURE | Usage::SCANOUT), android);
    }

    #[test]
    fn scanout_that_the_host_has_not_is_left_out() {
        let shown = Usage::SCANOUT | Usage::TEXTURE;
        assert_eq!(on(true, Format::XRGB8888, shown), (Format::XRGB8888, shown));
        assert_eq!(on(true, Format::ABGR8888, shown), (Format::ABGR8888, Usage::TEXTURE));
    }
}
