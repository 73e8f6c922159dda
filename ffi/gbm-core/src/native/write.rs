//! `gbm_bo_write`: bytes into a buffer from its start, as they lie in the buffer.

use super::bo::BoState;
use crate::door::{Given, slice};
use crate::{Failure, door};
use std::ffi::{c_int, c_void};
use virgbm::guest::{Access, Mapping};

door! {
    /// Writes `count` bytes; the padding of rows is skipped. -1 when they do not fit or the CPU can't reach the buffer.
    pub fn bo_write(bo: Given<BoState>, buf: *const c_void, count: usize) -> c_int, or -1, {
        let layout = bo.layout;
        if count as u64 > layout.size_bytes {
            return Err(Failure::TooLong { count, size_bytes: layout.size_bytes });
        }
        if buf.is_null() && count > 0 {
            return Err(Failure::Null("buf"));
        }
        // SAFETY: it is not null where `count` is not 0, and gbm.h says that `count` bytes are there.
        let data = unsafe { slice(buf.cast::<u8>(), count) };
        // What is not written must stay, also where the host has a copy.
        let whole = count as u64 == layout.size_bytes;
        let access = if whole { Access::WRITE } else { Access::READ | Access::WRITE };
        let mapping = bo.map(layout.whole(), access)?;
        write(&mapping, data)?;
        mapping.finish()?;
        Ok(0)
    }
}

fn write(mapping: &Mapping, data: &[u8]) -> Result<(), Failure> {
    for plane in 0..mapping.layout().planes.len() {
        let Some(rows) = mapping.plane(plane) else { continue };
        for row in 0..rows.rows {
            let start = rows.offset_bytes + row * rows.stride_bytes;
            let end = (start + rows.row_bytes).min(data.len() as u64);
            let Some(bytes) = data.get(start as usize..end as usize) else { break };
            mapping.write_row(plane, row, bytes)?;
        }
    }
    Ok(())
}
