//! The region of shared memory that a client reserves.

use crate::case::{BAD_BUFFER, Case, Checked, allocate, check, import, needs_descriptors, of_mapper, ok, plain, same};
use crate::library::{Mapper, Suite};
use std::ptr::null;
use virgbm_android_handle::Descriptor;

pub const CASES: &[Case] = &[
    of_mapper("1, 10, 333 bytes, half a page, a page and 5 MiB are reserved exactly", lengths),
    of_mapper("every import has the region at an address of its own, with the same bytes", shared),
    of_mapper("regions of several buffers are apart", several),
    of_mapper("nothing is reserved unless it was asked for", none),
    of_mapper("the region of a bad buffer is refused", bad),
];

fn lengths(suite: &Suite, mapper: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    for bytes in [1usize, 10, 333, 2048, 4096, 5 << 20] {
        let allocated = allocate(suite, &Descriptor { reserved_bytes: bytes as i64, ..plain() })?;
        let buffer = import(mapper, &allocated.raw)?;
        let region = ok(mapper.reserved(buffer.handle), "getReservedRegion")?;
        same!(region.len(), bytes, "the length");
        check!(region.address() != 0 && region.address().is_multiple_of(8), "the address is {:#x}", region.address());
        same!((0..bytes).find(|at| region.get(*at) != Some(0)), None, "the first byte that is not zero");
        region.fill(bytes);
        same!(region.differs(bytes), None, "the first byte that is not as written");
    }
    Ok(())
}

fn shared(suite: &Suite, mapper: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    let allocated = allocate(suite, &Descriptor { reserved_bytes: 5000, ..plain() })?;
    let (one, other) = (import(mapper, &allocated.raw)?, import(mapper, &allocated.raw)?);
    let (first, second) = (ok(mapper.reserved(one.handle), "the first")?, ok(mapper.reserved(other.handle), "the second")?);
    first.fill(2);
    same!(second.differs(2), None, "the first byte that the other sees wrong");
    drop(one);
    same!(second.differs(2), None, "the first byte that is wrong once the first is freed");
    Ok(())
}

fn several(suite: &Suite, mapper: &Mapper) -> Checked {
    needs_descriptors(suite)?;
    let mut buffers = Vec::new();
    for number in 0..16usize {
        let allocated = allocate(suite, &Descriptor { reserved_bytes: 1024 + number as i64, ..plain() })?;
        let buffer = import(mapper, &allocated.raw)?;
        ok(mapper.reserved(buffer.handle), "getReservedRegion")?.fill(number);
        buffers.push((number, buffer));
    }
    for (number, buffer) in &buffers {
        same!(ok(mapper.reserved(buffer.handle), "getReservedRegion")?.differs(*number), None, "the first byte that is wrong");
    }
    Ok(())
}

fn none(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = import(mapper, &allocate(suite, &plain())?.raw)?;
    let region = ok(mapper.reserved(buffer.handle), "getReservedRegion")?;
    same!(region.len(), 0, "the length");
    Ok(())
}

fn bad(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &plain())?;
    for handle in [null(), allocated.raw.pointer()] {
        same!(mapper.reserved(handle).map(drop), Err(BAD_BUFFER), "getReservedRegion");
    }
    Ok(())
}
