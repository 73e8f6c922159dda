//! Metadata that is set, for everybody who has the buffer.

use crate::case::{
    BAD_VALUE, Case, Checked, Trouble, UNSUPPORTED, allocate, check, import, of_format, of_mapper, ok, plain, same,
};
use crate::library::stream::{List, encode, kind};
use crate::library::{Buffer, Mapper, STANDARD, Suite};
use crate::sys::handle::Raw;
use std::sync::atomic::{AtomicBool, Ordering};
use virgbm_android_handle::HalFormat;

pub const CASES: &[Case] = &[
    of_mapper("DATASPACE is unknown, then what was set", dataspace),
    of_mapper("BLEND_MODE is invalid, then what was set", blend_mode),
    of_mapper("SMPTE2086 is none, then what was set, then none", smpte2086),
    of_mapper("CTA861_3 is none, then what was set, then none", cta861_3),
    of_mapper("SMPTE2094_40 is none, then 10,280 bytes, then none", |suite, mapper| dynamic(suite, mapper, kind::SMPTE2094_40)),
    of_mapper("SMPTE2094_10 is none, then 10,280 bytes, then none", |suite, mapper| dynamic(suite, mapper, kind::SMPTE2094_10)),
    of_mapper("SMPTE2094_50 is none, then 10,280 bytes, then none", |suite, mapper| dynamic(suite, mapper, kind::SMPTE2094_50)),
    of_mapper("what must be settable says so, and what is constant does not", listed),
    of_mapper("constants refuse to be set with BAD_VALUE", constants),
    of_mapper("every other type is set, or unsupported", every_type),
    of_mapper("CROP is set for each plane, and not outside of one", crop),
    of_mapper("streams that are malformed are refused, and change nothing", malformed),
    of_mapper("other imports and clones see what is set", shared),
    of_mapper("another process sees what is set, and its settings are seen", across_processes),
    of_mapper("readers never see half a value while others set it", no_halves),
];

fn with<T>(suite: &Suite, mapper: &Mapper, check: impl FnOnce(&Buffer<'_>) -> Result<T, Trouble>) -> Result<T, Trouble> {
    check(&import(mapper, &allocate(suite, &plain())?.raw)?)
}

fn dataspace(suite: &Suite, mapper: &Mapper) -> Checked {
    with(suite, mapper, |buffer| {
        same!(buffer.value::<i32>(kind::DATASPACE)?, 0, "DATASPACE of a new buffer");
        // Display P3: DCI-P3, sRGB's transfer, full range.
        let display_p3 = 10 << 16 | 2 << 22 | 1 << 27;
        same!(buffer.set(kind::DATASPACE, &i32::to_le_bytes(display_p3)), Ok(()), "set");
        same!(buffer.value::<i32>(kind::DATASPACE)?, display_p3, "DATASPACE");
        Ok(())
    })
}

fn blend_mode(suite: &Suite, mapper: &Mapper) -> Checked {
    with(suite, mapper, |buffer| {
        same!(buffer.value::<i32>(kind::BLEND_MODE)?, 0, "BLEND_MODE of a new buffer");
        for mode in [3, 1, 2, 0] {
            same!(buffer.set(kind::BLEND_MODE, &i32::to_le_bytes(mode)), Ok(()), "set");
            same!(buffer.value::<i32>(kind::BLEND_MODE)?, mode, "BLEND_MODE");
        }
        Ok(())
    })
}

fn floats<const N: usize>(suite: &Suite, mapper: &Mapper, number: i64, values: [f32; N]) -> Checked {
    with(suite, mapper, |buffer| {
        same!(buffer.value::<Option<[f32; N]>>(number)?, None, "a new buffer's");
        let payload: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        same!(buffer.set(number, &payload), Ok(()), "set");
        same!(buffer.value::<Option<[f32; N]>>(number)?, Some(values), "what was set");
        same!(mapper.set(buffer.handle, number, &[]), Ok(()), "set of nothing");
        same!(buffer.value::<Option<[f32; N]>>(number)?, None, "what was unset");
        Ok(())
    })
}

fn smpte2086(suite: &Suite, mapper: &Mapper) -> Checked {
    floats(suite, mapper, kind::SMPTE2086, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 400.0, 1000.0, 100_000.0, 0.0001])
}

fn cta861_3(suite: &Suite, mapper: &Mapper) -> Checked {
    floats(suite, mapper, kind::CTA861_3, [1000.0, 140.0])
}

fn dynamic(suite: &Suite, mapper: &Mapper, number: i64) -> Checked {
    with(suite, mapper, |buffer| {
        match mapper.get(buffer.handle, number) {
            Err(UNSUPPORTED) => return Err(Trouble::Skipped("the type is not supported".to_owned())),
            got => same!(got, Ok(Vec::new()), "a new buffer's"),
        }
        for length in [1usize, 10_280, 0] {
            let value: Vec<u8> = (0..length).map(|at| (at / 5) as u8).collect();
            let payload = [&(length as i64).to_le_bytes()[..], &value].concat();
            same!(buffer.set(number, &payload), Ok(()), "set of {length} bytes");
            same!(buffer.value::<Option<Vec<u8>>>(number)?, Some(value), "what was set");
        }
        same!(mapper.set(buffer.handle, number, &[]), Ok(()), "set of nothing");
        same!(buffer.value::<Option<Vec<u8>>>(number)?, None, "what was unset");
        Ok(())
    })
}

