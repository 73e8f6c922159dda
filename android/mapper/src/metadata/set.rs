//! Setting metadata, for everybody who has the buffer.

use super::crop;
use super::standard::{Setting, Standard};
use super::stream::Reader;
use crate::failure::Failure;
use virgbm_android_handle::Imported;
use virgbm_android_handle::metadata::Slot;
use virgbm_android_handle::planes::plane_layouts;

/// Sets a value from its stream; an empty one unsets what is optional.
///
/// # Errors
/// [`Failure`], which says whether it can't be set, or is not a value of the type.
pub fn set(buffer: &Imported, kind: Standard, stream: &[u8]) -> Result<(), Failure> {
    let name = kind.name();
    let slot = match kind.setting() {
        Setting::Constant => return Err(Failure::Constant(name)),
        Setting::Never => return Err(Failure::NotSettable(name)),
        Setting::Anybody(slot) => slot,
    };
    if stream.is_empty() && !matches!(slot, Slot::Dataspace | Slot::BlendMode | Slot::Crop) {
        return Ok(buffer.metadata().set(slot, None)?);
    }
    let malformed = || Failure::Malformed { name, bytes: stream.len() };
    let payload = payload(buffer, kind, slot, stream).ok_or_else(malformed)?;
    if payload.len() > slot.capacity() {
        return Err(Failure::TooLong { name, bytes: payload.len(), most: slot.capacity() });
    }
    Ok(buffer.metadata().set(slot, Some(payload))?)
}

/// The bytes of a slot in a stream; `None` for one that is cut short, too long, or not of the type.
fn payload<'a>(buffer: &Imported, kind: Standard, slot: Slot, stream: &'a [u8]) -> Option<&'a [u8]> {
    let mut reader = Reader::new(stream, kind)?;
    let payload = match slot {
        Slot::Dataspace | Slot::BlendMode | Slot::Smpte2086 | Slot::Cta8613 => reader.bytes(slot.capacity())?,
        Slot::Smpte2094_10 | Slot::Smpte2094_40 | Slot::Smpte2094_50 => reader.string()?,
        Slot::Crop => {
            let planes = plane_layouts(buffer.description());
            let as_many = usize::try_from(reader.int64()?).is_ok_and(|count| count == planes.len());
            let rectangles = reader.bytes(planes.len() * crop::RECTANGLE_BYTES)?;
            (as_many && crop::holds(&planes, rectangles)).then_some(rectangles)?
        }
    };
    reader.is_empty().then_some(payload)
}
