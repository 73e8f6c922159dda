//! Loading, importing and freeing.

use crate::case::{BAD_BUFFER, Case, Checked, allocate, check, import, of_mapper, ok, plain, same};
use crate::library::{Mapper, Suite};
use crate::sys::handle::Raw;
use std::ptr::null;

pub const CASES: &[Case] = &[
    of_mapper("the version is 5 or later, in the table and in what is exported", version),
    of_mapper("no function is null", functions),
    of_mapper("two loads are identical", two_loads),
    of_mapper("a buffer is allocated with a stride of its width at least", allocates),
    of_mapper("two imports of a buffer differ", two_imports),
    of_mapper("a buffer is freed through another load", frees_through_another),
    of_mapper("what was imported is imported again as if it were raw", imports_imported),
    of_mapper("a clone of what was imported is imported", imports_clone),
    of_mapper("an import outlives the handle that it came from", outlives),
    of_mapper("importing null or an empty handle is refused", import_negative),
    of_mapper("freeing null, an empty or a raw handle is refused", free_negative),
    of_mapper("freeing twice is refused", frees_twice),
    of_mapper("the transport size is the raw handle's", transport_size),
];

fn version(_: &Suite, mapper: &Mapper) -> Checked {
    check!(mapper.version() >= 5, "version {}", mapper.version());
    for (name, version) in mapper.exported_versions() {
        same!(version, Some(5), "{name}");
    }
    Ok(())
}

fn functions(_: &Suite, mapper: &Mapper) -> Checked {
    let missing = mapper.functions().iter().position(|address| *address == 0);
    same!(missing, None, "the first that is null");
    Ok(())
}

fn two_loads(_: &Suite, mapper: &Mapper) -> Checked {
    same!(mapper.functions_again()?, mapper.functions(), "the functions of another load");
    Ok(())
}

fn allocates(suite: &Suite, _: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    check!(buffer.stride >= 64, "a stride of {}", buffer.stride);
    Ok(())
}

fn two_imports(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let (one, other) = (import(mapper, &buffer.raw)?, import(mapper, &buffer.raw)?);
    check!(one.handle != other.handle && !one.handle.is_null(), "both are {:?}", one.handle);
    Ok(())
}

fn frees_through_another(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let handle = import(mapper, &buffer.raw)?.into_handle();
    same!(mapper.free_again(handle), Ok(()), "freeBuffer of the other load");
    same!(mapper.free_pointer(handle), Err(BAD_BUFFER), "freeBuffer again");
    Ok(())
}

fn imports_imported(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let first = import(mapper, &buffer.raw)?;
    let second = ok(mapper.import_pointer(first.handle), "importBuffer of an imported handle")?;
    check!(second != first.handle, "the same handle comes back");
    drop(first);
    same!(mapper.transport_size(second).is_ok(), true, "the second lives without the first");
    same!(mapper.free_pointer(second), Ok(()), "freeBuffer of the second");
    Ok(())
}

fn imports_clone(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let first = import(mapper, &buffer.raw)?;
    let clone = Raw::clone_of(first.handle).ok_or("it can't be cloned".to_owned())?;
    drop((buffer, first));
    import(mapper, &clone).map(drop)
}

fn outlives(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    drop(buffer);
    let bytes = crate::case::lock(&imported, crate::case::CPU, 64 * 64 * 4)?;
    bytes.fill(3);
    same!(bytes.differs(3), None, "the first byte that is not as written");
    crate::case::unlock(&imported)
}

fn import_negative(_: &Suite, mapper: &Mapper) -> Checked {
    same!(mapper.import_pointer(null()), Err(BAD_BUFFER), "importBuffer of null");
    same!(mapper.import_pointer(Raw::empty().pointer()), Err(BAD_BUFFER), "importBuffer of an empty handle");
    Ok(())
}

fn free_negative(suite: &Suite, mapper: &Mapper) -> Checked {
    same!(mapper.free_pointer(null()), Err(BAD_BUFFER), "freeBuffer of null");
    same!(mapper.free_pointer(Raw::empty().pointer()), Err(BAD_BUFFER), "freeBuffer of an empty handle");
    let buffer = allocate(suite, &plain())?;
    same!(mapper.free_pointer(buffer.raw.pointer()), Err(BAD_BUFFER), "freeBuffer of a raw handle");
    Ok(())
}

fn frees_twice(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let handle = import(mapper, &buffer.raw)?.into_handle();
    same!(mapper.free_pointer(handle), Ok(()), "freeBuffer");
    same!(mapper.free_pointer(handle), Err(BAD_BUFFER), "freeBuffer again");
    Ok(())
}

fn transport_size(suite: &Suite, mapper: &Mapper) -> Checked {
    let buffer = allocate(suite, &plain())?;
    let imported = import(mapper, &buffer.raw)?;
    let (fds, ints) = ok(mapper.transport_size(imported.handle), "getTransportSize")?;
    let raw = (buffer.raw.get(4), buffer.raw.get(8));
    same!((fds, ints), raw, "descriptors and integers");
    same!(mapper.transport_size(null()), Err(BAD_BUFFER), "getTransportSize of null");
    same!(mapper.transport_size(buffer.raw.pointer()), Err(BAD_BUFFER), "getTransportSize of a raw handle");
    Ok(())
}
