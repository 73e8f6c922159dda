//! What an allocator must refuse and must have, through its handles.

use crate::case::{CPU, Case, Checked, FRONT_BUFFER, OVERLAY, PROTECTED, RENDER_TARGET, TEXTURE, Trouble};
use crate::case::{allocate, check, import, needs_descriptors, of_allocator, of_format, plain, same};
use crate::library::{Mapper, NotAllocated, Suite};
use virgbm_android_handle::allocate::AllocationError;
use virgbm_android_handle::{Descriptor, HalFormat, OptionValue};

pub const CASES: &[Case] = &[
    of_allocator("an unknown usage is refused alike by isSupported and allocate", unknown_usage),
    of_allocator("an unknown option is refused alike", unknown_option),
    of_allocator("a dataspace as an option is the buffer's", dataspace),
    of_allocator("no layers, no size and a negative region are refused", contradictions),
    of_allocator("a front buffer from GPU to CPU", |suite, mapper| front_buffer(suite, mapper, TEXTURE | RENDER_TARGET | CPU)),
    of_allocator("a front buffer from GPU to GPU", |suite, mapper| front_buffer(suite, mapper, TEXTURE | RENDER_TARGET)),
    of_allocator("protected memory is there, or refused with a reason", protected),
    of_allocator("isSupported and allocate agree on every format and usage", agree),
    of_allocator("isSupported and allocate agree on large sizes: what is supported may lack resources only", agree_on_large),
    of_allocator("10,000 buffers are there, or refused for want of resources", many),
];

fn refused(suite: &Suite, descriptor: &Descriptor, expected: AllocationError) -> Checked {
    same!(suite.source.supports(descriptor), Some(false), "isSupported of {descriptor:?}");
    match suite.source.allocate(descriptor) {
        Err(NotAllocated::Refused(error, why)) => {
            same!(error, expected, "the error");
            check!(!why.is_empty(), "there is no reason");
            Ok(())
        }
        other => Err(Trouble::Failed(format!("allocate gives {other:?}"))),
    }
}

fn unknown_usage(suite: &Suite, _: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    for bit in [33, 40, 47] {
        refused(suite, &Descriptor { usage: CPU | 1 << bit, ..plain() }, AllocationError::Unsupported)?;
    }
    Ok(())
}

fn option(name: &str, value: i64) -> Vec<OptionValue> {
    vec![OptionValue { name: name.to_owned(), value }]
}

fn unknown_option(suite: &Suite, _: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    for name in ["not.a.real.option", "", "android.hardware.graphics.common.Dataspac"] {
        refused(suite, &Descriptor { options: option(name, 1), ..plain() }, AllocationError::Unsupported)?;
    }
    Ok(())
}

fn dataspace(suite: &Suite, mapper: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    let display_p3 = 10 << 16 | 2 << 22 | 1 << 27;
    let options = option("android.hardware.graphics.common.Dataspace", display_p3.into());
    let buffer = import(mapper, &allocate(suite, &Descriptor { options, ..plain() })?.raw)?;
    same!(buffer.value::<i32>(crate::library::stream::kind::DATASPACE)?, display_p3, "DATASPACE");
    Ok(())
}

fn contradictions(suite: &Suite, _: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    for descriptor in [
        Descriptor { layer_count: 0, ..plain() },
        Descriptor { layer_count: -1, ..plain() },
        Descriptor { width: 0, ..plain() },
        Descriptor { height: -64, ..plain() },
        Descriptor { reserved_bytes: -1, ..plain() },
    ] {
        refused(suite, &descriptor, AllocationError::BadDescriptor)?;
    }
    Ok(())
}

