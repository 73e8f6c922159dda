//! The gralloc module: what it is, allocates and tells.

use crate::case::{Case, Checked, check, held, of_gralloc, ok, open, same};
use crate::library::{Gralloc, OpenDevice, Suite};
use crate::sys::handle::{Raw, is_open};
use crate::sys::memory::Bytes;
use std::collections::HashSet;
use std::ptr::null;
use virgbm_android_abi::BufferHandle;
use virgbm_android_abi::gralloc::Operation;
use virgbm_android_handle::HalFormat as F;

pub const CASES: &[Case] = &[
    of_gralloc("the module is gralloc of API 0.3, with tag HWMT", module),
    of_gralloc("no function is null", functions),
    of_gralloc("gpu0 opens with tag HWDT, more than once, and nothing else does", devices),
    of_gralloc("a buffer is allocated with a stride of its width at least, and locked at once", allocates),
    of_gralloc("the stride of YCbCr_420_888 is 0", flexible_stride),
    of_gralloc("every mandatory format is allocated", formats),
    of_gralloc("sizes, formats and usages that can't be are refused", alloc_negative),
    of_gralloc("alloc without a place for the handle or the stride is refused, and keeps nothing", alloc_nowhere),
    of_gralloc("a buffer that was unregistered too often is freed all the same", freed_when_unregistered),
    of_gralloc("free of null, a clone or a freed handle is refused", free_negative),
    of_gralloc("a clone is registered, locked and unregistered, as often as it is registered", registers),
    of_gralloc("null, empty and bad handles are not registered", register_negative),
    of_gralloc("the transport size is the handle's", transport_size),
    of_gralloc("validateBufferSize takes what is, and refuses what is larger", validates),
    of_gralloc("perform tells stride, format, dimensions and a unique id", tells),
    of_gralloc("perform tells planes of registered and of raw handles", planes),
    of_gralloc("perform tells how to ask for a front buffer, which is then allocated", front_buffer),
    of_gralloc("perform refuses what it does not know, and bad handles", perform_negative),
    of_gralloc("a dump fits into its room", dump),
    of_gralloc("allocating and freeing many times grows nothing", grows_nothing),
];

pub(super) const CPU: i32 = 0x33;

pub(super) const WHOLE: [i32; 4] = [0, 0, 64, 64];

const EINVAL: i32 = -libc::EINVAL;

pub(super) fn alloc(device: &OpenDevice, format: i32) -> Result<(BufferHandle, i32), crate::case::Trouble> {
    ok(device.alloc(64, 64, format, CPU), "alloc")
}

fn module(_: &Suite, gralloc: &Gralloc) -> Checked {
    let common = &gralloc.table().common;
    same!(common.tag, 0x4857_4d54, "the tag");
    check!(common.module_api_version >= 3, "API {:#06x}", common.module_api_version);
    let [id, name] = gralloc.strings();
    same!(id, "gralloc", "the id");
    check!(!name.is_empty(), "there is no name");
    Ok(())
}

fn functions(_: &Suite, gralloc: &Gralloc) -> Checked {
    same!(gralloc.functions().iter().position(|address| *address == 0), None, "the first that is null");
    Ok(())
}

fn devices(_: &Suite, gralloc: &Gralloc) -> Checked {
    let (one, other) = (open(gralloc)?, open(gralloc)?);
    same!((one.tag(), other.tag()), (0x4857_4454, 0x4857_4454), "the tags");
    for name in [c"fb0", c"", c"gpu00"] {
        same!(gralloc.open_named(name).map(drop), Err(EINVAL), "open of {name:?}");
    }
    Ok(())
}

fn allocates(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, stride) = alloc(&device, F::RGBA_8888)?;
    check!(stride >= 64, "a stride of {stride}");
    let bytes = Bytes::new(ok(gralloc.lock(handle, CPU, WHOLE), "lock")?, 64 * stride as usize * 4);
    bytes.fill(8);
    same!(gralloc.unlock(handle), Ok(()), "unlock");
    device.free(handle);
    Ok(())
}

fn flexible_stride(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, stride) = alloc(&device, F::YCBCR_420_888)?;
    device.free(handle);
    same!(stride, 0, "the stride");
    Ok(())
}

fn formats(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    for format in
        [F::RGBA_8888, F::RGBX_8888, F::RGB_888, F::RGB_565, F::BGRA_8888, F::YV12, F::YCBCR_420_888, F::IMPLEMENTATION_DEFINED]
    {
        let (handle, _) = alloc(&device, format)?;
        device.free(handle);
    }
    let (handle, stride) = ok(device.alloc(100_000, 1, F::BLOB, CPU), "alloc of BLOB")?;
    device.free(handle);
    check!(stride >= 100_000, "a stride of {stride}");
    Ok(())
}