const MUST_BE_SETTABLE: [i64; 4] = [kind::DATASPACE, kind::BLEND_MODE, kind::SMPTE2086, kind::CTA861_3];
const DYNAMIC: [i64; 3] = [kind::SMPTE2094_40, kind::SMPTE2094_10, kind::SMPTE2094_50];
const CONSTANT: [i64; 7] =
    [kind::BUFFER_ID, kind::NAME, kind::WIDTH, kind::HEIGHT, kind::LAYER_COUNT, kind::PIXEL_FORMAT_REQUESTED, kind::USAGE];

fn listed(_: &Suite, mapper: &Mapper) -> Checked {
    let types = ok(mapper.types(), "listSupportedMetadataTypes")?;
    for (name, number, gettable, settable) in types.iter().filter(|(name, ..)| name.as_c_str() == STANDARD) {
        if MUST_BE_SETTABLE.contains(number) {
            check!(*settable, "{name:?} {number} can't be set");
        }
        if DYNAMIC.contains(number) {
            same!(*settable, *gettable, "whether type {number} is settable, as it is gettable");
        }
        if CONSTANT.contains(number) {
            check!(!*settable, "type {number} can be set");
        }
    }
    Ok(())
}

fn constants(suite: &Suite, mapper: &Mapper) -> Checked {
    with(suite, mapper, |buffer| {
        for number in CONSTANT {
            let before = ok(mapper.get(buffer.handle, number), "get")?;
            same!(mapper.set(buffer.handle, number, &before), Err(BAD_VALUE), "set of type {number}");
            same!(mapper.get(buffer.handle, number), Ok(before), "type {number} afterwards");
        }
        Ok(())
    })
}

fn every_type(suite: &Suite, mapper: &Mapper) -> Checked {
    with(suite, mapper, |buffer| {
        for number in (1..=24).filter(|number| !CONSTANT.contains(number)) {
            let Ok(before) = mapper.get(buffer.handle, number) else { continue };
            let set = mapper.set(buffer.handle, number, &before);
            check!(matches!(set, Ok(()) | Err(UNSUPPORTED)), "set of type {number} gives {set:?}");
            same!(mapper.get(buffer.handle, number), Ok(before), "type {number} afterwards");
        }
        Ok(())
    })
}

fn crop(suite: &Suite, mapper: &Mapper) -> Checked {
    for format in [HalFormat::RGBA_8888, HalFormat::YCBCR_420_888, HalFormat::YV12] {
        let allocated = allocate(suite, &of_format(format))?;
        let (buffer, other) = (import(mapper, &allocated.raw)?, import(mapper, &allocated.raw)?);
        let whole: List<[i32; 4]> = buffer.value(kind::CROP)?;
        let halved = |[_, _, right, bottom]: &[i32; 4]| [right / 4, bottom / 4, right / 2, bottom / 2];
        let halves: Vec<_> = whole.0.iter().map(halved).collect();
        let payload = |rectangles: &[[i32; 4]]| {
            let edges = rectangles.iter().flatten().flat_map(|edge| edge.to_le_bytes());
            [&(rectangles.len() as i64).to_le_bytes()[..], &edges.collect::<Vec<_>>()].concat()
        };
        match buffer.set(kind::CROP, &payload(&halves)) {
            Err(UNSUPPORTED) => return Err(Trouble::Skipped("CROP can't be set".to_owned())),
            set => same!(set, Ok(()), "set of {halves:?}"),
        }
        same!(other.value::<List<[i32; 4]>>(kind::CROP)?, List(halves.clone()), "CROP of format {format:#x}");
        let (fewer, more) = (halves.get(1..).unwrap_or(&[]), [&halves[..], &[[0, 0, 1, 1]]].concat());
        let (mut outside, mut reversed) = (whole.0.clone(), whole.0);
        outside.iter_mut().rev().take(1).for_each(|[_, _, right, _]| *right += 1);
        reversed.iter_mut().rev().take(1).for_each(|[left, _, right, _]| (*left, *right) = (*right, *left));
        for bad in [fewer, &more, &outside, &reversed] {
            let set = buffer.set(kind::CROP, &payload(bad));
            check!(matches!(set, Err(UNSUPPORTED | BAD_VALUE)), "set of {bad:?} gives {set:?}");
        }
        same!(buffer.value::<List<[i32; 4]>>(kind::CROP)?, List(halves), "CROP afterwards");
    }
    Ok(())
}

