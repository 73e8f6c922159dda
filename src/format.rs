//! [`Format`]: how the bytes of a pixel are laid out, and the one table that says it.
//!
//! A format is a DRM fourcc. Every fact about it (planes, components, subsampling, its number in the virtio protocols) stands
//! once, in [`table`](self), and every lookup of the crate comes from there.

mod table;

use std::fmt;

/// A DRM fourcc: an open value, so that a code this crate does not know survives and can be named in an error.
///
/// The constants (`Format::XRGB8888`, ...) carry the names of `drm_fourcc.h`, where the first letter is the highest bits of a
/// little-endian word.
///
/// ```
/// use virgbm::Format;
///
/// assert_eq!(Format::NV12.to_string(), "NV12");
/// assert_eq!(Format::parse("XR24"), Some(Format::XRGB8888));
/// assert!(Format::from_fourcc(0x3f3f3f3f).info().is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Format(u32);

/// What kind of picture a format holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatClass {
    /// Red, green, blue and perhaps alpha, as unsigned normalised integers; also one- and two-channel formats.
    Rgb,
    /// The same as IEEE 754 half floats.
    RgbFloat,
    /// Luma and chroma, packed or in planes.
    Yuv,
    /// Depth, perhaps with stencil.
    Depth,
    /// Sensor data, packed tighter than bytes.
    Raw,
    /// No layout of its own: the allocator resolves it to another format by usage.
    Flexible,
}

/// What one group of bits in a pixel means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ComponentKind {
    R,
    G,
    B,
    A,
    /// Padding: no meaning, any value.
    X,
    Y,
    Cb,
    Cr,
    /// Depth.
    D,
    /// Stencil.
    S,
    /// An index into a palette.
    Index,
    /// Sensor data.
    Raw,
}

/// A group of bits of a block, in the order of the table: from the lowest bit up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// What the bits mean.
    pub kind: ComponentKind,
    /// How many bits.
    pub bits: u8,
}

/// One plane of a format: what its blocks hold and how it is subsampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneFormat {
    /// Bytes of one block.
    pub block_bytes: u8,
    /// Samples of one block, side by side: 1, except for packings such as YUYV (2) or RAW10 (4).
    pub block_width: u8,
    /// Pixels of the picture per sample, across.
    pub horizontal_subsampling: u8,
    /// Pixels of the picture per sample, down.
    pub vertical_subsampling: u8,
    /// The bits of a block, from the lowest up; they fill the block.
    pub components: &'static [Component],
}

impl PlaneFormat {
    /// Bytes of one row of a picture `width` pixels wide, without padding. Chroma rounds up.
    pub fn row_bytes(&self, width: u32) -> u64 {
        let samples = width.div_ceil(u32::from(self.horizontal_subsampling));
        u64::from(samples.div_ceil(u32::from(self.block_width))) * u64::from(self.block_bytes)
    }

    /// Rows of a picture `height` pixels high. Chroma rounds up.
    pub fn rows(&self, height: u32) -> u64 {
        u64::from(height.div_ceil(u32::from(self.vertical_subsampling)))
    }

    /// The components with the offset in bits of each inside the block.
    pub fn components_at(&self) -> impl Iterator<Item = (u32, Component)> {
        self.components.iter().scan(0, |next, component| {
            let offset = *next;
            *next += u32::from(component.bits);
            Some((offset, *component))
        })
    }
}

/// A row of the format table.
#[derive(Debug, PartialEq, Eq)]
pub struct FormatInfo {
    /// The format.
    pub format: Format,
    /// Its name in `drm_fourcc.h`, without the prefix.
    pub name: &'static str,
    /// What kind of picture it holds.
    pub class: FormatClass,
    /// Its planes, in the order of `drm_fourcc.h`; none for a flexible format.
    pub planes: &'static [PlaneFormat],
    /// Its number in `virgl_hw.h`, which for eight RGB formats is also the number in `virtio_gpu.h`.
    pub virgl: Option<u32>,
    /// Its number in `vulkan_core.h`, which a format with padding shares with the one that has alpha there; that of the planes in
    /// the order luma, Cb, Cr where a format has the other.
    pub vulkan: Option<u32>,
    /// Its sized internal format in OpenGL ES, which a format with padding shares with the one that has alpha there.
    pub gl: Option<u32>,
}

