//! The types of the standard, and who may set each.

use crate::failure::Failure;
use virgbm_android_handle::metadata::Slot;

/// Who may set a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// It never changes.
    Constant,
    /// It is the allocator's word.
    Never,
    /// Whoever has the buffer.
    Anybody(Slot),
}

macro_rules! standard {
    ($($name:ident $constant:ident = $number:literal, $setting:expr;)+) => {
        /// `StandardMetadataType`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Standard {
            $($name = $number,)+
        }

        impl Standard {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name in the HAL.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($constant),)+
                }
            }

            /// Who may set it.
            pub const fn setting(self) -> Setting {
                match self {
                    $(Self::$name => $setting,)+
                }
            }
        }
    };
}

use Setting::{Anybody, Constant, Never};

standard! {
    BufferId BUFFER_ID = 1, Constant;
    Name NAME = 2, Constant;
    Width WIDTH = 3, Constant;
    Height HEIGHT = 4, Constant;
    LayerCount LAYER_COUNT = 5, Constant;
    PixelFormatRequested PIXEL_FORMAT_REQUESTED = 6, Constant;
    PixelFormatFourcc PIXEL_FORMAT_FOURCC = 7, Never;
    PixelFormatModifier PIXEL_FORMAT_MODIFIER = 8, Never;
    Usage USAGE = 9, Constant;
    AllocationSize ALLOCATION_SIZE = 10, Never;
    ProtectedContent PROTECTED_CONTENT = 11, Never;
    Compression COMPRESSION = 12, Never;
    Interlaced INTERLACED = 13, Never;
    ChromaSiting CHROMA_SITING = 14, Never;
    PlaneLayouts PLANE_LAYOUTS = 15, Never;
    Crop CROP = 16, Anybody(Slot::Crop);
    Dataspace DATASPACE = 17, Anybody(Slot::Dataspace);
    BlendMode BLEND_MODE = 18, Anybody(Slot::BlendMode);
    Smpte2086 SMPTE2086 = 19, Anybody(Slot::Smpte2086);
    Cta8613 CTA861_3 = 20, Anybody(Slot::Cta8613);
    Smpte2094_40 SMPTE2094_40 = 21, Anybody(Slot::Smpte2094_40);
    Smpte2094_10 SMPTE2094_10 = 22, Anybody(Slot::Smpte2094_10);
    Stride STRIDE = 23, Never;
    Smpte2094_50 SMPTE2094_50 = 24, Anybody(Slot::Smpte2094_50);
}

impl Standard {
    /// The type of a number.
    ///
    /// # Errors
    /// [`Failure::MetadataType`].
    pub fn of(number: i64) -> Result<Self, Failure> {
        let found = Self::ALL.iter().copied().find(|kind| *kind as i64 == number);
        found.ok_or_else(|| Failure::MetadataType { name: "of the standard".to_owned(), value: number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_settable_is_and_what_never_changes_says_so() {
        let settable = |kind: &Standard| matches!(kind.setting(), Setting::Anybody(_));
        let numbers = |which: &dyn Fn(&Standard) -> bool| -> Vec<i64> {
            Standard::ALL.iter().filter(|kind| which(kind)).map(|kind| *kind as i64).collect()
        };
        assert_eq!(numbers(&settable), [16, 17, 18, 19, 20, 21, 22, 24]);
        assert_eq!(numbers(&|kind| kind.setting() == Setting::Constant), [1, 2, 3, 4, 5, 6, 9]);
        assert_eq!(numbers(&|_| true), (1..=24).collect::<Vec<_>>());
    }
}
