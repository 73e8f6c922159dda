//! [`SupportTable`]: what a host offers, and the one rule by which both sides choose from it.
//!
//! The host announces the table once. The guest then answers "is it supported?" and computes linear layouts without asking, and
//! because host and guest choose by the same rule, the guest's answer is the host's.

use crate::{Alignment, BufferRequest, Format, Modifier, Usage};
use std::ops::Range;
use thiserror::Error;

/// One format with one modifier, as a host offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// The format.
    pub format: Format,
    /// The modifier.
    pub modifier: Modifier,
    /// What such a buffer can be used for.
    pub usages: Usage,
    /// How many planes it has, those that the modifier adds included.
    pub plane_count: u32,
    /// What its strides, offsets and size are multiples of.
    pub alignment: Alignment,
    /// Whether [`Layout::linear`](crate::Layout::linear) with this alignment gives exactly the host's layout.
    pub guest_layout: bool,
    /// Whether what the CPU does goes by transfers, since it can't map what the host uses.
    pub transfers: bool,
}

impl Support {
    /// Whether it has all the usages of a request, and a modifier that the request accepts.
    pub fn serves(&self, request: &BufferRequest) -> bool {
        // LINEAR narrows the modifiers; it is no usage that a host has or lacks.
        self.usages.contains(request.usage.difference(Usage::LINEAR)) && request.accepts(self.modifier)
    }
}

/// The largest picture that a host takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Array layers.
    pub layers: u32,
}

impl Extent {
    /// Nothing.
    pub const ZERO: Self = Self { width: 0, height: 0, layers: 0 };

    /// The larger of both in each direction.
    pub fn union(self, other: Self) -> Self {
        Self { width: self.width.max(other.width), height: self.height.max(other.height), layers: self.layers.max(other.layers) }
    }
}

/// A request that this host does not serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum Unsupported {
    #[error("{format} is not offered by the host")]
    Format { format: Format },
    #[error("{format} is not offered for {missing}; the host offers it for {offered}")]
    Usage { format: Format, missing: Usage, offered: Usage },
    #[error("{format} has no common modifier: asked for {asked:?}, the host offers {offered:?}")]
    Modifier { format: Format, asked: Vec<Modifier>, offered: Vec<Modifier> },
    #[error("{width}x{height} with {layers} layers is beyond the host's {largest:?}")]
    Extent { width: u32, height: u32, layers: u32, largest: Extent },
}

/// What a host offers, by format; the entries of one format in the host's order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportTable {
    entries: Vec<Support>,
    largest: Extent,
}

impl SupportTable {
    /// A table of these entries; their order is the preference among those of one format.
    pub fn new(mut entries: Vec<Support>, largest: Extent) -> Self {
        entries.sort_by_key(|support| support.format);
        Self { entries, largest }
    }

    /// Every entry.
    pub fn entries(&self) -> &[Support] {
        &self.entries
    }

    /// The largest picture.
    pub fn largest(&self) -> Extent {
        self.largest
    }

    /// The entries of one format, the preferred one first.
    pub fn of_format(&self, format: Format) -> &[Support] {
        self.entries.get(self.range_of(format)).unwrap_or(&[])
    }

    fn range_of(&self, format: Format) -> Range<usize> {
        let start = self.entries.partition_point(|support| support.format < format);
        let count = self.entries.iter().skip(start).take_while(|support| support.format == format).count();
        start..start + count
    }

    /// The entry that serves a request: the first of its format that has all its usages and a modifier that it accepts.
    ///
    /// # Errors
    /// [`Unsupported`], which says what is missing.
    pub fn choose(&self, request: &BufferRequest) -> Result<&Support, Unsupported> {
        let format = request.format;
        self.position(request).and_then(|index| self.entries.get(index).ok_or(Unsupported::Format { format }))
    }

