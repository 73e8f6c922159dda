//! The pixel formats of Android's HALs (`PixelFormat.aidl`, `system/graphics.h`): the one table that says what each can be made of.

use virgbm::{ComponentKind, Format};

/// How a format of the HAL becomes one with a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Its own.
    Own,
    /// Bytes: the width is their count.
    Bytes,
    /// Any 4:2:0 with 8 bits, the first that the host offers.
    Flexible,
    /// By usage: YUV for cameras and video, else RGB.
    ByUsage,
    /// None, and why.
    Nothing(&'static str),
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct HalFormat {
    /// Its number.
    pub number: i32,
    /// Its name in the HAL.
    pub name: &'static str,
    /// How it is resolved.
    pub rule: Rule,
    /// What it can be made of, the preferred one first.
    pub formats: &'static [Format],
    /// What the HAL calls the only component, where that is not what the format does.
    pub meaning: Option<ComponentKind>,
}

macro_rules! hal_formats {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $rule:expr $(, $format:ident)* $(=> $meaning:ident)?;)+) => {
        impl HalFormat {
            $($(#[doc = $doc])* #[doc = concat!("`", stringify!($name), "`")] pub const $name: i32 = $number;)+
        }

        static ROWS: &[HalFormat] = &[
            $(HalFormat {
                number: $number,
                name: stringify!($name),
                rule: $rule,
                formats: &[$(Format::$format),*],
                meaning: hal_formats!(@meaning $($meaning)?),
            },)+
        ];
    };
    (@meaning) => { None };
    (@meaning $meaning:ident) => { Some(ComponentKind::$meaning) };
}

const NO_STENCIL: &str = "no host offers stencil without depth";
const NO_HSV: &str = "DRM has no format of hue, saturation and value";

hal_formats! {
    RGBA_8888 = 0x1, Rule::Own, ABGR8888;
    RGBX_8888 = 0x2, Rule::Own, XBGR8888;
    RGB_888 = 0x3, Rule::Own, BGR888;
    RGB_565 = 0x4, Rule::Own, RGB565;
    BGRA_8888 = 0x5, Rule::Own, ARGB8888;
    YCBCR_422_SP = 0x10, Rule::Own, NV16;
    YCRCB_420_SP = 0x11, Rule::Own, NV21;
    YCBCR_422_I = 0x14, Rule::Own, YUYV;
    RGBA_FP16 = 0x16, Rule::Own, ABGR16161616F;
    RAW16 = 0x20, Rule::Own, R16 => Raw;
    BLOB = 0x21, Rule::Bytes, R8 => X;
    IMPLEMENTATION_DEFINED = 0x22, Rule::ByUsage, NV12, YVU420_ANDROID, XBGR8888, ABGR8888, XRGB8888, ARGB8888;
    YCBCR_420_888 = 0x23, Rule::Flexible, NV12, YVU420_ANDROID, NV21, YUV420, YVU420;
    RAW_OPAQUE = 0x24, Rule::Own, R16 => Raw;
    RAW10 = 0x25, Rule::Own, RAW10;
    RAW12 = 0x26, Rule::Own, RAW12;
    RGBA_1010102 = 0x2b, Rule::Own, ABGR2101010;
    DEPTH_16 = 0x30, Rule::Own, DEPTH16;
    DEPTH_24 = 0x31, Rule::Own, DEPTH24;
    DEPTH_24_STENCIL_8 = 0x32, Rule::Own, DEPTH24_STENCIL8;
    DEPTH_32F = 0x33, Rule::Own, DEPTH32;
    DEPTH_32F_STENCIL_8 = 0x34, Rule::Own, DEPTH32_STENCIL8;
    STENCIL_8 = 0x35, Rule::Nothing(NO_STENCIL);
    YCBCR_P010 = 0x36, Rule::Own, P010;
    HSV_888 = 0x37, Rule::Nothing(NO_HSV);
    R_8 = 0x38, Rule::Own, R8;
    R_16_UINT = 0x39, Rule::Own, R16;
    RG_1616_UINT = 0x3a, Rule::Own, GR1616;
    RGBA_10101010 = 0x3b, Rule::Own, AXBXGXRX106106106106;
    YCBCR_P210 = 0x3c, Rule::Own, P210;
    Y8 = 0x2020_3859, Rule::Own, R8 => Y;
    Y16 = 0x2036_3159, Rule::Own, R16 => Y;
    YV12 = 0x3231_5659, Rule::Own, YVU420_ANDROID;
}

impl HalFormat {
    /// The row of a number, `None` for one that the HAL does not have.
    pub fn of(number: i32) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.number == number)
    }

    /// Every row.
    pub fn all() -> &'static [Self] {
        ROWS
    }
}

/// The fourcc by which others know a format: Android's YV12 has a layout of its own, and the fourcc of any.
pub fn standard_fourcc(format: Format) -> u32 {
    if format == Format::YVU420_ANDROID { Format::YVU420.fourcc() } else { format.fourcc() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use virgbm::FormatClass;

    #[test]
    fn no_number_stands_twice_and_all_can_be_made_or_say_why_not() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(ROWS[index + 1..].iter().all(|other| other.number != row.number), "{}", row.name);
            assert_eq!(row.formats.is_empty(), matches!(row.rule, Rule::Nothing(_)), "{}", row.name);
            for format in row.formats {
                assert_ne!(format.info().unwrap().class, FormatClass::Flexible, "{}", row.name);
            }
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_headers() {
        let numbers: Vec<i32> = ROWS.iter().map(|row| row.number).collect();
        let expected =
            [1, 2, 3, 4, 5, 16, 17, 20, 22, 32, 33, 34, 35, 36, 37, 38, 43, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58];
        assert_eq!(numbers[..28], expected);
        assert_eq!(numbers[28..], [59, 60, 538_982_489, 540_422_489, 842_094_169]);
    }

    #[test]
    fn what_is_meant_differs_only_where_there_is_one_component() {
        for row in ROWS.iter().filter(|row| row.meaning.is_some()) {
            assert!(row.formats.iter().all(|format| format.planes().len() == 1 && format.planes()[0].components.len() == 1));
        }
    }
}
