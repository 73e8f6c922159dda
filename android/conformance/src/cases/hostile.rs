//! Handles of somebody who means harm. Where the fields are is known of `cros_gralloc_handle` alone.

use crate::case::{BAD_BUFFER, Case, Checked, Trouble, allocate, check, import, of_format, of_mapper, ok, plain, same};
use crate::library::stream::{List, Plane, kind};
use crate::library::{Buffer, Dumped, Mapper, Suite};
use crate::sys::handle::Raw;
use crate::sys::memory::Bytes;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::os::fd::OwnedFd;
use virgbm_android_handle::HalFormat;

pub const CASES: &[Case] = &[
    of_mapper("0, 5 and 1000 descriptors are refused", counts),
    of_mapper("counts that overflow are refused", overflowing_counts),
    of_mapper("a wrong magic is refused", magic),
    of_mapper("fields that do not hold are refused, each", fields),
    of_mapper("a plane outside the buffer is refused", plane_outside),
    of_mapper("a buffer that is not the device's is refused", foreign),
    of_mapper("closed descriptors are refused", closed),
    of_mapper("descriptors that are no buffer are refused", no_buffer),
    of_mapper("metadata that is too small, or not there, is refused", metadata_size),
    of_mapper("metadata that its owner could shrink, or has shrunk, is refused", metadata_unsealed),
    of_mapper("metadata of another buffer is refused", metadata_of_another),
    of_mapper("any integer of a handle may be anything: import refuses or works", any_integer),
    of_mapper("metadata may be anything: whoever has it mapped reads on", any_metadata),
    of_mapper("what was refused keeps nothing", keeps_nothing),
];

/// Offsets in `cros_gralloc_handle`, in bytes.
mod field {
    pub const FDS: usize = 12;
    pub const STRIDES: usize = 32;
    pub const OFFSETS: usize = 48;
    pub const SIZES: usize = 64;
    pub const WIDTH: usize = 84;
    pub const HEIGHT: usize = 88;
    pub const FORMAT: usize = 92;
    pub const TILING: usize = 96;
    pub const USE_FLAGS: usize = 108;
    pub const MAGIC: usize = 116;
    pub const PIXEL_STRIDE: usize = 120;
    pub const DROID_FORMAT: usize = 124;
    pub const NUM_PLANES: usize = 136;
    pub const RESERVED_REGION_SIZE: usize = 140;
    pub const TOTAL_SIZE: usize = 148;
}

fn cros(suite: &Suite) -> Result<Raw, Trouble> {
    let raw = allocate(suite, &plain())?.raw;
    let known = raw.get(field::MAGIC) == 0xabcd_dcba && raw.get(4) + raw.get(8) == 36;
    if known { Ok(raw) } else { Err(Trouble::Skipped("the handle is no cros_gralloc_handle".to_owned())) }
}

fn refused(mapper: &Mapper, raw: &Raw, what: &str) -> Checked {
    same!(mapper.import_pointer(raw.pointer()).map(drop), Err(BAD_BUFFER), "importBuffer with {what}");
    Ok(())
}

fn counts(suite: &Suite, mapper: &Mapper) -> Checked {
    let good = cros(suite)?;
    for (fds, ints) in [(0, 36), (5, 31), (1000, 31), (1000, -964), (36, 0), (2, 0), (2, 33), (2, 35), (-1, 37)] {
        let mut raw = good.another().ok_or("it can't be cloned".to_owned())?;
        raw.claim(fds, ints);
        refused(mapper, &raw, &format!("{fds} descriptors and {ints} integers"))?;
    }
    Ok(())
}

fn overflowing_counts(suite: &Suite, mapper: &Mapper) -> Checked {
    let good = cros(suite)?;
    for (fds, ints) in [(i32::MAX, 1), (i32::MAX, i32::MAX), (i32::MIN, i32::MIN), (i32::MIN, 36)] {
        let mut raw = good.another().ok_or("it can't be cloned".to_owned())?;
        raw.set(4, fds as u32);
        raw.set(8, ints as u32);
        refused(mapper, &raw, &format!("{fds} descriptors and {ints} integers"))?;
    }
    let mut raw = good.another().ok_or("it can't be cloned".to_owned())?;
    raw.set(0, 7);
    refused(mapper, &raw, "version 7")
}

