//! The format table. One line a format: name, fourcc, class, its numbers in virgl, Vulkan and GL if it has them, and its
//! planes.
//!
//! A plane is written `{ BYTES: COMPONENT BITS, ... }`, from the lowest bit of the block up, with `BYTES / H V` where it is
//! subsampled and `BYTES x SAMPLES` where a block holds several samples. Sources: `drm_fourcc.h` for codes, planes and bits,
//! `virgl_hw.h`, `vulkan_core.h`, `gl3.h` and `gl2ext.h` for the numbers, minigbm's `drv.h` for depth and for the pseudo codes '9997' to '9999'.
//! Vulkan's are those of core 1.1 whose planes are bytes of a buffer; depth is left out, which no driver lays out as DRM does.
//! GL's are those sized internal formats whose transfers have a format's bytes.

use super::{Component, ComponentKind, Format, FormatClass, FormatInfo, PlaneFormat};

macro_rules! plane {
    (@block $bytes:literal, $samples:literal, $horizontal:literal, $vertical:literal, $($kind:ident $bits:literal),+) => {
        PlaneFormat {
            block_bytes: $bytes,
            block_width: $samples,
            horizontal_subsampling: $horizontal,
            vertical_subsampling: $vertical,
            components: &[$(Component { kind: ComponentKind::$kind, bits: $bits }),+],
        }
    };
    ($bytes:literal: $($components:tt)+) => { plane!(@block $bytes, 1, 1, 1, $($components)+) };
    ($bytes:literal / $h:literal $v:literal: $($components:tt)+) => { plane!(@block $bytes, 1, $h, $v, $($components)+) };
    ($bytes:literal x $samples:literal: $($components:tt)+) => { plane!(@block $bytes, $samples, 1, 1, $($components)+) };
}

macro_rules! number {
    () => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}

macro_rules! formats {
    ($($name:ident $code:literal $class:ident $(virgl $virgl:literal)? $(vulkan $vulkan:literal)? $(gl $gl:literal)? : $({ $($plane:tt)+ })*;)+) => {
        impl Format {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                pub const $name: Format = Format::from_code(*$code);
            )+
        }

        pub(super) const ALL: &[Format] = &[$(Format::$name),+];

        pub(super) fn info(format: Format) -> Option<&'static FormatInfo> {
            Some(match format {
                $(
                    Format::$name => const { &FormatInfo {
                        format: Format::$name,
                        name: stringify!($name),
                        class: FormatClass::$class,
                        planes: &[$(plane!($($plane)+)),*],
                        virgl: number!($($virgl)?),
                        vulkan: number!($($vulkan)?),
                        gl: number!($($gl)?),
                    } },
                )+
                _ => return None,
            })
        }
    };
}

