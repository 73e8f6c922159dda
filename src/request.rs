//! [`BufferRequest`]: what is asked of the allocator.

use crate::wire::alloc as wire;
use crate::{ComponentKind, Format, FormatClass, Modifier, Usage};
use thiserror::Error;
use zerocopy::little_endian::U64;

/// The longest modifier list that a request may carry: more than any driver offers for one format.
pub const MAX_MODIFIERS: usize = wire::MAX_MODIFIERS as usize;

/// What a caller asks for: format, size, usage, and the modifiers that it can take.
///
/// ```
/// use virgbm::{BufferRequest, Format, Modifier, Usage};
///
/// let request = BufferRequest::new(Format::NV12, 1279, 719, Usage::VIDEO_DECODER | Usage::TEXTURE)
///     .with_modifiers([Modifier::LINEAR])
///     .with_name("frame 0");
/// assert!(request.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BufferRequest {
    /// The format.
    pub format: Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Array layers, 1 for a plain picture.
    pub layers: u32,
    /// What will touch the buffer.
    pub usage: Usage,
    /// The modifiers that the caller can take; empty when it leaves the choice to the host.
    pub modifiers: Vec<Modifier>,
    /// What the host calls the buffer in its lists; empty for none.
    pub name: String,
}

/// A request that no host could serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum RequestError {
    #[error("size {width}x{height} with {layers} layers: each must be at least 1")]
    Empty { width: u32, height: u32, layers: u32 },
    #[error("format {0} is not known; `virgbm info` lists those that are")]
    UnknownFormat(Format),
    #[error("format {0} has no layout of its own: resolve it by usage first, for example to NV12")]
    FlexibleFormat(Format),
    #[error("usage is empty: say what will touch the buffer, for example TEXTURE")]
    NoUsage,
    #[error("usage bits {0:#x} are not known")]
    UnknownUsage(u64),
    #[error("usage {0} contradicts itself: protected memory is never seen by the CPU")]
    ProtectedCpu(Usage),
    #[error("usage {usage} contradicts format {format}: {why}")]
    UsageOfFormat { usage: Usage, format: Format, why: &'static str },
    #[error("usage LINEAR contradicts the modifier list, which has no LINEAR")]
    LinearWithoutLinear,
    #[error("{0} modifiers, at most {MAX_MODIFIERS} can be listed")]
    TooManyModifiers(usize),
}

impl BufferRequest {
    /// A request for one layer, any modifier, no name.
    pub fn new(format: Format, width: u32, height: u32, usage: Usage) -> Self {
        Self { format, width, height, layers: 1, usage, modifiers: Vec::new(), name: String::new() }
    }

    /// The same with this list of modifiers.
    pub fn with_modifiers(mut self, modifiers: impl IntoIterator<Item = Modifier>) -> Self {
        self.modifiers = modifiers.into_iter().collect();
        self
    }

    /// The same with this many array layers.
    pub fn with_layers(mut self, layers: u32) -> Self {
        self.layers = layers;
        self
    }

    /// The same with a name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether the caller can take this modifier: it is listed, or the choice is left to the host (an empty list, or INVALID
    /// in it), and where LINEAR was asked for it is LINEAR.
    pub fn accepts(&self, modifier: Modifier) -> bool {
        if self.usage.contains(Usage::LINEAR) && modifier != Modifier::LINEAR {
            return false;
        }
        let implicit = self.modifiers.is_empty() || self.modifiers.contains(&Modifier::INVALID);
        implicit || self.modifiers.contains(&modifier)
    }

    /// Checks what can be checked without a host.
    ///
    /// # Errors
    /// The first [`RequestError`] that applies.
    pub fn check(&self) -> Result<(), RequestError> {
        let Self { format, width, height, layers, usage, .. } = *self;
        if width == 0 || height == 0 || layers == 0 {
            return Err(RequestError::Empty { width, height, layers });
        }
        let info = format.info().ok_or(RequestError::UnknownFormat(format))?;
        if info.class == FormatClass::Flexible {
            return Err(RequestError::FlexibleFormat(format));
        }
        if usage.is_empty() {
            return Err(RequestError::NoUsage);
        }
        if !Usage::all().contains(usage) {
            return Err(RequestError::UnknownUsage(usage.difference(Usage::all()).bits()));
        }
        if usage.contains(Usage::PROTECTED) && usage.intersects(Usage::CPU) {
            return Err(RequestError::ProtectedCpu(usage));
        }
        if usage.contains(Usage::CURSOR) && !info.has(ComponentKind::A) {
            return Err(RequestError::UsageOfFormat { usage, format, why: "a cursor needs alpha" });
        }
        if usage.intersects(Usage::SCANOUT | Usage::CURSOR) && matches!(info.class, FormatClass::Depth | FormatClass::Raw) {
            return Err(RequestError::UsageOfFormat { usage, format, why: "it is not a picture that a display can show" });
        }
        if self.modifiers.len() > MAX_MODIFIERS {
            return Err(RequestError::TooManyModifiers(self.modifiers.len()));
        }
        if usage.contains(Usage::LINEAR) && !self.accepts(Modifier::LINEAR) {
            return Err(RequestError::LinearWithoutLinear);
        }
        Ok(())
    }
}

