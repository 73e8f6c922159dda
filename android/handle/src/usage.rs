//! Android's usage bits (`BufferUsage.aidl`) as what must be offered and what is only a wish.

use virgbm::usage::{Dialect, UnknownUsage};
use virgbm::{Format, FormatClass, Usage};

/// `COMPOSER_OVERLAY`, `COMPOSER_CLIENT_TARGET` and `COMPOSER_CURSOR`: the display may show the buffer in a plane of its own; where it
/// can't, the composer draws or converts it.
const COMPOSER: u64 = 1 << 11 | 1 << 12 | 1 << 15;

/// The bits of CPU reads and writes.
pub const CPU_MASK: u64 = 0xff;
/// The bits of CPU reads.
pub const CPU_READ_MASK: u64 = 0x0f;
/// The bits of CPU writes.
pub const CPU_WRITE_MASK: u64 = 0xf0;
/// `PROTECTED`.
pub const PROTECTED: u64 = 1 << 14;
/// `FRONT_BUFFER`.
pub const FRONT_BUFFER: u64 = 1 << 32;

/// What touches buffers of YUV before it touches any other.
pub const CAMERA: Usage = Usage::CAMERA_READ.union(Usage::CAMERA_WRITE);
/// The same for video.
pub const VIDEO: Usage = Usage::VIDEO_DECODER.union(Usage::VIDEO_ENCODER);

/// A usage word, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The buffer is refused without it.
    pub required: Usage,
    /// It is taken where the host has it.
    pub wished: Usage,
}

impl Asked {
    /// What a word asks for.
    ///
    /// # Errors
    /// [`UnknownUsage`] with the bits that the HAL does not have.
    pub fn from_word(word: u64) -> Result<Self, UnknownUsage> {
        let wished = Usage::from_dialect(Dialect::Android, word & COMPOSER)?;
        let mut required = match Usage::from_dialect(Dialect::Android, word & !COMPOSER) {
            Ok(required) => required,
            Err(unknown) => return Err(UnknownUsage { asked: word, ..unknown }),
        };
        if required.intersects(Usage::CPU) {
            required |= Usage::LINEAR;
        }
        // Bits of vendors only, or none: somebody will look at it.
        if (required | wished).is_empty() {
            required = Usage::TEXTURE;
        }
        Ok(Self { required, wished })
    }

    /// The same for one format. What an encoder gets in RGB it converts itself, whatever the host says of it.
    pub fn for_format(self, format: Format) -> Self {
        let converted = match format.info() {
            Some(info) if info.class != FormatClass::Yuv => self.required & Usage::VIDEO_ENCODER,
            _ => Usage::empty(),
        };
        Self { required: self.required - converted, wished: self.wished | converted }
    }

    /// Both.
    pub fn all(self) -> Usage {
        self.required | self.wished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use virgbm::Usage as U;

    #[test]
    fn planes_of_the_display_are_wishes_and_all_else_is_not() {
        let asked = Asked::from_word(0x933 | 1 << 15).unwrap();
        assert_eq!(asked.required, U::TEXTURE | U::CPU_READ_OFTEN | U::CPU_WRITE_OFTEN | U::LINEAR);
        assert_eq!(asked.wished, U::SCANOUT | U::CURSOR | U::TEXTURE);
        let target = Asked::from_word(1 << 12 | 1 << 9).unwrap();
        assert_eq!((target.required, target.wished), (U::RENDER, U::SCANOUT));
        assert_eq!(Asked::from_word(FRONT_BUFFER | 1 << 9).unwrap().required, U::FRONT_RENDERING | U::RENDER);
    }

    #[test]
    fn nothing_known_is_a_texture_and_unknown_bits_are_named() {
        assert_eq!(Asked::from_word(0).unwrap().required, U::TEXTURE);
        assert_eq!(Asked::from_word(1 << 28 | 1 << 60).unwrap().required, U::TEXTURE);
        let unknown = Asked::from_word(1 << 33 | 1 << 8).unwrap_err();
        assert_eq!((unknown.unknown, unknown.asked), (1 << 33, 1 << 33 | 1 << 8));
    }

    #[test]
    fn an_encoder_is_kept_for_what_it_takes_as_it_is() {
        let asked = Asked::from_word(1 << 16 | 1 << 9).unwrap();
        assert!(asked.for_format(Format::NV12).required.contains(U::VIDEO_ENCODER));
        let rgb = asked.for_format(Format::XBGR8888);
        assert!(!rgb.required.contains(U::VIDEO_ENCODER) && rgb.wished.contains(U::VIDEO_ENCODER));
    }
}
