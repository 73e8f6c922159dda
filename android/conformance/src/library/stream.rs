//! Metadata streams, decoded here by the facts of the HAL alone.

/// The name of the standard's types.
pub const STANDARD: &str = "android.hardware.graphics.common.StandardMetadataType";

/// The numbers of the types.
pub mod kind {
    macro_rules! kinds {
        ($($name:ident = $number:literal;)+) => { $(pub const $name: i64 = $number;)+ };
    }
    kinds! {
        BUFFER_ID = 1; NAME = 2; WIDTH = 3; HEIGHT = 4; LAYER_COUNT = 5; PIXEL_FORMAT_REQUESTED = 6; PIXEL_FORMAT_FOURCC = 7;
        PIXEL_FORMAT_MODIFIER = 8; USAGE = 9; ALLOCATION_SIZE = 10; PROTECTED_CONTENT = 11; COMPRESSION = 12; INTERLACED = 13;
        CHROMA_SITING = 14; PLANE_LAYOUTS = 15; CROP = 16; DATASPACE = 17; BLEND_MODE = 18; SMPTE2086 = 19; CTA861_3 = 20;
        SMPTE2094_40 = 21; SMPTE2094_10 = 22; STRIDE = 23; SMPTE2094_50 = 24;
    }
}

/// Reads a stream from the front.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(i64::read(self)?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// What a payload can be.
pub trait Value: Sized {
    /// Reads it.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;

    /// What an empty stream means, if it means anything.
    fn unset() -> Option<Self> {
        None
    }
}

macro_rules! numbers {
    ($($type:ty),+) => {
        $(impl Value for $type {
            fn read(reader: &mut Reader<'_>) -> Option<Self> {
                reader.array().map(<$type>::from_le_bytes)
            }
        })+
    };
}

numbers!(i32, u32, i64, u64, f32);

impl Value for String {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        String::from_utf8(reader.string()?.to_vec()).ok()
    }
}

impl Value for Vec<u8> {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.string().map(<[u8]>::to_vec)
    }
}

impl<T: Value, const N: usize> Value for [T; N] {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let values: Vec<T> = (0..N).map(|_| T::read(reader)).collect::<Option<_>>()?;
        values.try_into().ok()
    }
}

/// An optional value: an empty stream is none.
impl<T: Value> Value for Option<T> {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        T::read(reader).map(Some)
    }

    fn unset() -> Option<Self> {
        Some(None)
    }
}

/// `ExtendableType`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extendable {
    /// The name of the enumeration.
    pub name: String,
    /// The value.
    pub value: i64,
}

impl Extendable {
    /// One of the standard's.
    pub fn standard(name: &str, value: i64) -> Self {
        Self { name: format!("android.hardware.graphics.common.{name}"), value }
    }
}

impl Value for Extendable {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { name: String::read(reader)?, value: i64::read(reader)? })
    }
}

/// A list with its count in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T: Value> Value for List<T> {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let count = i64::read(reader)?;
        (0..count).map(|_| T::read(reader)).collect::<Option<_>>().map(Self)
    }
}

/// A component of a plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its type.
    pub kind: Extendable,
    /// From the start of a sample.
    pub offset_bits: i64,
    /// Of a sample.
    pub size_bits: i64,
}

impl Value for Component {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { kind: Extendable::read(reader)?, offset_bits: i64::read(reader)?, size_bits: i64::read(reader)? })
    }
}

/// A plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plane {
    /// What is in it.
    pub components: Vec<Component>,
    /// Offset, sample increment in bits, stride, width and height in samples, size, and subsampling across and down.
    pub numbers: [i64; 8],
}

impl Plane {
    /// From the start of the buffer.
    pub fn offset(&self) -> usize {
        self.numbers[0] as usize
    }

    /// In bits.
    pub fn increment(&self) -> i64 {
        self.numbers[1]
    }

    /// In bytes.
    pub fn stride(&self) -> usize {
        self.numbers[2] as usize
    }

    /// Width and height in samples.
    pub fn samples(&self) -> (usize, usize) {
        (self.numbers[3] as usize, self.numbers[4] as usize)
    }

    /// In bytes.
    pub fn size(&self) -> usize {
        self.numbers[5] as usize
    }

    /// Across and down.
    pub fn subsampling(&self) -> (i64, i64) {
        (self.numbers[6], self.numbers[7])
    }
}

impl Value for Plane {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let components = List::read(reader)?.0;
        Some(Self { components, numbers: <[i64; 8]>::read(reader)? })
    }
}

/// A value from its stream: the header names the type, and nothing is left behind the payload.
pub fn decode<T: Value>(stream: &[u8], kind: i64) -> Option<T> {
    if stream.is_empty() {
        return T::unset();
    }
    let mut reader = Reader(stream);
    if reader.string()? != STANDARD.as_bytes() || i64::read(&mut reader)? != kind {
        return None;
    }
    let value = T::read(&mut reader)?;
    reader.0.is_empty().then_some(value)
}

/// The stream of a payload.
pub fn encode(kind: i64, payload: &[u8]) -> Vec<u8> {
    let length = STANDARD.len() as i64;
    [&length.to_le_bytes()[..], STANDARD.as_bytes(), &kind.to_le_bytes()[..], payload].concat()
}
