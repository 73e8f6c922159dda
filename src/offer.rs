//! [`Offer`]: all that a host announces, and its form as a capset.

use crate::wire::alloc::{self as wire, Capabilities, Capset, SupportEntry};
use crate::{Alignment, Extent, Format, Modifier, Support, SupportTable, Usage};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

/// What a host announces before anything is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its formats and modifiers.
    pub table: SupportTable,
    /// What blob sizes are rounded up to.
    pub blob_alignment: u32,
    /// The bytes that one context may hold.
    pub context_bytes: u64,
    /// The objects and resources that one context may hold.
    pub context_objects: u32,
}

/// A capset that is not that of an allocation host, or of one that this version does not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum OfferError {
    #[error("a capset of {found} bytes where {needed} are needed")]
    Size { found: usize, needed: u64 },
    #[error("magic {0:#010x} is not that of the allocation protocol")]
    Magic(u32),
    #[error("version {0} of the allocation protocol, this library speaks version 1")]
    Version(u32),
    #[error("blob alignment {0} is not a power of two")]
    BlobAlignment(u32),
    #[error("entry {index} of the support table has {what} 0 or out of range")]
    Entry { index: u32, what: &'static str },
}

impl Offer {
    /// What is known of a host of another protocol, which announces no limits: its blobs are pages of the guest's kernel.
    pub fn without_limits(capabilities: Capabilities, table: SupportTable) -> Self {
        let blob_alignment = rustix::param::page_size() as u32;
        Self { capabilities, table, blob_alignment, context_bytes: u64::MAX, context_objects: u32::MAX }
    }

    /// The capset.
    pub fn encode(&self) -> Vec<u8> {
        let entries = self.table.entries();
        let size = size_of::<Capset>() + size_of::<SupportEntry>() * entries.len();
        let Extent { width, height, layers } = self.table.largest();
        let mut bytes = Vec::with_capacity(size);
        let header = Capset {
            magic: wire::MAGIC.into(),
            version: wire::VERSION.into(),
            size: (size as u32).into(),
            flags: self.capabilities.bits().into(),
            max_width: width.into(),
            max_height: height.into(),
            max_layers: layers.into(),
            max_levels: 1.into(),
            blob_alignment: self.blob_alignment.into(),
            support_count: (entries.len() as u32).into(),
            support_bytes: (size_of::<SupportEntry>() as u32).into(),
            max_slots: wire::MAX_SLOTS.into(),
            context_bytes: self.context_bytes.into(),
            context_objects: self.context_objects.into(),
            ..Capset::default()
        };
        bytes.extend_from_slice(header.as_bytes());
        for support in entries {
            bytes.extend_from_slice(SupportEntry::from(support).as_bytes());
        }
        bytes
    }

    /// The offer in a capset; the guest kernel may have padded it.
    ///
    /// # Errors
    /// [`OfferError`], which says what does not hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, OfferError> {
        let short = |needed| OfferError::Size { found: bytes.len(), needed };
        let (header, rest) = Capset::read_from_prefix(bytes).map_err(|_| short(size_of::<Capset>() as u64))?;
        if header.magic.get() != wire::MAGIC {
            return Err(OfferError::Magic(header.magic.get()));
        }
        if header.version.get() != wire::VERSION {
            return Err(OfferError::Version(header.version.get()));
        }
        if !header.blob_alignment.get().is_power_of_two() {
            return Err(OfferError::BlobAlignment(header.blob_alignment.get()));
        }
        let stride = header.support_bytes.get() as usize;
        let count = header.support_count.get();
        if stride < size_of::<SupportEntry>() {
            return Err(OfferError::Entry { index: 0, what: "size" });
        }
        // Checked before anything is reserved: the count is the host's word.
        let needed = u64::from(count) * stride as u64;
        if (rest.len() as u64) < needed {
            return Err(short(size_of::<Capset>() as u64 + needed));
        }
        let entries = rest.chunks_exact(stride).zip(0..count).map(|(bytes, index)| read_entry(bytes, index));
        let largest = Extent { width: header.max_width.get(), height: header.max_height.get(), layers: header.max_layers.get() };
        Ok(Self {
            capabilities: Capabilities::from_bits_truncate(header.flags.get()),
            table: SupportTable::new(entries.collect::<Result<_, _>>()?, largest),
            blob_alignment: header.blob_alignment.get(),
            context_bytes: header.context_bytes.get(),
            context_objects: header.context_objects.get(),
        })
    }
}