impl BufferRequest {
    /// The request on the wire: its body and its modifiers.
    pub(crate) fn to_wire(&self) -> (wire::ImageRequest, Vec<U64>) {
        let body = wire::ImageRequest {
            fourcc: self.format.fourcc().into(),
            width: self.width.into(),
            height: self.height.into(),
            layers: self.layers.into(),
            usage: self.usage.bits().into(),
            modifier_count: (self.modifiers.len() as u32).into(),
            ..wire::ImageRequest::default()
        };
        (body, self.modifiers.iter().map(|modifier| modifier.value().into()).collect())
    }

    /// The request that came over the wire, not checked yet.
    #[cfg(feature = "host")]
    pub(crate) fn from_wire(body: &wire::ImageRequest, modifiers: &[U64]) -> Self {
        let format = Format::from_fourcc(body.fourcc.get());
        Self::new(format, body.width.get(), body.height.get(), Usage::from_bits_retain(body.usage.get()))
            .with_layers(body.layers.get())
            .with_modifiers(modifiers.iter().map(|modifier| Modifier::new(modifier.get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> BufferRequest {
        BufferRequest::new(Format::XRGB8888, 64, 64, Usage::RENDER)
    }

    #[test]
    fn a_size_of_zero_is_refused() {
        for (width, height, layers) in [(0, 64, 1), (64, 0, 1), (64, 64, 0)] {
            let request = BufferRequest { width, height, layers, ..request() };
            assert_eq!(request.check(), Err(RequestError::Empty { width, height, layers }));
        }
    }

    #[test]
    fn unknown_and_flexible_formats_are_refused_by_name() {
        let unknown = BufferRequest { format: Format::from_fourcc(7), ..request() };
        assert_eq!(unknown.check(), Err(RequestError::UnknownFormat(Format::from_fourcc(7))));
        let flexible = BufferRequest { format: Format::FLEX_YCBCR_420_888, ..request() };
        assert!(flexible.check().unwrap_err().to_string().contains("NV12"));
    }

    #[test]
    fn empty_unknown_and_contradictory_usages_are_refused() {
        let with = |usage| BufferRequest { usage, ..request() }.check();
        assert_eq!(with(Usage::empty()), Err(RequestError::NoUsage));
        assert_eq!(with(Usage::from_bits_retain(1 << 40 | 4)), Err(RequestError::UnknownUsage(1 << 40)));
        let usage = Usage::PROTECTED | Usage::CPU_READ_RARELY;
        assert_eq!(with(usage), Err(RequestError::ProtectedCpu(usage)));
        assert!(with(Usage::CURSOR).unwrap_err().to_string().contains("needs alpha"));
    }

    #[test]
    fn modifier_lists_are_bounded_and_must_allow_what_usage_demands() {
        let many = request().with_modifiers((0..1_000_000).map(Modifier::new));
        assert_eq!(many.check(), Err(RequestError::TooManyModifiers(1_000_000)));
        let mut linear = request().with_modifiers([Modifier::new(5)]);
        linear.usage |= Usage::LINEAR;
        assert_eq!(linear.check(), Err(RequestError::LinearWithoutLinear));
    }

    #[test]
    fn a_request_accepts_what_it_lists_and_anything_when_it_lists_nothing() {
        let tiled = Modifier::new(5);
        assert!(request().accepts(tiled));
        assert!(!request().with_modifiers([Modifier::LINEAR]).accepts(tiled));
        let mut linear = request();
        linear.usage |= Usage::LINEAR;
        assert!(!linear.accepts(tiled) && linear.accepts(Modifier::LINEAR));
    }
}