fn front_buffer(suite: &Suite, mapper: &Mapper, usage: u64) -> Checked {
    needs_descriptors(suite)?;
    let descriptor = Descriptor { usage: usage | FRONT_BUFFER, ..plain() };
    if suite.source.supports(&descriptor) == Some(false) {
        return Err(Trouble::Skipped("isSupported says no".to_owned()));
    }
    let buffer = import(mapper, &allocate(suite, &descriptor)?.raw)?;
    if usage & CPU != 0 {
        crate::case::lock(&buffer, CPU, 64 * 64 * 4)?.fill(6);
        crate::case::unlock(&buffer)?;
    }
    Ok(())
}

fn protected(suite: &Suite, mapper: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    let descriptor = Descriptor { usage: PROTECTED | OVERLAY, ..plain() };
    match suite.source.allocate(&descriptor) {
        Ok(allocated) => import(mapper, &allocated.raw).map(drop),
        Err(NotAllocated::Refused(_, why)) => {
            check!(why.contains("PROTECTED"), "the reason does not name it: {why}");
            Ok(())
        }
        Err(NotAllocated::Unasked(why)) => Err(Trouble::Skipped(why.to_owned())),
    }
}

fn agree(suite: &Suite, _: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    let mut refusals = 0;
    for row in HalFormat::all() {
        for usage in
            [0, CPU, TEXTURE, RENDER_TARGET, OVERLAY, PROTECTED, 1 << 12, 1 << 15, 1 << 16, 1 << 17, 1 << 22, 1 << 23, 1 << 24]
        {
            let height = if row.number == HalFormat::BLOB { 1 } else { 64 };
            let descriptor = Descriptor { usage, height, ..of_format(row.number) };
            let said = suite.source.supports(&descriptor);
            let outcome = suite.source.allocate(&descriptor);
            same!(outcome.is_ok(), said == Some(true), "{} with {usage:#x}: {outcome:?}", row.name);
            refusals += usize::from(outcome.is_err());
        }
    }
    check!(refusals > 0, "nothing is refused");
    Ok(())
}

fn agree_on_large(suite: &Suite, _: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    // Larger than a resource of some hosts, wider than a texture, beyond a quota, and beyond 32 bits.
    for (format, width, height) in [
        (HalFormat::YCBCR_420_888, 8192, 8192),
        (HalFormat::YCBCR_P010, 16_384, 16),
        (HalFormat::YCBCR_422_I, 16_384, 16),
        (HalFormat::RAW16, 16_384, 16),
        (HalFormat::BLOB, 80 << 20, 1),
        (HalFormat::RGBA_8888, 32_768, 24_576),
        (HalFormat::RGBA_8888, 32_768, 32_768),
        (HalFormat::RGBA_8888, 65_536, 65_536),
        (HalFormat::RGBA_8888, i32::MAX, i32::MAX),
    ] {
        for usage in [CPU, TEXTURE] {
            let descriptor = Descriptor { width, height, usage, ..of_format(format) };
            let said = suite.source.supports(&descriptor);
            let outcome = suite.source.allocate(&descriptor).map(drop);
            let agreed = match &outcome {
                Ok(()) | Err(NotAllocated::Refused(AllocationError::NoResources, _)) => said == Some(true),
                Err(_) => said == Some(false),
            };
            check!(agreed, "{format:#x} of {width}x{height} with {usage:#x}: isSupported says {said:?}, then {outcome:?}");
        }
    }
    Ok(())
}

fn many(suite: &Suite, _: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    let (mut buffers, mut ended) = (Vec::new(), None);
    while buffers.len() < 10_000 && ended.is_none() {
        match suite.source.allocate(&plain()) {
            Ok(buffer) => buffers.push(buffer),
            Err(refusal) => ended = Some(refusal),
        }
    }
    let count = buffers.len();
    check!(count >= 100, "only {count} buffers, then {ended:?}");
    drop(buffers);
    if let Some(refusal) = ended {
        check!(matches!(refusal, NotAllocated::Refused(AllocationError::NoResources, _)), "after {count} buffers: {refusal:?}");
    }
    allocate(suite, &plain()).map(drop)
}