impl From<&Support> for SupportEntry {
    fn from(support: &Support) -> Self {
        let flags = [(support.guest_layout, wire::SUPPORT_GUEST_LAYOUT), (support.transfers, wire::SUPPORT_TRANSFERS)];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
        Self {
            fourcc: support.format.fourcc().into(),
            plane_count: support.plane_count.into(),
            modifier: support.modifier.value().into(),
            usages: support.usages.bits().into(),
            stride_alignment: support.alignment.stride_bytes.into(),
            offset_alignment: support.alignment.offset_bytes.into(),
            size_alignment: support.alignment.size_bytes.into(),
            flags: flags.into(),
            ..Self::default()
        }
    }
}

fn read_entry(bytes: &[u8], index: u32) -> Result<Support, OfferError> {
    let wrong = |what| OfferError::Entry { index, what };
    let (entry, _) = SupportEntry::read_from_prefix(bytes).map_err(|_| wrong("size"))?;
    let alignment = Alignment {
        stride_bytes: entry.stride_alignment.get(),
        offset_bytes: entry.offset_alignment.get(),
        size_bytes: entry.size_alignment.get(),
    };
    if alignment.stride_bytes == 0 || alignment.offset_bytes == 0 || alignment.size_bytes == 0 {
        return Err(wrong("alignment"));
    }
    if !(1..=crate::layout::MAX_PLANES as u32).contains(&entry.plane_count.get()) {
        return Err(wrong("plane count"));
    }
    Ok(Support {
        format: Format::from_fourcc(entry.fourcc.get()),
        modifier: Modifier::new(entry.modifier.get()),
        usages: Usage::from_bits_truncate(entry.usages.get()),
        plane_count: entry.plane_count.get(),
        alignment,
        guest_layout: entry.flags.get() & wire::SUPPORT_GUEST_LAYOUT != 0,
        transfers: entry.flags.get() & wire::SUPPORT_TRANSFERS != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offer() -> Offer {
        let support = |format, modifier| Support {
            format,
            modifier,
            usages: Usage::TEXTURE | Usage::RENDER,
            plane_count: 2,
            alignment: Alignment { stride_bytes: 64, offset_bytes: 256, size_bytes: 4096 },
            guest_layout: modifier == Modifier::LINEAR,
            transfers: modifier != Modifier::LINEAR,
        };
        let entries = vec![support(Format::NV12, Modifier::new(7)), support(Format::NV12, Modifier::LINEAR)];
        Offer {
            capabilities: Capabilities::HOST_VISIBLE | Capabilities::GL,
            table: SupportTable::new(entries, Extent { width: 4096, height: 2048, layers: 6 }),
            blob_alignment: 4096,
            context_bytes: 1 << 30,
            context_objects: 100,
        }
    }

    fn changed(offset: usize, value: u32) -> Result<Offer, OfferError> {
        let mut bytes = offer().encode();
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        Offer::decode(&bytes)
    }

    #[test]
    fn an_offer_survives_the_wire_and_the_kernels_padding() {
        let mut bytes = offer().encode();
        assert_eq!(Offer::decode(&bytes), Ok(offer()));
        bytes.extend([0; 100]);
        assert_eq!(Offer::decode(&bytes), Ok(offer()));
    }

    #[test]
    fn each_fault_of_a_capset_is_named() {
        assert_eq!(changed(0, 1), Err(OfferError::Magic(1)));
        assert_eq!(changed(4, 2), Err(OfferError::Version(2)));
        assert_eq!(changed(32, 3000), Err(OfferError::BlobAlignment(3000)));
        assert_eq!(changed(36, u32::MAX), Err(OfferError::Size { found: 160, needed: 64 + 48 * u64::from(u32::MAX) }));
        assert_eq!(changed(40, 47), Err(OfferError::Entry { index: 0, what: "size" }));
        assert_eq!(changed(64 + 4, 5), Err(OfferError::Entry { index: 0, what: "plane count" }));
        assert_eq!(changed(64 + 48 + 24, 0), Err(OfferError::Entry { index: 1, what: "alignment" }));
        assert_eq!(Offer::decode(&[0; 63]), Err(OfferError::Size { found: 63, needed: 64 }));
    }

    proptest! {
        #[test]
        fn no_capset_panics(change in 0usize..160, byte: u8, cut in 0usize..=160) {
            let mut bytes = offer().encode();
            bytes[change] = byte;
            bytes.truncate(cut);
            let _ = Offer::decode(&bytes);
        }
    }
}
