//! Dumps.

use crate::case::{BAD_BUFFER, Case, Checked, allocate, check, import, of_mapper, ok, plain, same};
use crate::library::stream::kind;
use crate::library::{Mapper, Suite};
use std::ptr::null;

pub const CASES: &[Case] = &[
    of_mapper("a dump has every type that can be got, as a get gives it", one),
    of_mapper("a dump of null, a raw or a freed handle is refused", bad),
    of_mapper("a dump of all has every buffer once", all),
];

fn one(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = import(mapper, &allocate(suite, &plain())?.raw)?;
    let dump = ok(mapper.dump(buffer.handle), "dumpBuffer")?;
    for (name, number, gettable, _) in ok(mapper.types(), "listSupportedMetadataTypes")? {
        let dumped: Vec<_> = dump.iter().filter(|value| value.name == name && value.kind == number).collect();
        same!(dumped.len(), usize::from(gettable), "how often {name:?} {number} is dumped");
        let got = ok(mapper.get_named(buffer.handle, &name, number), "get")?;
        check!(dumped.iter().all(|value| value.stream == got), "{name:?} {number} is dumped otherwise than got");
    }
    Ok(())
}

fn bad(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &plain())?;
    let freed = import(mapper, &allocated.raw)?.into_handle();
    ok(mapper.free_pointer(freed), "freeBuffer")?;
    for handle in [null(), allocated.raw.pointer(), freed] {
        same!(mapper.dump(handle).map(drop), Err(BAD_BUFFER), "dumpBuffer");
    }
    Ok(())
}

fn all(suite: &Suite, mapper: &Mapper) -> Checked {
    let before = ok(mapper.dump_all(), "dumpAllBuffers")?.len();
    let allocated: Vec<_> = (0..5).map(|_| allocate(suite, &plain())).collect::<Result<_, _>>()?;
    let buffers: Vec<_> = allocated.iter().map(|buffer| import(mapper, &buffer.raw)).collect::<Result<_, _>>()?;
    let dumps = ok(mapper.dump_all(), "dumpAllBuffers")?;
    same!(dumps.len(), before + 5, "buffers that are dumped");
    for buffer in &buffers {
        let id = ok(mapper.get(buffer.handle, kind::BUFFER_ID), "get")?;
        let with_id = dumps.iter().filter(|dump| dump.iter().any(|value| value.kind == kind::BUFFER_ID && value.stream == id));
        same!(with_id.count(), 1, "dumps of a buffer");
    }
    drop(buffers);
    same!(ok(mapper.dump_all(), "dumpAllBuffers")?.len(), before, "buffers that are dumped once they are freed");
    Ok(())
}
