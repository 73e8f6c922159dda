//! The formats that minigbm itself has a layout for: it refuses every other before a driver is asked.

use virgbm::Format as F;

/// Those of `drv_helpers.c` in all versions from 2023 on.
pub const KNOWN: &[F] = &[
    F::C8,
    F::R8,
    F::RGB332,
    F::BGR233,
    F::R16,
    F::GR88,
    F::RG88,
    F::XRGB4444,
    F::XBGR4444,
    F::RGBX4444,
    F::BGRX4444,
    F::ARGB4444,
    F::ABGR4444,
    F::RGBA4444,
    F::BGRA4444,
    F::XRGB1555,
    F::XBGR1555,
    F::RGBX5551,
    F::BGRX5551,
    F::ARGB1555,
    F::ABGR1555,
    F::RGBA5551,
    F::BGRA5551,
    F::RGB565,
    F::BGR565,
    F::RGB888,
    F::BGR888,
    F::XRGB8888,
    F::XBGR8888,
    F::RGBX8888,
    F::BGRX8888,
    F::ARGB8888,
    F::ABGR8888,
    F::RGBA8888,
    F::BGRA8888,
    F::XRGB2101010,
    F::XBGR2101010,
    F::RGBX1010102,
    F::BGRX1010102,
    F::ARGB2101010,
    F::ABGR2101010,
    F::RGBA1010102,
    F::BGRA1010102,
    F::ABGR16161616F,
    F::YUYV,
    F::YVYU,
    F::UYVY,
    F::VYUY,
    F::AYUV,
    F::NV12,
    F::NV21,
    F::P010,
    F::YVU420,
    F::YVU420_ANDROID,
    F::DEPTH16,
    F::DEPTH24,
    F::DEPTH24_STENCIL8,
    F::DEPTH32,
    F::DEPTH32_STENCIL8,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_layout_and_stands_there_once() {
        for (index, format) in KNOWN.iter().enumerate() {
            assert!(!format.planes().is_empty(), "{format}");
            assert!(!KNOWN[..index].contains(format), "{format}");
        }
    }
}