impl FormatInfo {
    /// Whether a component of this kind is in the format.
    pub fn has(&self, kind: ComponentKind) -> bool {
        self.planes.iter().flat_map(|plane| plane.components).any(|component| component.kind == kind)
    }

    /// Whether Cr has a plane of its own before that of Cb.
    pub fn has_swapped_chroma(&self) -> bool {
        matches!(self.planes, [_, cr, _] if cr.components.iter().any(|component| component.kind == ComponentKind::Cr))
    }
}

/// The numbers of `enum virtio_gpu_formats` (`virtio_gpu.h`), which 2D resources and scanouts use.
const VIRTIO_2D: [u32; 8] = [1, 2, 3, 4, 67, 68, 121, 134];

impl Format {
    /// The format with this fourcc, known or not.
    pub const fn from_fourcc(fourcc: u32) -> Self {
        Self(fourcc)
    }

    /// The fourcc.
    pub const fn fourcc(self) -> u32 {
        self.0
    }

    const fn from_code(code: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(code))
    }

    /// The row of the table, or `None` for a format this crate does not know.
    pub fn info(self) -> Option<&'static FormatInfo> {
        table::info(self)
    }

    /// Every format of the table.
    pub fn all() -> &'static [Format] {
        table::ALL
    }

    /// The planes, none for an unknown or a flexible format.
    pub fn planes(self) -> &'static [PlaneFormat] {
        self.info().map_or(&[], |info| info.planes)
    }

    /// The format with this number in `virgl_hw.h`.
    pub fn from_virgl(number: u32) -> Option<Self> {
        Self::all().iter().copied().find(|format| format.info().is_some_and(|info| info.virgl == Some(number)))
    }

    /// The format with this number in `enum virtio_gpu_formats`.
    pub fn from_virtio_2d(number: u32) -> Option<Self> {
        VIRTIO_2D.contains(&number).then(|| Self::from_virgl(number)).flatten()
    }

    /// The number in `enum virtio_gpu_formats`, for the eight formats that a 2D resource or a scanout can have.
    pub fn virtio_2d(self) -> Option<u32> {
        self.info()?.virgl.filter(|number| VIRTIO_2D.contains(number))
    }

    /// The format with this `VkFormat`: of several, the one without padding, whose chroma is in Vulkan's order.
    pub fn from_vulkan(number: u32) -> Option<Self> {
        let padded = |info: &FormatInfo| info.class != FormatClass::Yuv && info.has(ComponentKind::X);
        let infos = Self::all().iter().filter_map(|format| format.info());
        let found = infos.filter(|info| info.vulkan == Some(number)).min_by_key(|info| (padded(info), info.has_swapped_chroma()));
        found.map(|info| info.format)
    }

    /// The format a person names: the name of `drm_fourcc.h` (`XRGB8888`) or the fourcc itself (`XR24`), in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::all().iter().copied().find(|format| format.info().is_some_and(|info| info.name.eq_ignore_ascii_case(text))).or_else(
            || {
                let mut code = [b' '; 4];
                code.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
                let format = Self::from_code(code);
                format.info().map(|info| info.format)
            },
        )
    }

    /// The fourcc as text, such as `XR24`; bytes that do not print become `?`.
    pub fn code(self) -> String {
        let printable = |byte: u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
        self.0.to_le_bytes().map(printable).iter().collect::<String>().trim_end().to_owned()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info() {
            Some(info) => f.pad(info.name),
            None => f.pad(&format!("{} ({:#010x})", self.code(), self.0)),
        }
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
