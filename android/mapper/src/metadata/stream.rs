//! The stream of a value: a header that names its type, then its payload; little-endian, without padding.

use super::standard::Standard;
use virgbm_android_abi::imapper::STANDARD_METADATA;

/// A value being written.
pub struct Writer(Vec<u8>);

impl Writer {
    /// Starts a value with its header.
    pub fn new(kind: Standard) -> Self {
        // Most values are a header and a number.
        Self(Vec::with_capacity(128)).string(STANDARD_METADATA.to_bytes()).int64(kind as i64)
    }

    /// All of it.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Bytes as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A string, or an array of bytes.
    pub fn string(self, bytes: &[u8]) -> Self {
        self.int64(bytes.len() as i64).bytes(bytes)
    }

    /// A number of 64 bits.
    pub fn int64(self, value: i64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// The same without a sign.
    pub fn uint64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A number of 32 bits.
    pub fn int32(self, value: i32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// `ExtendableType` of the standard: one of `android.hardware.graphics.common`.
    pub fn extendable(self, name: &str, value: i64) -> Self {
        let prefix = b"android.hardware.graphics.common.";
        self.int64((prefix.len() + name.len()) as i64).bytes(prefix).bytes(name.as_bytes()).int64(value)
    }
}

/// A value being read.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The payload of a value; `None` where its header is another's.
    pub fn new(stream: &'a [u8], kind: Standard) -> Option<Self> {
        let mut reader = Self(stream);
        let named = reader.string()? == STANDARD_METADATA.to_bytes();
        (named && reader.int64()? == kind as i64).then_some(reader)
    }

    /// Exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A string, or an array of bytes.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.int64()?).ok()?;
        self.bytes(length)
    }

    /// A number of 64 bits.
    pub fn int64(&mut self) -> Option<i64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*bytes))
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_starts_with_the_name_of_the_standard() {
        let stream = Writer::new(Standard::Stride).int32(64).finish();
        assert_eq!(stream.len(), 8 + 53 + 8 + 4);
        assert_eq!(stream[..8], 53i64.to_le_bytes());
        assert_eq!(&stream[8..61], b"android.hardware.graphics.common.StandardMetadataType");
        assert_eq!(stream[61..], [23, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0]);
    }

    #[test]
    fn headers_of_others_and_streams_cut_short_are_none() {
        let stream = Writer::new(Standard::Name).string(b"front").finish();
        let mut reader = Reader::new(&stream, Standard::Name).unwrap();
        assert_eq!(reader.string(), Some(&b"front"[..]));
        assert!(reader.is_empty());
        assert!(Reader::new(&stream, Standard::Width).is_none());
        for length in 0..69 {
            assert!(Reader::new(&stream[..length], Standard::Name).is_none(), "{length}");
        }
        let endless = [&i64::MAX.to_le_bytes()[..], b"name"].concat();
        assert!(Reader::new(&endless, Standard::Name).is_none());
        let negative = [&(-1i64).to_le_bytes()[..], b"name"].concat();
        assert!(Reader::new(&negative, Standard::Name).is_none());
    }
}
