//! [`Usage`]: what will touch a buffer, and the same in the words of gbm, minigbm, Android and virgl.

use std::fmt;
use thiserror::Error;

/// Somebody else's usage bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `GBM_BO_USE_*` of Mesa's `gbm.h`.
    Gbm,
    /// `BO_USE_*` of minigbm's `drv.h`, which its `gbm.h` repeats.
    Minigbm,
    /// `BufferUsage.aidl` of Android's graphics HALs.
    Android,
    /// `VIRGL_BIND_*` of `virgl_hw.h`.
    Virgl,
}

/// A usage word has bits that nobody here knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("usage {asked:#x} in the words of {dialect:?} has unknown bits {unknown:#x}")]
pub struct UnknownUsage {
    /// Whose words they are.
    pub dialect: Dialect,
    /// The whole word.
    pub asked: u64,
    /// The bits of it that are not known.
    pub unknown: u64,
}

/// Bits of a foreign word: those that `mask` covers must have `value`.
#[derive(Clone, Copy)]
struct Field {
    mask: u64,
    value: u64,
}

impl Field {
    const fn matches(self, word: u64) -> bool {
        self.mask != 0 && word & self.mask == self.value
    }
}

const fn none() -> Field {
    Field { mask: 0, value: 0 }
}

const fn bit(number: u32) -> Field {
    bits(1 << number)
}

const fn bits(mask: u64) -> Field {
    Field { mask, value: mask }
}

/// Android's CPU usages are numbers in a nibble, not bits.
const fn nibble(shift: u32, value: u64) -> Field {
    Field { mask: 0xf << shift, value: value << shift }
}

/// One usage in every dialect.
struct Row {
    usage: Usage,
    gbm: Field,
    minigbm: Field,
    android: Field,
    virgl: Field,
}

impl Row {
    const fn field(&self, dialect: Dialect) -> Field {
        match dialect {
            Dialect::Gbm => self.gbm,
            Dialect::Minigbm => self.minigbm,
            Dialect::Android => self.android,
            Dialect::Virgl => self.virgl,
        }
    }
}