fn alloc_negative(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    for (width, height, format, usage) in [
        (0, 64, F::RGBA_8888, CPU),
        (64, 0, F::RGBA_8888, CPU),
        (-1, 64, F::RGBA_8888, CPU),
        (64, i32::MIN, F::RGBA_8888, CPU),
        (i32::MAX, i32::MAX, F::RGBA_8888, CPU),
        (64, 64, 0, CPU),
        (64, 64, -7, CPU),
        (64, 64, F::RGBA_8888, CPU | 1 << 19),
    ] {
        let outcome = device.alloc(width, height, format, usage).map(drop);
        check!(matches!(outcome, Err(number) if number < 0), "alloc of {width}x{height} {format} {usage:#x} gives {outcome:?}");
    }
    Ok(())
}

fn alloc_nowhere(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let before = device.dump(4096);
    let (fds, _) = held()?;
    for (handle, stride) in [(false, true), (true, false), (false, false)] {
        same!(device.alloc_into(handle, stride), Err(EINVAL), "alloc with a handle: {handle}, with a stride: {stride}");
    }
    same!(held()?.0, fds, "descriptors");
    same!(device.dump(4096), before, "the buffers");
    Ok(())
}

fn freed_when_unregistered(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (fds, _) = held()?;
    let (handle, _) = alloc(&device, F::RGBA_8888)?;
    let unregistered = gralloc.unregister(handle);
    let outcomes = [device.free_pointer(handle), device.free_pointer(handle)];
    same!((unregistered, outcomes), (Ok(()), [Ok(()), Err(EINVAL)]), "unregisterBuffer, then free and free");
    same!(held()?.0, fds, "descriptors");
    Ok(())
}

fn free_negative(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::RGBA_8888)?;
    let clone = Raw::clone_of(handle).ok_or("it can't be cloned".to_owned())?;
    same!(device.free_pointer(null()), Err(EINVAL), "free of null");
    same!(device.free_pointer(clone.pointer()), Err(EINVAL), "free of a clone");
    device.free(handle);
    same!(device.free_pointer(handle), Err(EINVAL), "free of a freed handle");
    Ok(())
}

fn registers(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, stride) = alloc(&device, F::RGBA_8888)?;
    let length = 64 * stride as usize * 4;
    Bytes::new(ok(gralloc.lock(handle, CPU, WHOLE), "lock")?, length).fill(3);
    same!(gralloc.unlock(handle), Ok(()), "unlock");
    let clone = Raw::clone_of(handle).ok_or("it can't be cloned".to_owned())?;
    same!(gralloc.lock(clone.pointer(), CPU, WHOLE).map(drop), Err(EINVAL), "lock before it is registered");
    same!(gralloc.register(clone.pointer()), Ok(()), "registerBuffer");
    same!(gralloc.register(clone.pointer()), Ok(()), "registerBuffer again");
    let bytes = Bytes::new(ok(gralloc.lock(clone.pointer(), CPU, WHOLE), "lock")?, length);
    same!(bytes.differs(3), None, "the first byte that is not as written");
    same!(gralloc.unlock(clone.pointer()), Ok(()), "unlock");
    same!(gralloc.unregister(clone.pointer()), Ok(()), "unregisterBuffer");
    same!(gralloc.unregister(clone.pointer()), Ok(()), "unregisterBuffer again");
    same!(gralloc.unregister(clone.pointer()), Err(EINVAL), "unregisterBuffer once more");
    check!(is_open(clone.fd(0)), "unregisterBuffer closes what is its holder's");
    device.free(handle);
    Ok(())
}

fn register_negative(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::RGBA_8888)?;
    let mut clone = Raw::clone_of(handle).ok_or("it can't be cloned".to_owned())?;
    device.free(handle);
    clone.set_fd(0, 1 << 20);
    for (what, bad) in [("null", null()), ("an empty handle", Raw::empty().pointer()), ("a closed descriptor", clone.pointer())] {
        same!(gralloc.register(bad), Err(EINVAL), "registerBuffer of {what}");
        same!(gralloc.unregister(bad), Err(EINVAL), "unregisterBuffer of {what}");
    }
    Ok(())
}

fn transport_size(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::YV12)?;
    let raw = Raw::clone_of(handle).ok_or("it can't be cloned".to_owned())?;
    let size = gralloc.transport_size(handle);
    device.free(handle);
    same!(size, Ok((raw.get(4), raw.get(8))), "descriptors and integers");
    same!(gralloc.transport_size(null()), Err(EINVAL), "getTransportSize of null");
    Ok(())
}

fn validates(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, stride) = alloc(&device, F::RGBA_8888)?;
    let validate = |width, height, format, stride| gralloc.validate(handle, width, height, format, stride);
    let stride = stride as u32;
    let outcomes = [
        validate(64, 64, F::RGBA_8888, stride),
        validate(1, 1, F::RGBA_8888, 1),
        validate(65, 64, F::RGBA_8888, stride),
        validate(64, u32::MAX, F::RGBA_8888, stride),
        validate(64, 64, F::RGB_565, stride),
        validate(64, 64, F::RGBA_8888, stride + 1),
    ];
    device.free(handle);
    same!(outcomes, [Ok(()), Ok(()), Err(EINVAL), Err(EINVAL), Err(EINVAL), Err(EINVAL)], "validateBufferSize");
    Ok(())
}

