//! What clients send, as a [`Descriptor`]; nothing of it is checked here but that it is there.

use crate::aidl::BufferDescriptorInfo;
use thiserror::Error;
use virgbm_android_handle::{Descriptor, OptionValue};
use zerocopy::little_endian::{I32, I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The descriptor of `allocate2` and `isSupported`.
pub fn from_parcel(sent: &BufferDescriptorInfo) -> Descriptor {
    let options = sent.additionalOptions.iter();
    Descriptor {
        name: sent.name,
        width: sent.width,
        height: sent.height,
        layer_count: sent.layerCount,
        format: sent.format,
        usage: sent.usage.cast_unsigned(),
        reserved_bytes: sent.reservedSize,
        options: options.map(|option| OptionValue { name: option.name.clone(), value: option.value }).collect(),
    }
}

/// Bytes that are no descriptor of `allocate`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{found} bytes are no descriptor with a name of {name} bytes")]
pub struct BadBytes {
    found: usize,
    name: i64,
}

/// What follows the name in the bytes that `IMapper::createDescriptor` of version 4 makes.
#[derive(Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Fields {
    width: U32,
    height: U32,
    layer_count: U32,
    format: I32,
    usage: U64,
    reserved_bytes: U64,
}

const _: () = assert!(size_of::<Fields>() == 32);

/// The descriptor of `allocate`: `BufferDescriptorInfo` of mapper 4 as libgralloctypes encodes it, the name with its length in front.
///
/// # Errors
/// [`BadBytes`] when the bytes do not end where the descriptor does.
pub fn from_bytes(bytes: &[u8]) -> Result<Descriptor, BadBytes> {
    let (length, behind) = I64::read_from_prefix(bytes).map_err(|_| BadBytes { found: bytes.len(), name: 0 })?;
    let bad = || BadBytes { found: bytes.len(), name: length.get() };
    let length = usize::try_from(length.get()).map_err(|_| bad())?;
    let (name, fields) = behind.split_at_checked(length).ok_or_else(bad)?;
    let fields = Fields::read_from_bytes(fields).map_err(|_| bad())?;
    // A size beyond 31 bits is refused as a negative one is.
    let [width, height] = [fields.width, fields.height].map(|pixels| pixels.get().cast_signed());
    let mut descriptor = Descriptor::new(width, height, fields.format.get(), fields.usage.get());
    for (to, from) in descriptor.name.iter_mut().zip(name) {
        *to = *from;
    }
    descriptor.layer_count = fields.layer_count.get().cast_signed();
    descriptor.reserved_bytes = fields.reserved_bytes.get().cast_signed();
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aidl::ExtendableType;
    use proptest::prelude::*;

    fn encoded(name: &[u8]) -> Vec<u8> {
        let fields = Fields {
            width: 640.into(),
            height: 480.into(),
            layer_count: 2.into(),
            format: 1.into(),
            usage: (1 << 32 | 0x33).into(),
            reserved_bytes: 333.into(),
        };
        [I64::new(name.len() as i64).as_bytes(), name, fields.as_bytes()].concat()
    }

    #[test]
    fn every_field_of_a_parcel_is_taken() {
        let mut sent = BufferDescriptorInfo { width: 1, height: -2, layerCount: 3, format: 4, usage: -5, ..Default::default() };
        sent.reservedSize = 6;
        sent.name = [b'n'; 128];
        sent.additionalOptions = vec![ExtendableType { name: "an option".into(), value: 7 }];
        let found = from_parcel(&sent);
        assert_eq!((found.width, found.height, found.layer_count, found.format), (1, -2, 3, 4));
        assert_eq!((found.usage, found.reserved_bytes), (u64::MAX - 4, 6));
        assert_eq!(found.name(), "n".repeat(127));
        assert_eq!(found.options, [OptionValue { name: "an option".into(), value: 7 }]);
    }

    #[test]
    fn bytes_of_mapper_4_are_the_same_descriptor() {
        let mut expected = Descriptor::new(640, 480, 1, 1 << 32 | 0x33).with_name("a name");
        expected.layer_count = 2;
        expected.reserved_bytes = 333;
        assert_eq!(from_bytes(&encoded(b"a name")).unwrap(), expected);
        assert_eq!(from_bytes(&encoded(&[b'x'; 1000])).unwrap().name(), "x".repeat(127));
    }

    #[test]
    fn bytes_that_are_cut_short_or_go_on_are_refused() {
        let whole = encoded(b"a name");
        for length in 0..whole.len() {
            assert!(from_bytes(&whole[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(
            from_bytes(&[&whole[..], &[0]].concat()).unwrap_err().to_string(),
            "47 bytes are no descriptor with a name of 6 bytes"
        );
        for length in [-1, i64::MIN, i64::MAX, 7] {
            let mut bytes = whole.clone();
            bytes[..8].copy_from_slice(&length.to_le_bytes());
            assert!(from_bytes(&bytes).is_err(), "a name of {length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_bytes(&bytes);
        }
    }
}
