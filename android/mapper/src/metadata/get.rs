//! Reading metadata. Nothing here makes a system call: what never changes was copied at the import, and the rest is shared memory.

use super::crop;
use super::standard::{Setting, Standard};
use super::stream::Writer;
use crate::failure::Failure;
use virgbm_android_handle::Imported;
use virgbm_android_handle::format::standard_fourcc;
use virgbm_android_handle::metadata::Slot;
use virgbm_android_handle::planes::{PlaneLayout, chroma_siting, plane_layouts};
use virgbm_android_handle::usage::PROTECTED;

/// The stream of a value; empty for an optional one that is not set.
///
/// # Errors
/// [`Failure::Contended`] when others write it all the time.
pub fn get(buffer: &Imported, kind: Standard) -> Result<Vec<u8>, Failure> {
    if let Setting::Anybody(slot) = kind.setting() {
        return get_slot(buffer, kind, slot);
    }
    let description = buffer.description();
    let layout = &description.layout;
    let writer = Writer::new(kind);
    let written = match kind {
        Standard::BufferId => writer.uint64(description.id),
        Standard::Name => writer.string(description.name.as_bytes()),
        Standard::Width => writer.uint64(description.width.into()),
        Standard::Height => writer.uint64(description.height.into()),
        Standard::LayerCount => writer.uint64(layout.layers.into()),
        Standard::PixelFormatRequested => writer.int32(description.hal_format),
        Standard::PixelFormatFourcc => writer.bytes(&standard_fourcc(layout.format).to_le_bytes()),
        Standard::PixelFormatModifier => writer.uint64(layout.modifier.value()),
        Standard::Usage => writer.uint64(description.usage),
        Standard::AllocationSize => writer.uint64(description.allocation_bytes),
        Standard::ProtectedContent => writer.uint64((description.usage & PROTECTED != 0).into()),
        Standard::Compression => writer.extendable("Compression", 0),
        Standard::Interlaced => writer.extendable("Interlaced", 0),
        Standard::ChromaSiting => writer.extendable("ChromaSiting", chroma_siting(description) as i64),
        Standard::PlaneLayouts => planes(writer, &plane_layouts(description)),
        Standard::Stride => writer.bytes(&description.pixel_stride.to_le_bytes()),
        Standard::Crop
        | Standard::Dataspace
        | Standard::BlendMode
        | Standard::Smpte2086
        | Standard::Cta8613
        | Standard::Smpte2094_40
        | Standard::Smpte2094_10
        | Standard::Smpte2094_50 => writer,
    };
    Ok(written.finish())
}

fn get_slot(buffer: &Imported, kind: Standard, slot: Slot) -> Result<Vec<u8>, Failure> {
    let payload = buffer.metadata().get(slot)?;
    let writer = || Writer::new(kind);
    Ok(match (slot, payload) {
        (Slot::Dataspace | Slot::BlendMode, payload) => writer().bytes(&payload.unwrap_or_else(|| vec![0; 4])).finish(),
        (Slot::Crop, payload) => {
            let planes = plane_layouts(buffer.description());
            // What others have written is their word.
            let crop = payload.filter(|payload| crop::holds(&planes, payload)).unwrap_or_else(|| crop::whole(&planes));
            writer().int64(planes.len() as i64).bytes(&crop).finish()
        }
        (Slot::Smpte2086 | Slot::Cta8613, Some(payload)) => writer().bytes(&payload).finish(),
        (Slot::Smpte2094_10 | Slot::Smpte2094_40 | Slot::Smpte2094_50, Some(payload)) => writer().string(&payload).finish(),
        (_, None) => Vec::new(),
    })
}

fn planes(mut writer: Writer, planes: &[PlaneLayout]) -> Writer {
    writer = writer.int64(planes.len() as i64);
    for plane in planes {
        writer = writer.int64(plane.components.len() as i64);
        for component in &plane.components {
            writer = writer.extendable("PlaneLayoutComponentType", component.kind as i64);
            writer = writer.int64(component.offset_bits).int64(component.size_bits);
        }
        writer = writer.uint64(plane.offset_bytes).uint64(plane.sample_increment_bits).uint64(plane.stride_bytes);
        writer = writer.uint64(plane.width_samples).uint64(plane.height_samples).uint64(plane.size_bytes);
        writer = writer.uint64(plane.horizontal_subsampling).uint64(plane.vertical_subsampling);
    }
    writer
}