fn malformed(suite: &Suite, mapper: &Mapper) -> Checked {
    with(suite, mapper, |buffer| {
        let before = ok(mapper.get(buffer.handle, kind::DATASPACE), "get")?;
        let whole = encode(kind::DATASPACE, &7i32.to_le_bytes());
        let other = encode(kind::BLEND_MODE, &7i32.to_le_bytes());
        let behind = whole.get(8..).unwrap_or(&[]);
        let endless = [&i64::MAX.to_le_bytes()[..], behind].concat();
        let negative = [&(-1i64).to_le_bytes()[..], behind].concat();
        let longer = [&whole[..], &[0]].concat();
        let mut bad: Vec<&[u8]> = (0..whole.len()).filter_map(|length| whole.get(..length)).collect();
        bad.extend([&other[..], &endless, &negative, &longer, &[0xff; 200]]);
        for stream in bad {
            let set = mapper.set(buffer.handle, kind::DATASPACE, stream);
            check!(matches!(set, Err(UNSUPPORTED | BAD_VALUE)), "set of {} bytes gives {set:?}", stream.len());
        }
        same!(mapper.get(buffer.handle, kind::DATASPACE), Ok(before), "DATASPACE afterwards");
        for (number, payload) in
            [(kind::SMPTE2086, vec![0; 39]), (kind::CTA861_3, vec![0; 9]), (kind::SMPTE2094_40, vec![0xff; 8])]
        {
            let set = buffer.set(number, &payload);
            check!(matches!(set, Err(UNSUPPORTED | BAD_VALUE)), "set of type {number} gives {set:?}");
        }
        Ok(())
    })
}

fn shared(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &plain())?;
    let one = import(mapper, &allocated.raw)?;
    let clone = Raw::clone_of(one.handle).ok_or("it can't be cloned".to_owned())?;
    let (other, cloned) = (import(mapper, &allocated.raw)?, import(mapper, &clone)?);
    same!(one.set(kind::DATASPACE, &1234i32.to_le_bytes()), Ok(()), "set");
    same!(other.value::<i32>(kind::DATASPACE)?, 1234, "DATASPACE through another import");
    same!(cloned.value::<i32>(kind::DATASPACE)?, 1234, "DATASPACE through a clone");
    same!(cloned.set(kind::BLEND_MODE, &2i32.to_le_bytes()), Ok(()), "set");
    same!(one.value::<i32>(kind::BLEND_MODE)?, 2, "BLEND_MODE through the first");
    drop((one, other, cloned));
    same!(import(mapper, &allocated.raw)?.value::<i32>(kind::DATASPACE)?, 1234, "DATASPACE after all were freed");
    Ok(())
}

fn across_processes(suite: &Suite, mapper: &Mapper) -> Checked {
    with(suite, mapper, |buffer| {
        same!(buffer.set(kind::DATASPACE, &77i32.to_le_bytes()), Ok(()), "set");
        let seen = crate::sys::quiet::in_child(|| {
            buffer.value::<i32>(kind::DATASPACE) == Ok(77) && buffer.set(kind::BLEND_MODE, &3i32.to_le_bytes()) == Ok(())
        });
        same!(seen, Some(true), "whether the other process saw it, and set its own");
        same!(buffer.value::<i32>(kind::BLEND_MODE)?, 3, "BLEND_MODE");
        Ok(())
    })
}

fn no_halves(suite: &Suite, mapper: &Mapper) -> Checked {
    with(suite, mapper, |buffer| {
        let done = AtomicBool::new(false);
        let wrong = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2u8)
                .map(|writer| {
                    let done = &done;
                    scope.spawn(move || {
                        for round in 0..500u32 {
                            let value = vec![round as u8 ^ writer << 7; 100 + (round as usize * 13) % 4000];
                            let payload = [&(value.len() as i64).to_le_bytes()[..], &value].concat();
                            if buffer.set(kind::SMPTE2094_40, &payload).is_err() {
                                return Some("a set fails".to_owned());
                            }
                        }
                        done.store(true, Ordering::Relaxed);
                        None
                    })
                })
                .collect();
            let reader = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    match mapper.get(buffer.handle, kind::SMPTE2094_40) {
                        Err(_) | Ok(_) if done.load(Ordering::Relaxed) => {}
                        Err(number) if number == crate::case::NO_RESOURCES => {}
                        Err(number) => return Some(format!("get gives {number}")),
                        Ok(stream) if stream.is_empty() => {}
                        Ok(stream) => {
                            let value: Option<Option<Vec<u8>>> = crate::library::stream::decode(&stream, kind::SMPTE2094_40);
                            match value.flatten() {
                                Some(value) if value.iter().all(|byte| Some(byte) == value.first()) => {}
                                other => return Some(format!("half a value: {} bytes", other.map_or(0, |value| value.len()))),
                            }
                        }
                    }
                }
                None
            });
            let threads = writers.into_iter().chain([reader]);
            threads.filter_map(|thread| thread.join().unwrap_or(Some("a panic".to_owned()))).next()
        });
        same!(wrong, None, "what was seen");
        Ok(())
    })
}