formats! {
    C8 b"C8  " Rgb: { 1: Index 8 };
    R8 b"R8  " Rgb virgl 64 vulkan 9 gl 0x8229: { 1: R 8 };
    R16 b"R16 " Rgb virgl 48 vulkan 70 gl 0x822a: { 2: R 16 };
    RG88 b"RG88" Rgb: { 2: G 8, R 8 };
    GR88 b"GR88" Rgb virgl 65 vulkan 16 gl 0x822b: { 2: R 8, G 8 };
    RG1616 b"RG32" Rgb: { 4: G 16, R 16 };
    GR1616 b"GR32" Rgb virgl 49 vulkan 77 gl 0x822c: { 4: R 16, G 16 };

    RGB332 b"RGB8" Rgb: { 1: B 2, G 3, R 3 };
    BGR233 b"BGR8" Rgb: { 1: R 3, G 3, B 2 };

    XRGB4444 b"XR12" Rgb: { 2: B 4, G 4, R 4, X 4 };
    XBGR4444 b"XB12" Rgb: { 2: R 4, G 4, B 4, X 4 };
    RGBX4444 b"RX12" Rgb vulkan 2 gl 0x8056: { 2: X 4, B 4, G 4, R 4 };
    BGRX4444 b"BX12" Rgb vulkan 3: { 2: X 4, R 4, G 4, B 4 };
    ARGB4444 b"AR12" Rgb: { 2: B 4, G 4, R 4, A 4 };
    ABGR4444 b"AB12" Rgb: { 2: R 4, G 4, B 4, A 4 };
    RGBA4444 b"RA12" Rgb vulkan 2 gl 0x8056: { 2: A 4, B 4, G 4, R 4 };
    BGRA4444 b"BA12" Rgb vulkan 3: { 2: A 4, R 4, G 4, B 4 };

    XRGB1555 b"XR15" Rgb vulkan 8: { 2: B 5, G 5, R 5, X 1 };
    XBGR1555 b"XB15" Rgb: { 2: R 5, G 5, B 5, X 1 };
    RGBX5551 b"RX15" Rgb vulkan 6 gl 0x8057: { 2: X 1, B 5, G 5, R 5 };
    BGRX5551 b"BX15" Rgb vulkan 7: { 2: X 1, R 5, G 5, B 5 };
    ARGB1555 b"AR15" Rgb vulkan 8: { 2: B 5, G 5, R 5, A 1 };
    ABGR1555 b"AB15" Rgb: { 2: R 5, G 5, B 5, A 1 };
    RGBA5551 b"RA15" Rgb vulkan 6 gl 0x8057: { 2: A 1, B 5, G 5, R 5 };
    BGRA5551 b"BA15" Rgb vulkan 7: { 2: A 1, R 5, G 5, B 5 };

    RGB565 b"RG16" Rgb virgl 7 vulkan 4 gl 0x8d62: { 2: B 5, G 6, R 5 };
    BGR565 b"BG16" Rgb vulkan 5: { 2: R 5, G 6, B 5 };
    RGB888 b"RG24" Rgb vulkan 30: { 3: B 8, G 8, R 8 };
    BGR888 b"BG24" Rgb virgl 66 vulkan 23 gl 0x8051: { 3: R 8, G 8, B 8 };

    XRGB8888 b"XR24" Rgb virgl 2 vulkan 44 gl 0x93a1: { 4: B 8, G 8, R 8, X 8 };
    XBGR8888 b"XB24" Rgb virgl 134 vulkan 37 gl 0x8058: { 4: R 8, G 8, B 8, X 8 };
    RGBX8888 b"RX24" Rgb virgl 68: { 4: X 8, B 8, G 8, R 8 };
    BGRX8888 b"BX24" Rgb virgl 4: { 4: X 8, R 8, G 8, B 8 };
    ARGB8888 b"AR24" Rgb virgl 1 vulkan 44 gl 0x93a1: { 4: B 8, G 8, R 8, A 8 };
    ABGR8888 b"AB24" Rgb virgl 67 vulkan 37 gl 0x8058: { 4: R 8, G 8, B 8, A 8 };
    RGBA8888 b"RA24" Rgb virgl 121: { 4: A 8, B 8, G 8, R 8 };
    BGRA8888 b"BA24" Rgb virgl 3: { 4: A 8, R 8, G 8, B 8 };

    XRGB2101010 b"XR30" Rgb virgl 233 vulkan 58: { 4: B 10, G 10, R 10, X 2 };
    XBGR2101010 b"XB30" Rgb virgl 308 vulkan 64 gl 0x8059: { 4: R 10, G 10, B 10, X 2 };
    RGBX1010102 b"RX30" Rgb: { 4: X 2, B 10, G 10, R 10 };
    BGRX1010102 b"BX30" Rgb: { 4: X 2, R 10, G 10, B 10 };
    ARGB2101010 b"AR30" Rgb virgl 131 vulkan 58: { 4: B 10, G 10, R 10, A 2 };
    ABGR2101010 b"AB30" Rgb virgl 8 vulkan 64 gl 0x8059: { 4: R 10, G 10, B 10, A 2 };
    RGBA1010102 b"RA30" Rgb: { 4: A 2, B 10, G 10, R 10 };
    BGRA1010102 b"BA30" Rgb: { 4: A 2, R 10, G 10, B 10 };

    XRGB16161616 b"XR48" Rgb: { 8: B 16, G 16, R 16, X 16 };
    XBGR16161616 b"XB48" Rgb vulkan 91 gl 0x805b: { 8: R 16, G 16, B 16, X 16 };
    ARGB16161616 b"AR48" Rgb: { 8: B 16, G 16, R 16, A 16 };
    ABGR16161616 b"AB48" Rgb vulkan 91 gl 0x805b: { 8: R 16, G 16, B 16, A 16 };
    XRGB16161616F b"XR4H" RgbFloat: { 8: B 16, G 16, R 16, X 16 };
    XBGR16161616F b"XB4H" RgbFloat vulkan 97 gl 0x881a: { 8: R 16, G 16, B 16, X 16 };
    ARGB16161616F b"AR4H" RgbFloat: { 8: B 16, G 16, R 16, A 16 };
    ABGR16161616F b"AB4H" RgbFloat virgl 94 vulkan 97 gl 0x881a: { 8: R 16, G 16, B 16, A 16 };
    AXBXGXRX106106106106 b"AB10" Rgb vulkan 1_000_156_009: { 8: X 6, R 10, X 6, G 10, X 6, B 10, X 6, A 10 };

    YUYV b"YUYV" Yuv vulkan 1_000_156_000: { 4 x 2: Y 8, Cb 8, Y 8, Cr 8 };
    YVYU b"YVYU" Yuv: { 4 x 2: Y 8, Cr 8, Y 8, Cb 8 };
    UYVY b"UYVY" Yuv vulkan 1_000_156_001: { 4 x 2: Cb 8, Y 8, Cr 8, Y 8 };
    VYUY b"VYUY" Yuv: { 4 x 2: Cr 8, Y 8, Cb 8, Y 8 };
    AYUV b"AYUV" Yuv: { 4: Cr 8, Cb 8, Y 8, A 8 };

    NV12 b"NV12" Yuv virgl 166 vulkan 1_000_156_003: { 1: Y 8 } { 2 / 2 2: Cb 8, Cr 8 };
    NV21 b"NV21" Yuv virgl 167: { 1: Y 8 } { 2 / 2 2: Cr 8, Cb 8 };
    NV16 b"NV16" Yuv vulkan 1_000_156_005: { 1: Y 8 } { 2 / 2 1: Cb 8, Cr 8 };
    NV61 b"NV61" Yuv: { 1: Y 8 } { 2 / 2 1: Cr 8, Cb 8 };
    NV24 b"NV24" Yuv: { 1: Y 8 } { 2: Cb 8, Cr 8 };
    NV42 b"NV42" Yuv: { 1: Y 8 } { 2: Cr 8, Cb 8 };
    P010 b"P010" Yuv virgl 314 vulkan 1_000_156_013: { 2: X 6, Y 10 } { 4 / 2 2: X 6, Cb 10, X 6, Cr 10 };
    P012 b"P012" Yuv vulkan 1_000_156_023: { 2: X 4, Y 12 } { 4 / 2 2: X 4, Cb 12, X 4, Cr 12 };
    P016 b"P016" Yuv vulkan 1_000_156_030: { 2: Y 16 } { 4 / 2 2: Cb 16, Cr 16 };
    P210 b"P210" Yuv vulkan 1_000_156_015: { 2: X 6, Y 10 } { 4 / 2 1: X 6, Cb 10, X 6, Cr 10 };
    YUV420 b"YU12" Yuv virgl 165 vulkan 1_000_156_002: { 1: Y 8 } { 1 / 2 2: Cb 8 } { 1 / 2 2: Cr 8 };
    YVU420 b"YV12" Yuv virgl 163 vulkan 1_000_156_002: { 1: Y 8 } { 1 / 2 2: Cr 8 } { 1 / 2 2: Cb 8 };
    YUV422 b"YU16" Yuv vulkan 1_000_156_004: { 1: Y 8 } { 1 / 2 1: Cb 8 } { 1 / 2 1: Cr 8 };
    YVU422 b"YV16" Yuv vulkan 1_000_156_004: { 1: Y 8 } { 1 / 2 1: Cr 8 } { 1 / 2 1: Cb 8 };
    YUV444 b"YU24" Yuv vulkan 1_000_156_006: { 1: Y 8 } { 1: Cb 8 } { 1: Cr 8 };
    YVU444 b"YV24" Yuv vulkan 1_000_156_006: { 1: Y 8 } { 1: Cr 8 } { 1: Cb 8 };
    YVU420_ANDROID b"9997" Yuv: { 1: Y 8 } { 1 / 2 2: Cr 8 } { 1 / 2 2: Cb 8 };

    DEPTH16 b"D16 " Depth virgl 16: { 2: D 16 };
    DEPTH24 b"D24X" Depth virgl 21: { 4: D 24, X 8 };
    DEPTH24_STENCIL8 b"D24S" Depth virgl 19: { 4: D 24, S 8 };
    DEPTH32 b"D32F" Depth virgl 18: { 4: D 32 };
    DEPTH32_STENCIL8 b"DFS8" Depth virgl 126: { 8: D 32, S 8, X 24 };

    // Android's packed sensor formats have no DRM code: these are this crate's own, beside minigbm's pseudo codes.
    RAW10 b"9995" Raw: { 5 x 4: Raw 40 };
    RAW12 b"9996" Raw: { 3 x 2: Raw 24 };

    FLEX_IMPLEMENTATION_DEFINED b"9998" Flexible: ;
    FLEX_YCBCR_420_888 b"9999" Flexible: ;
}