fn tells(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let mut ids = HashSet::new();
    for format in [F::RGBA_8888, F::RGB_888, F::YV12] {
        let (handle, stride) = ok(device.alloc(100, 50, format, CPU), "alloc")?;
        same!(gralloc.ask::<u32>(Operation::GetStride, handle), Ok(stride as u32), "the stride");
        same!(gralloc.ask::<i32>(Operation::GetFormat, handle), Ok(format), "the format");
        same!(gralloc.dimensions(handle), Ok((100, 50)), "the dimensions");
        ids.insert(ok(gralloc.ask::<u64>(Operation::GetBackingStore, handle), "perform")?);
        device.free(handle);
    }
    same!((ids.len(), ids.contains(&0)), (3, false), "ids, and whether one is 0");
    Ok(())
}

fn planes(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::YV12)?;
    let clone = Raw::clone_of(handle).ok_or("it can't be cloned".to_owned())?;
    let told = ok(gralloc.info(handle), "perform")?;
    let of_raw = ok(gralloc.info(clone.pointer()), "perform on a raw handle")?;
    device.free(handle);
    same!((told.drm_fourcc, told.num_fds), (u32::from_le_bytes(*b"YV12"), 3), "the fourcc, and how many planes");
    same!(of_raw.fds.get(..3), Some(&[clone.fd(0), clone.fd(1), clone.fd(2)][..]), "the raw handle's descriptors");
    same!((of_raw.offset, of_raw.stride, of_raw.modifier), (told.offset, told.stride, told.modifier), "the raw handle's planes");
    let [y, cr, cb, none] = told.offset;
    check!(y == 0 && cr >= 64 * 64 && cb > cr && none == 0, "the offsets are {:?}", told.offset);
    check!(told.stride[0] >= 64 && told.stride[1] >= 32 && told.stride[1] == told.stride[2], "the strides are {:?}", told.stride);
    Ok(())
}

fn front_buffer(_: &Suite, gralloc: &Gralloc) -> Checked {
    let ask = |wanted: usize| {
        let mut usage = u32::MAX;
        let asked = gralloc.perform(Operation::GetUsage as i32, wanted, (&raw mut usage).expose_provenance(), 0);
        ok(asked, "perform").map(|()| usage)
    };
    same!(ask(0)?, 0, "the usage for nothing");
    let usage = ask(1)?;
    check!(usage != 0, "there is no usage for front rendering");
    let device = open(gralloc)?;
    let (handle, _) = ok(device.alloc(64, 64, F::RGBA_8888, usage as i32 | 0x300), "alloc")?;
    device.free(handle);
    Ok(())
}

fn perform_negative(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::RGBA_8888)?;
    let address = handle.expose_provenance();
    let mut answers = Vec::new();
    for operation in [-1, 6, 1000, i32::MIN] {
        answers.push(gralloc.perform(operation, address, 0, 0));
    }
    for operation in 0..=5 {
        answers.push(gralloc.perform(operation, address, 0, 0));
    }
    let empty = Raw::empty();
    for operation in 0..=4 {
        let mut room = [0u64; 16];
        let to = (&raw mut room).expose_provenance();
        answers.push(gralloc.perform(operation, 0, to, to));
        answers.push(gralloc.perform(operation, empty.pointer().expose_provenance(), to, to));
    }
    device.free(handle);
    check!(answers.iter().all(|answer| *answer == Err(EINVAL)), "the answers are {answers:?}");
    Ok(())
}

fn dump(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let (handle, _) = alloc(&device, F::RGBA_8888)?;
    let dumps: Vec<_> = [4096, 10, 1].into_iter().map(|room| device.dump(room)).collect();
    device.free(handle);
    check!(dumps.first().is_some_and(|text| text.contains("64x64")), "the dump is {:?}", dumps.first());
    same!(dumps.iter().skip(1).map(String::len).collect::<Vec<_>>(), vec![9, 0], "lengths in little room");
    Ok(())
}

fn grows_nothing(_: &Suite, gralloc: &Gralloc) -> Checked {
    let device = open(gralloc)?;
    let round = || {
        let (handle, _) = alloc(&device, F::RGBA_8888)?;
        device.free(handle);
        Ok::<(), crate::case::Trouble>(())
    };
    (0..64).try_for_each(|_| round())?;
    let (fds, pages) = held()?;
    (0..2000).try_for_each(|_| round())?;
    let (fds_after, pages_after) = held()?;
    same!(fds_after, fds, "descriptors");
    check!(pages_after < pages + 1024, "{pages} pages before, {pages_after} after");
    Ok(())
}
