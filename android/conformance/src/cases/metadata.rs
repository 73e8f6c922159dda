//! Metadata: what is read of a buffer.

use crate::case::{
    BAD_BUFFER, CPU, Case, Checked, FRONT_BUFFER, OVERLAY, PROTECTED, RENDER_TARGET, TEXTURE, Trouble, UNSUPPORTED,
};
use crate::case::{allocate, allocate_optional, check, import, needs_descriptors, of_format, of_mapper, ok, plain, same};
use crate::library::stream::{Extendable, List, Plane, kind};
use crate::library::{Buffer, Mapper, STANDARD, Suite};
use crate::sys::quiet::{self, Ending};
use std::collections::HashSet;
use std::ptr::null;
use virgbm_android_handle::{Descriptor, HalFormat};

pub const CASES: &[Case] = &[
    of_mapper("BUFFER_ID differs from buffer to buffer, and is one for all imports", buffer_id),
    of_mapper("NAME is the descriptor's, to its last byte", name),
    of_mapper("WIDTH, HEIGHT and LAYER_COUNT are the descriptor's", size),
    of_mapper("PIXEL_FORMAT_REQUESTED is the descriptor's", requested),
    of_mapper("PIXEL_FORMAT_FOURCC is AB24 for RGBA_8888 and YV12 for YV12", fourcc),
    of_mapper("PIXEL_FORMAT_MODIFIER is there", modifier),
    of_mapper("USAGE is the descriptor's", usage),
    of_mapper("USAGE has 64 bits: FRONT_BUFFER is kept", wide_usage),
    of_mapper("ALLOCATION_SIZE holds all rows, and not twice as much", allocation_size),
    of_mapper("PROTECTED_CONTENT is 1 for a protected buffer, else 0", protected),
    of_mapper("COMPRESSION, INTERLACED and CHROMA_SITING are None for RGB", nothing_special),
    of_mapper("CHROMA_SITING is not None for YUV", siting_of_yuv),
    of_mapper("CROP is the whole of each plane, in its samples", crop),
    of_mapper("STRIDE is the allocation's", stride),
    of_mapper("every type that must be there can be got", required),
    of_mapper("the list of types has no type twice, and each in it can be got", list),
    of_mapper("a size is told without room, and with too little", sizes),
    of_mapper("a type by its name and number is the same as by its number", named),
    of_mapper("types that are not there are unsupported", unsupported),
    of_mapper("metadata of null, raw and freed handles is refused", bad_handles),
    of_mapper("getting metadata makes no system call", no_call),
];

fn imported<'a>(suite: &Suite, mapper: &'a Mapper, descriptor: &Descriptor) -> Result<Buffer<'a>, Trouble> {
    import(mapper, &allocate(suite, descriptor)?.raw)
}

fn buffer_id(suite: &Suite, mapper: &Mapper) -> Checked {
    let (one, other) = (allocate(suite, &plain())?, imported(suite, mapper, &plain())?);
    let (first, again) = (import(mapper, &one.raw)?, import(mapper, &one.raw)?);
    let id: u64 = first.value(kind::BUFFER_ID)?;
    same!(again.value::<u64>(kind::BUFFER_ID)?, id, "the id through another import");
    check!(other.value::<u64>(kind::BUFFER_ID)? != id, "two buffers have id {id}");
    let mut ids = HashSet::new();
    for _ in 0..64 {
        ids.insert(imported(suite, mapper, &plain())?.value::<u64>(kind::BUFFER_ID)?);
    }
    same!(ids.len(), 64, "ids of 64 buffers, one after the other");
    Ok(())
}

fn name(suite: &Suite, mapper: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    let long = "x".repeat(127);
    for name in ["Hello, World!", "", "ein Puffer für die Kamera", &long] {
        let buffer = imported(suite, mapper, &plain().with_name(name))?;
        same!(buffer.value::<String>(kind::NAME)?, name.to_owned(), "NAME");
    }
    let endless = Descriptor { name: [b'x'; 128], ..plain() };
    same!(imported(suite, mapper, &endless)?.value::<String>(kind::NAME)?, long, "NAME of 128 letters");
    Ok(())
}

fn size(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = imported(suite, mapper, &Descriptor { height: 128, ..plain() })?;
    let values = [kind::WIDTH, kind::HEIGHT, kind::LAYER_COUNT].map(|number| buffer.value::<u64>(number));
    same!(values, [Ok(64), Ok(128), Ok(1)], "WIDTH, HEIGHT and LAYER_COUNT");
    needs_descriptors(suite)?;
    let layered = allocate_optional(suite, &Descriptor { layer_count: 2, ..plain() })?;
    same!(import(mapper, &layered.raw)?.value::<u64>(kind::LAYER_COUNT)?, 2, "LAYER_COUNT");
    Ok(())
}