macro_rules! usages {
    ($($(#[doc = $doc:literal])+ $name:ident = $bit:literal: $gbm:expr, $minigbm:expr, $android:expr, $virgl:expr;)+) => {
        bitflags::bitflags! {
            /// What will touch a buffer. The bits are those of the wire (`wire::alloc`).
            ///
            /// ```
            /// use virgbm::{Usage, usage::Dialect};
            ///
            /// let usage = Usage::SCANOUT | Usage::RENDER;
            /// assert_eq!(usage.to_dialect(Dialect::Gbm), 5);
            /// assert_eq!(Usage::from_dialect(Dialect::Gbm, 5), Ok(usage));
            /// ```
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub struct Usage: u64 {
                $($(#[doc = $doc])+ const $name = 1 << $bit;)+
            }
        }

        static ROWS: &[Row] = &[
            $(Row { usage: Usage::$name, gbm: $gbm, minigbm: $minigbm, android: $android, virgl: $virgl },)+
        ];
    };
}

// Columns: gbm, minigbm, Android, virgl. PROTECTED stands before the CPU usages, since virgl spells it as all four of them.
usages! {
    /// The display controller shows it.
    SCANOUT = 0: bit(0), bit(0), bit(11), bit(18);
    /// The display controller shows it as a cursor.
    CURSOR = 1: bit(1), bit(1), bit(15), bit(16);
    /// The GPU renders to it.
    RENDER = 2: bit(2), bit(2), bit(9), bit(1);
    /// The GPU samples from it.
    TEXTURE = 3: none(), bit(5), bit(8), bit(3);
    /// A camera writes it.
    CAMERA_WRITE = 4: none(), bit(6), bit(17), bit(24);
    /// A camera reads it.
    CAMERA_READ = 5: none(), bit(7), bit(18), bit(25);
    /// A video decoder writes it.
    VIDEO_DECODER = 6: none(), bit(13), bit(22), bit(26);
    /// A video encoder reads it.
    VIDEO_ENCODER = 7: none(), bit(14), bit(16), bit(27);
    /// Nobody but protected hardware may see its content.
    PROTECTED = 13: bit(5), bit(8), bit(14), bits(0xf << 28);
    /// The CPU reads it now and then.
    CPU_READ_RARELY = 8: none(), bit(10), nibble(0, 2), bit(29);
    /// The CPU reads it often.
    CPU_READ_OFTEN = 9: none(), bit(9), nibble(0, 3), bit(28);
    /// The CPU writes it now and then.
    CPU_WRITE_RARELY = 10: none(), bit(12), nibble(4, 2), bit(31);
    /// The CPU writes it often.
    CPU_WRITE_OFTEN = 11: none(), bit(11), nibble(4, 3), bit(30);
    /// Rows must lie one after the other.
    LINEAR = 12: bit(4), bit(4), none(), bit(22);
    /// It is shown while it is drawn.
    FRONT_RENDERING = 14: bit(6), bit(16), bit(32), none();
    /// Sensors write events to it.
    SENSOR_DATA = 15: none(), bit(19), bit(23), none();
    /// The GPU uses it as a data buffer, not as an image.
    GPU_DATA = 16: none(), bit(18), bit(24), none();
}

/// Foreign bits that add to a usage above or that need no usage of ours.
static ALSO: &[(Dialect, u64, Usage)] = &[
    // GBM_BO_USE_WRITE; the fixed-rate compression request, bits 7 to 10, is a wish.
    (Dialect::Gbm, 1 << 3, Usage::CPU_WRITE_RARELY),
    (Dialect::Gbm, 0xf << 7, Usage::empty()),
    // WRITE; TEST_ALLOC is about the call, not the buffer; RENDERSCRIPT; ARC_SCREEN_CAP_PROBED is minigbm's own note.
    (Dialect::Minigbm, 1 << 3, Usage::CPU_WRITE_RARELY),
    (Dialect::Minigbm, 1 << 15, Usage::empty()),
    (Dialect::Minigbm, 1 << 17, Usage::TEXTURE),
    (Dialect::Minigbm, 1 << 63, Usage::empty()),
    // COMPOSER_OVERLAY is also sampled when there is no plane left; CLIENT_TARGET; bits 10 and 13 come from libui.
    (Dialect::Android, 1 << 11, Usage::TEXTURE),
    (Dialect::Android, 1 << 12, Usage::SCANOUT),
    (Dialect::Android, 1 << 10, Usage::RENDER),
    (Dialect::Android, 1 << 13, Usage::empty()),
    // RENDERSCRIPT, GPU_CUBE_MAP, GPU_MIPMAP_COMPLETE; HW_IMAGE_ENCODER; the vendors' bits.
    (Dialect::Android, 1 << 20 | 3 << 25, Usage::TEXTURE),
    (Dialect::Android, 1 << 27, Usage::VIDEO_ENCODER),
    (Dialect::Android, 0xf << 28 | 0xffff << 48, Usage::empty()),
    // DEPTH_STENCIL; the buffer binds; CUSTOM, STAGING, SHARED and PREFER_EMULATED_BGRA say nothing about who touches it.
    (Dialect::Virgl, 1 << 0, Usage::RENDER),
    (Dialect::Virgl, 0x1f << 4 | 1 << 11 | 3 << 14, Usage::GPU_DATA),
    (Dialect::Virgl, 1 << 17 | 7 << 19, Usage::empty()),
];

impl Usage {
    /// The CPU reads.
    pub const CPU_READ: Self = Self::CPU_READ_RARELY.union(Self::CPU_READ_OFTEN);
    /// The CPU writes.
    pub const CPU_WRITE: Self = Self::CPU_WRITE_RARELY.union(Self::CPU_WRITE_OFTEN);
    /// The CPU touches the buffer at all.
    pub const CPU: Self = Self::CPU_READ.union(Self::CPU_WRITE);

    /// The usage that `word` says in the words of `dialect`.
    ///
    /// # Errors
    /// [`UnknownUsage`] with the bits that are not in the table.
    pub fn from_dialect(dialect: Dialect, word: u64) -> Result<Self, UnknownUsage> {
        let mut usage = Self::empty();
        let mut unknown = word;
        for row in ROWS {
            let field = row.field(dialect);
            if field.matches(unknown) {
                usage |= row.usage;
                unknown &= !field.mask;
            }
        }
        for (_, mask, added) in ALSO.iter().filter(|(whose, ..)| *whose == dialect) {
            if word & mask != 0 {
                usage |= *added;
                unknown &= !mask;
            }
        }
        match unknown {
            0 => Ok(usage),
            unknown => Err(UnknownUsage { dialect, asked: word, unknown }),
        }
    }

    /// This usage in the words of `dialect`; what the dialect has no word for is left out.
    pub fn to_dialect(self, dialect: Dialect) -> u64 {
        ROWS.iter().filter(|row| self.contains(row.usage)).fold(0, |word, row| word | row.field(dialect).value)
    }

    /// The usage a person names: names of the flags, in any case, with `,`, `|` or `+` between.
    ///
    /// # Errors
    /// The name that is not known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut usage = Self::empty();
        for name in text.split([',', '|', '+']).map(str::trim).filter(|name| !name.is_empty()) {
            usage |= match name.replace('-', "_").to_ascii_uppercase().as_str() {
                "CPU" => Self::CPU_READ_RARELY | Self::CPU_WRITE_RARELY,
                "CPU_READ" => Self::CPU_READ_RARELY,
                "CPU_WRITE" => Self::CPU_WRITE_RARELY,
                upper => Self::from_name(upper).ok_or_else(|| name.to_owned())?,
            };
        }
        Ok(usage)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        bitflags::parser::to_writer(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECTS: [Dialect; 4] = [Dialect::Gbm, Dialect::Minigbm, Dialect::Android, Dialect::Virgl];

    #[test]
    fn no_two_usages_share_a_bit_of_a_dialect_but_for_androids_nibbles_and_virgls_protected() {
        for dialect in DIALECTS {
            let mut seen = 0;
            for row in ROWS {
                let nibble = dialect == Dialect::Android && Usage::CPU.contains(row.usage);
                let field = row.field(dialect);
                let protected = dialect == Dialect::Virgl && row.usage == Usage::PROTECTED;
                if !nibble && !protected {
                    assert_eq!(seen & field.mask, 0, "{:?} in {dialect:?}", row.usage);
                    seen |= field.mask;
                }
            }
        }
    }

    #[test]
    fn each_usage_that_a_dialect_has_comes_back_from_it() {
        for dialect in DIALECTS {
            for row in ROWS.iter().filter(|row| row.field(dialect).mask != 0) {
                let back = Usage::from_dialect(dialect, row.usage.to_dialect(dialect)).unwrap();
                assert!(back.contains(row.usage), "{:?} in {dialect:?} came back as {back:?}", row.usage);
            }
        }
    }

    #[test]
    fn words_of_the_headers_are_understood() {
        use Usage as U;
        let cases = [
            (Dialect::Gbm, 5, U::SCANOUT | U::RENDER),
            (Dialect::Gbm, 2 | 8, U::CURSOR | U::CPU_WRITE_RARELY),
            (Dialect::Gbm, 32, U::PROTECTED),
            (Dialect::Minigbm, 1 << 8, U::PROTECTED),
            (Dialect::Minigbm, 0x11e00 & !(1 << 16), U::CPU),
            (Dialect::Android, 0x33, U::CPU_READ_OFTEN | U::CPU_WRITE_OFTEN),
            (Dialect::Android, 0x22, U::CPU_READ_RARELY | U::CPU_WRITE_RARELY),
            (Dialect::Android, 1 << 32 | 1 << 9, U::FRONT_RENDERING | U::RENDER),
            (Dialect::Virgl, 0xf << 28, U::PROTECTED),
            (Dialect::Virgl, 1 << 28 | 1 << 18, U::CPU_READ_OFTEN | U::SCANOUT),
        ];
        for (dialect, word, usage) in cases {
            assert_eq!(Usage::from_dialect(dialect, word), Ok(usage), "{dialect:?} {word:#x}");
        }
    }

    #[test]
    fn every_bit_of_androids_mask_is_known_and_bit_33_is_not() {
        let cpu = 0xff;
        let mask: u64 = 0xFFFF_0001_FFD7_DBFF & !cpu;
        assert!(Usage::from_dialect(Dialect::Android, mask).is_ok());
        let refused = Usage::from_dialect(Dialect::Android, 1 << 33 | 1 << 8).unwrap_err();
        assert_eq!(refused.unknown, 1 << 33);
    }

    #[test]
    fn usages_parse_from_what_a_person_types() {
        assert_eq!(Usage::parse("scanout, render|cpu-write"), Ok(Usage::SCANOUT | Usage::RENDER | Usage::CPU_WRITE_RARELY));
        assert_eq!(Usage::parse("render,paint"), Err("paint".to_owned()));
    }
}