fn with_field(suite: &Suite, mapper: &Mapper, offset: usize, value: u32, what: &str) -> Checked {
    let mut raw = cros(suite)?;
    raw.set(offset, value);
    refused(mapper, &raw, what)
}

fn magic(suite: &Suite, mapper: &Mapper) -> Checked {
    for value in [0, 0xabcd_dcbb, u32::MAX] {
        with_field(suite, mapper, field::MAGIC, value, "another magic")?;
    }
    Ok(())
}

fn fields(suite: &Suite, mapper: &Mapper) -> Checked {
    for (offset, value, what) in [
        (field::STRIDES, 0, "a stride of 0"),
        (field::STRIDES, 4, "a stride shorter than a row"),
        (field::STRIDES, u32::MAX, "a stride of 4 GiB"),
        (field::SIZES, 0, "a plane of 0 bytes"),
        (field::WIDTH, 0, "no width"),
        (field::WIDTH, 1 << 20, "a wide width"),
        (field::HEIGHT, 0, "no height"),
        (field::HEIGHT, u32::MAX, "a height without end"),
        (field::FORMAT, 0, "no format"),
        (field::FORMAT, u32::from_le_bytes(*b"NV12"), "a format of two planes"),
        (field::PIXEL_STRIDE, 0, "a stride of 0 pixels"),
        (field::DROID_FORMAT, u32::MAX, "a format that the HAL does not have"),
        (field::NUM_PLANES, 0, "no planes"),
        (field::NUM_PLANES, 2, "more planes than descriptors"),
        (field::NUM_PLANES, u32::MAX, "planes without end"),
        (field::TOTAL_SIZE, 0, "a buffer of 0 bytes"),
        (field::TOTAL_SIZE, u32::MAX, "a buffer of 4 GiB"),
        (field::TOTAL_SIZE + 4, 1, "a buffer larger than it is"),
        (field::TOTAL_SIZE + 4, u32::MAX, "a buffer without end"),
    ] {
        with_field(suite, mapper, offset, value, what)?;
    }
    Ok(())
}

fn plane_outside(suite: &Suite, mapper: &Mapper) -> Checked {
    for (offset, value) in
        [(field::OFFSETS, 1 << 20), (field::OFFSETS, u32::MAX), (field::OFFSETS, 8192), (field::SIZES, 1 << 20)]
    {
        with_field(suite, mapper, offset, value, "a plane outside")?;
    }
    Ok(())
}