fn requested(suite: &Suite, mapper: &Mapper) -> Checked {
    for format in [HalFormat::RGBA_8888, HalFormat::YV12, HalFormat::YCBCR_420_888, HalFormat::IMPLEMENTATION_DEFINED] {
        let buffer = imported(suite, mapper, &of_format(format))?;
        same!(buffer.value::<i32>(kind::PIXEL_FORMAT_REQUESTED)?, format, "PIXEL_FORMAT_REQUESTED");
    }
    Ok(())
}

fn fourcc(suite: &Suite, mapper: &Mapper) -> Checked {
    for (format, expected) in [(HalFormat::RGBA_8888, b"AB24"), (HalFormat::YV12, b"YV12")] {
        let found: u32 = imported(suite, mapper, &of_format(format))?.value(kind::PIXEL_FORMAT_FOURCC)?;
        same!(found, u32::from_le_bytes(*expected), "PIXEL_FORMAT_FOURCC");
    }
    Ok(())
}

fn modifier(suite: &Suite, mapper: &Mapper) -> Checked {
    imported(suite, mapper, &plain())?.value::<u64>(kind::PIXEL_FORMAT_MODIFIER)?;
    Ok(())
}

fn usage(suite: &Suite, mapper: &Mapper) -> Checked {
    for usage in [CPU, CPU | TEXTURE, TEXTURE | RENDER_TARGET] {
        let buffer = imported(suite, mapper, &Descriptor { usage, ..plain() })?;
        same!(buffer.value::<u64>(kind::USAGE)?, usage, "USAGE");
    }
    Ok(())
}

fn wide_usage(suite: &Suite, mapper: &Mapper) -> Checked {
    let usage = FRONT_BUFFER | TEXTURE | CPU;
    let allocated = allocate_optional(suite, &Descriptor { usage, ..plain() })?;
    same!(import(mapper, &allocated.raw)?.value::<u64>(kind::USAGE)?, usage, "USAGE");
    Ok(())
}

fn allocation_size(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &plain())?;
    let found: u64 = import(mapper, &allocated.raw)?.value(kind::ALLOCATION_SIZE)?;
    let rows = u64::from(allocated.stride) * 64 * 4;
    check!((rows..2 * rows).contains(&found), "{found} bytes for rows of {rows}");
    Ok(())
}

fn protected(suite: &Suite, mapper: &Mapper) -> Checked {
    same!(imported(suite, mapper, &plain())?.value::<u64>(kind::PROTECTED_CONTENT)?, 0, "PROTECTED_CONTENT");
    let secret = allocate_optional(suite, &Descriptor { usage: PROTECTED | OVERLAY, ..plain() })?;
    same!(import(mapper, &secret.raw)?.value::<u64>(kind::PROTECTED_CONTENT)?, 1, "PROTECTED_CONTENT");
    Ok(())
}

fn nothing_special(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = imported(suite, mapper, &plain())?;
    for (number, name) in
        [(kind::COMPRESSION, "Compression"), (kind::INTERLACED, "Interlaced"), (kind::CHROMA_SITING, "ChromaSiting")]
    {
        same!(buffer.value::<Extendable>(number)?, Extendable::standard(name, 0), "{name}");
    }
    Ok(())
}

fn siting_of_yuv(suite: &Suite, mapper: &Mapper) -> Checked {
    let siting: Extendable = imported(suite, mapper, &of_format(HalFormat::YV12))?.value(kind::CHROMA_SITING)?;
    check!(siting.name.ends_with(".ChromaSiting") && siting.value != 0, "CHROMA_SITING is {siting:?}");
    Ok(())
}

fn crop(suite: &Suite, mapper: &Mapper) -> Checked {
    for (format, subsampled) in [(HalFormat::RGBA_8888, 0), (HalFormat::YCBCR_420_888, 1), (HalFormat::YV12, 2)] {
        let buffer = imported(suite, mapper, &Descriptor { height: 32, ..of_format(format) })?;
        let crop: List<[i32; 4]> = buffer.value(kind::CROP)?;
        let planes: List<Plane> = buffer.value(kind::PLANE_LAYOUTS)?;
        let whole = |plane: &Plane| [0, 0, plane.samples().0 as i32, plane.samples().1 as i32];
        same!(crop.clone(), List(planes.0.iter().map(whole).collect()), "CROP of format {format:#x}");
        same!(crop.0.first(), Some(&[0, 0, 64, 32]), "CROP of the first plane");
        check!(crop.0.len() > subsampled, "CROP of format {format:#x} is {crop:?}");
        check!(crop.0.iter().skip(1).all(|chroma| *chroma == [0, 0, 32, 16]), "CROP of format {format:#x} is {crop:?}");
    }
    Ok(())
}