    /// The same as [`choose`](Self::choose), as an index into [`entries`](Self::entries).
    ///
    /// # Errors
    /// [`Unsupported`], which says what is missing.
    pub fn position(&self, request: &BufferRequest) -> Result<usize, Unsupported> {
        let BufferRequest { format, width, height, layers, .. } = *request;
        let largest = self.largest;
        if width > largest.width || height > largest.height || layers > largest.layers {
            return Err(Unsupported::Extent { width, height, layers, largest });
        }
        let range = self.range_of(format);
        let offered = self.entries.get(range.clone()).unwrap_or(&[]);
        if let Some(index) = offered.iter().position(|support| support.serves(request)) {
            return Ok(range.start + index);
        }
        let usage = request.usage.difference(Usage::LINEAR);
        let usable = || offered.iter().filter(|support| support.usages.contains(usage));
        let Some(nearest) = offered.iter().max_by_key(|support| support.usages.intersection(usage).bits().count_ones()) else {
            return Err(Unsupported::Format { format });
        };
        if usable().next().is_none() {
            let missing = usage.difference(nearest.usages);
            return Err(Unsupported::Usage { format, missing, offered: nearest.usages });
        }
        let offered = usable().map(|support| support.modifier).collect();
        Err(Unsupported::Modifier { format, asked: request.modifiers.clone(), offered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILED: Modifier = Modifier::new(0x0100_0000_0000_0002);

    fn support(format: Format, modifier: Modifier, usages: Usage) -> Support {
        Support { format, modifier, usages, plane_count: 1, alignment: Alignment::PACKED, guest_layout: true, transfers: false }
    }

    fn table() -> SupportTable {
        let entries = vec![
            support(Format::XRGB8888, TILED, Usage::RENDER | Usage::TEXTURE),
            support(Format::R8, Modifier::LINEAR, Usage::TEXTURE),
            support(Format::XRGB8888, Modifier::LINEAR, Usage::RENDER | Usage::SCANOUT),
        ];
        SupportTable::new(entries, Extent { width: 4096, height: 4096, layers: 1 })
    }

    fn request(format: Format, usage: Usage) -> BufferRequest {
        BufferRequest::new(format, 64, 64, usage)
    }

    #[test]
    fn the_hosts_preference_decides_among_those_that_fit() {
        let table = table();
        let modifier = |request| table.choose(&request).map(|support| support.modifier);
        assert_eq!(modifier(request(Format::XRGB8888, Usage::RENDER)), Ok(TILED));
        assert_eq!(modifier(request(Format::XRGB8888, Usage::SCANOUT)), Ok(Modifier::LINEAR));
        assert_eq!(modifier(request(Format::XRGB8888, Usage::RENDER | Usage::LINEAR)), Ok(Modifier::LINEAR));
        assert_eq!(modifier(request(Format::XRGB8888, Usage::RENDER).with_modifiers([Modifier::LINEAR])), Ok(Modifier::LINEAR));
        assert_eq!(modifier(request(Format::XRGB8888, Usage::RENDER).with_modifiers([Modifier::INVALID])), Ok(TILED));
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        let table = table();
        let refusal = |request| table.choose(&request).unwrap_err();
        assert_eq!(refusal(request(Format::NV12, Usage::TEXTURE)), Unsupported::Format { format: Format::NV12 });
        assert_eq!(
            refusal(request(Format::R8, Usage::TEXTURE | Usage::CURSOR)),
            Unsupported::Usage { format: Format::R8, missing: Usage::CURSOR, offered: Usage::TEXTURE }
        );
        let linear = request(Format::XRGB8888, Usage::TEXTURE).with_modifiers([Modifier::LINEAR]);
        assert_eq!(
            refusal(linear),
            Unsupported::Modifier { format: Format::XRGB8888, asked: vec![Modifier::LINEAR], offered: vec![TILED] }
        );
        let wide = BufferRequest { width: 4097, ..request(Format::R8, Usage::TEXTURE) };
        assert!(matches!(refusal(wide), Unsupported::Extent { width: 4097, .. }));
    }
}