fn plain_memfd(bytes: u64) -> Result<OwnedFd, String> {
    let fd = memfd_create(c"foreign", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(|errno| errno.to_string())?;
    ftruncate(&fd, bytes).map_err(|errno| errno.to_string())?;
    Ok(fd)
}

fn foreign(suite: &Suite, mapper: &Mapper) -> Checked {
    if std::env::var_os("VIRGBM_LOOPBACK").is_some() {
        // There is no device that could tell: descriptors are files that are mapped.
        return Err(Trouble::Skipped("a host in the process maps any file".to_owned()));
    }
    let mut raw = cros(suite)?;
    raw.replace_fd(0, plain_memfd(1 << 20)?);
    refused(mapper, &raw, "a memfd for a buffer")
}

fn closed(suite: &Suite, mapper: &Mapper) -> Checked {
    let good = cros(suite)?;
    for index in 0..good.count() {
        for number in [-1, i32::MIN, 1 << 20, i32::MAX] {
            let mut raw = good.another().ok_or("it can't be cloned".to_owned())?;
            raw.set_fd(index, number);
            refused(mapper, &raw, &format!("{number} for descriptor {index}"))?;
        }
    }
    Ok(())
}

fn no_buffer(suite: &Suite, mapper: &Mapper) -> Checked {
    for path in ["/dev/null", "/dev/zero", "/proc/self/maps", "/"] {
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        for index in 0..2 {
            let mut raw = cros(suite)?;
            raw.replace_fd(index, file.try_clone().map_err(|error| error.to_string())?.into());
            refused(mapper, &raw, &format!("{path} for descriptor {index}"))?;
        }
    }
    let (reader, _writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let mut raw = cros(suite)?;
    raw.replace_fd(0, reader.into());
    refused(mapper, &raw, "a pipe for a buffer")
}

/// The bytes of a handle's metadata.
fn metadata_of(raw: &Raw) -> Result<(usize, Vec<u8>), Trouble> {
    let last = raw.count().saturating_sub(1);
    let fd = crate::sys::handle::duplicate(raw.fd(last)).ok_or("the metadata is closed".to_owned())?;
    let mut bytes = vec![0; raw.get(field::RESERVED_REGION_SIZE) as usize];
    let read = rustix::io::pread(&fd, &mut bytes[..], 0).map_err(|errno| errno.to_string())?;
    same!(read, bytes.len(), "bytes of metadata");
    Ok((last, bytes))
}

fn metadata_memfd(bytes: &[u8], seals: SealFlags) -> Result<OwnedFd, String> {
    let fd = plain_memfd(bytes.len() as u64)?;
    let written = rustix::io::pwrite(&fd, bytes, 0).map_err(|errno| errno.to_string())?;
    if written != bytes.len() {
        return Err(format!("{written} bytes written"));
    }
    fcntl_add_seals(&fd, seals).map_err(|errno| errno.to_string())?;
    Ok(fd)
}

fn all_seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

fn metadata_size(suite: &Suite, mapper: &Mapper) -> Checked {
    let (last, bytes) = metadata_of(&cros(suite)?)?;
    for length in [0, 1, 100, 4096, bytes.len() - 1] {
        let small = bytes.get(..length).unwrap_or(&[]);
        let mut raw = cros(suite)?;
        raw.replace_fd(last, metadata_memfd(small, all_seals())?);
        refused(mapper, &raw, &format!("metadata of {length} bytes"))?;
        raw.set(field::RESERVED_REGION_SIZE, length as u32);
        refused(mapper, &raw, &format!("metadata of {length} bytes that says so"))?;
    }
    for size in [0, 1, u32::MAX] {
        with_field(suite, mapper, field::RESERVED_REGION_SIZE, size, "another size of metadata")?;
    }
    with_field(suite, mapper, field::RESERVED_REGION_SIZE + 4, 1, "metadata of 4 GiB")
}

fn metadata_unsealed(suite: &Suite, mapper: &Mapper) -> Checked {
    let good = cros(suite)?;
    let (last, bytes) = metadata_of(&good)?;
    let with = |fd: OwnedFd| -> Result<Raw, Trouble> {
        let mut raw = good.another().ok_or("it can't be cloned".to_owned())?;
        raw.replace_fd(last, fd);
        Ok(raw)
    };
    let sealed = with(metadata_memfd(&bytes, all_seals())?)?;
    check!(mapper.import(&sealed).is_ok(), "a copy of good metadata is refused");
    for seals in [SealFlags::empty(), SealFlags::GROW, SealFlags::SEAL] {
        refused(mapper, &with(metadata_memfd(&bytes, seals)?)?, &format!("metadata with seals {seals:?}"))?;
    }
    let shrunk = metadata_memfd(&bytes, SealFlags::empty())?;
    ftruncate(&shrunk, 0).map_err(|errno| errno.to_string())?;
    refused(mapper, &with(shrunk)?, "metadata that was shrunk")
}

fn metadata_of_another(suite: &Suite, mapper: &Mapper) -> Checked {
    let (mut raw, other) = (cros(suite)?, cros(suite)?);
    let last = raw.count() - 1;
    raw.replace_fd(last, crate::sys::handle::duplicate(other.fd(last)).ok_or("it is closed".to_owned())?);
    refused(mapper, &raw, "the metadata of another buffer")
}

/// Where the words are that say nothing of a buffer with so many planes: those of other planes, the tiling, and the flags that
/// follow from the usage.
fn silent(planes: usize) -> Vec<usize> {
    let fds = (planes + 1..5).map(|index| field::FDS + 4 * index);
    let others = (planes..4).flat_map(|plane| [field::STRIDES, field::OFFSETS, field::SIZES].map(|start| start + 4 * plane));
    fds.chain(others).chain([field::TILING, field::USE_FLAGS, field::USE_FLAGS + 4]).collect()
}

fn any_integer(suite: &Suite, mapper: &Mapper) -> Checked {
    let good = allocate(suite, &of_format(HalFormat::YCBCR_420_888))?.raw;
    let first = 12 + 4 * good.count();
    let ints_of = |buffer: &Buffer<'_>| -> Result<Vec<u32>, Trouble> {
        let own = Raw::clone_of(buffer.handle).ok_or("it can't be cloned".to_owned())?;
        Ok((first..156).step_by(4).map(|offset| own.get(offset)).collect())
    };
    let expected = ints_of(&import(mapper, &good)?)?;
    let silent = silent(good.get(field::NUM_PLANES) as usize);
    for offset in (first..156).step_by(4) {
        for value in [0, 1, 4095, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let mut raw = good.another().ok_or("it can't be cloned".to_owned())?;
            raw.set(offset, value);
            // What works is locked, and all of it touched that its planes claim; what nobody has looked at is not handed on.
            let Ok(buffer) = mapper.import(&raw) else { continue };
            if silent.contains(&offset) {
                same!(ints_of(&buffer)?, expected.clone(), "the imported handle where {value:#x} is at {offset}");
            }
            let planes: List<Plane> = buffer.value(kind::PLANE_LAYOUTS)?;
            let reach = planes.0.iter().map(|plane| plane.offset() + plane.size()).max().unwrap_or(0);
            match buffer.lock(crate::case::CPU, crate::case::WHOLE) {
                Ok(address) => {
                    Bytes::new(address, reach).fill(value as usize);
                    crate::case::unlock(&buffer)?;
                }
                refused => same!(refused, Err(crate::case::BAD_VALUE), "lock where {value:#x} is at {offset}"),
            }
        }
    }
    Ok(())
}

fn any_metadata(suite: &Suite, mapper: &Mapper) -> Checked {
    let raw = cros(suite)?;
    let buffer = import(mapper, &raw)?;
    let (last, bytes) = metadata_of(&raw)?;
    let fd = crate::sys::handle::duplicate(raw.fd(last)).ok_or("it is closed".to_owned())?;
    // Those of good buffers, behind this one's.
    let good = (0..4).map(|_| import(mapper, &cros(suite)?)).collect::<Result<Vec<_>, _>>()?;
    let id = |buffer: &Buffer<'_>| ok(mapper.get(buffer.handle, kind::BUFFER_ID), "get");
    let ids = std::iter::once(&buffer).chain(&good).map(id).collect::<Result<Vec<_>, _>>()?;
    for value in [0x00, 0x01, 0x7f, 0xff] {
        let noise = vec![value; bytes.len()];
        rustix::io::pwrite(&fd, &noise, 0).map_err(|errno| errno.to_string())?;
        for number in 1..=24 {
            let _ = mapper.get(buffer.handle, number);
        }
        same!(buffer.value::<u64>(3)?, 64, "WIDTH");
        same!(mapper.reserved(buffer.handle).map(|region| region.len()), Ok(0), "the reserved region");
        let dumps = ok(mapper.dump_all(), "dumpAllBuffers")?;
        let dumped = |id: &Vec<u8>, number: i64| {
            let of_buffer = |dump: &&Vec<Dumped>| dump.iter().any(|value| value.kind == kind::BUFFER_ID && value.stream == *id);
            dumps.iter().filter(of_buffer).flatten().any(|value| value.kind == number)
        };
        check!(ids.iter().all(|id| dumped(id, kind::STRIDE)), "a dump of all lacks a buffer where metadata is {value:#x}");
        check!(ids.iter().skip(1).all(|id| dumped(id, kind::DATASPACE)), "a dump of all lacks what is good");
        let another = mapper.import(&raw).map(drop);
        same!(another, Err(BAD_BUFFER), "importBuffer of {value:#x}");
    }
    let set = buffer.set(kind::DATASPACE, &5i32.to_le_bytes());
    check!(matches!(set, Ok(()) | Err(crate::case::NO_RESOURCES)), "set gives {set:?}");
    Ok(())
}

fn keeps_nothing(suite: &Suite, mapper: &Mapper) -> Checked {
    let mut raw = cros(suite)?;
    raw.set(field::STRIDES, 4);
    refused(mapper, &raw, "a short stride")?;
    let (fds, pages) = crate::case::held()?;
    for _ in 0..10_000 {
        refused(mapper, &raw, "a short stride")?;
    }
    let (fds_after, pages_after) = crate::case::held()?;
    same!(fds_after, fds, "descriptors");
    check!(pages_after < pages + 256, "{pages} pages before, {pages_after} after");
    Ok(())
}