fn stride(suite: &Suite, mapper: &Mapper) -> Checked {
    for width in [1, 63, 64, 65, 1366] {
        let allocated = allocate(suite, &Descriptor { width, ..plain() })?;
        same!(import(mapper, &allocated.raw)?.value::<u32>(kind::STRIDE)?, allocated.stride, "STRIDE");
    }
    Ok(())
}

/// What the HAL says every mapper must have: all of its first edition, and the stride.
const REQUIRED: [i64; 21] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23];

fn required(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = imported(suite, mapper, &plain())?;
    for number in REQUIRED {
        ok(mapper.get(buffer.handle, number), &format!("get of type {number}"))?;
    }
    Ok(())
}

fn list(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = imported(suite, mapper, &plain())?;
    let types = ok(mapper.types(), "listSupportedMetadataTypes")?;
    let different: HashSet<_> = types.iter().map(|(name, number, ..)| (name.clone(), *number)).collect();
    same!(different.len(), types.len(), "types that differ");
    for (name, number, gettable, _) in &types {
        let got = mapper.get_named(buffer.handle, name, *number);
        same!(got.is_ok(), *gettable, "get of {name:?} {number}");
    }
    let is_listed = |number: &i64| types.iter().any(|(name, listed, ..)| name.as_c_str() == STANDARD && listed == number);
    let missing: Vec<_> = REQUIRED.iter().filter(|number| !is_listed(number)).collect();
    check!(missing.is_empty(), "the list lacks {missing:?}");
    Ok(())
}

fn sizes(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = imported(suite, mapper, &plain())?;
    for number in REQUIRED {
        let stream = ok(mapper.get(buffer.handle, number), "get")?;
        let needed = stream.len() as i32;
        same!(mapper.get_into(buffer.handle, number, None, 0), needed, "the size of type {number}, without room");
        let mut room = vec![0xa5; stream.len() + 1];
        for (length, whole) in [(0, false), (1, false), (stream.len().saturating_sub(1), false), (stream.len(), true)] {
            room.fill(0xa5);
            same!(mapper.get_into(buffer.handle, number, Some(&mut room), length), needed, "the size of type {number}");
            let behind = room.get(length..).unwrap_or(&[]);
            check!(behind.iter().all(|byte| *byte == 0xa5), "type {number} is written behind its room of {length}");
            if whole {
                same!(room.get(..length), Some(&stream[..]), "type {number}");
            }
        }
        same!(mapper.get_into(buffer.handle, number, Some(&mut room), 1_000_000_000), needed, "the size of type {number}");
    }
    Ok(())
}

fn named(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = imported(suite, mapper, &plain())?;
    for number in REQUIRED {
        same!(mapper.get_named(buffer.handle, STANDARD, number), mapper.get(buffer.handle, number), "type {number}");
    }
    Ok(())
}

fn unsupported(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = imported(suite, mapper, &plain())?;
    for number in [0, -1, 25_000, i64::MAX, i64::MIN] {
        same!(mapper.get(buffer.handle, number), Err(UNSUPPORTED), "get of type {number}");
        same!(mapper.set(buffer.handle, number, &[0; 64]), Err(UNSUPPORTED), "set of type {number}");
    }
    for name in [c"vendor.example.Metadata", c"", c"android.hardware.graphics.common.StandardMetadataTypes"] {
        same!(mapper.get_named(buffer.handle, name, 1), Err(UNSUPPORTED), "get of {name:?}");
        same!(mapper.set_named(buffer.handle, name, 17, &[0; 64]), Err(UNSUPPORTED), "set of {name:?}");
    }
    Ok(())
}

fn bad_handles(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &plain())?;
    let freed = import(mapper, &allocated.raw)?.into_handle();
    ok(mapper.free_pointer(freed), "freeBuffer")?;
    for (what, handle) in [("null", null()), ("a raw handle", allocated.raw.pointer()), ("a freed one", freed)] {
        same!(mapper.get(handle, kind::WIDTH), Err(BAD_BUFFER), "get of {what}");
        same!(mapper.set(handle, kind::DATASPACE, &[]), Err(BAD_BUFFER), "set of {what}");
    }
    Ok(())
}

fn no_call(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = imported(suite, mapper, &plain())?;
    let mut room = vec![0; 64 * 1024];
    let mut get = |number: &i64| mapper.get_into(buffer.handle, *number, Some(&mut room), 64 * 1024) >= 0;
    let work = || (0..1000).all(|_| REQUIRED.iter().all(&mut get));
    match quiet::run(work) {
        Ending::Quiet => Ok(()),
        Ending::NotTried => Err(Trouble::Skipped("the kernel has no strict mode of seccomp".to_owned())),
        ending => Err(Trouble::Failed(format!("21,000 gets: {ending:?}"))),
    }
}
