//! [`Mapper`]: a stable-C IMapper 5, with safe calls.

#![allow(unsafe_code)]

use super::stream::Value;
use crate::sys::handle::{Raw, take};
use crate::sys::memory::Bytes;
use libloading::{Library, Symbol};
use std::ffi::{CStr, CString, c_int, c_void};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::ptr::{NonNull, null, null_mut};
use virgbm_android_abi::BufferHandle;
use virgbm_android_abi::imapper::{AIMapper, AIMapperV5, Error, MetadataType, MetadataTypeDescription, Rect, STANDARD_METADATA};

/// `AIMapper_loadIMapper`.
type Load = unsafe extern "C" fn(*mut *mut AIMapper) -> i32;

/// What the library must export beside it.
const VERSIONS: [&str; 2] = ["ANDROID_HAL_STABLEC_VERSION", "ANDROID_HAL_MAPPER_VERSION"];

/// A mapper.
pub struct Mapper {
    table: &'static AIMapper,
    library: Library,
    path: PathBuf,
}

// SAFETY: the HAL says that its functions may be called from any thread; the table is read only.
unsafe impl Sync for Mapper {}

/// The number of an error.
pub const fn code(error: Error) -> i32 {
    error as i32
}

/// A number as a result.
fn result(number: i32) -> Result<(), i32> {
    if number == 0 { Ok(()) } else { Err(number) }
}

impl Mapper {
    /// Loads a library and its table.
    pub fn load(path: &Path) -> Result<Self, String> {
        // SAFETY: whoever names the library trusts what it does when it is loaded.
        let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
        let table = load_table(&library)?;
        // SAFETY: the HAL says that the table lives as long as the process, whose library is never closed before.
        let table = unsafe { table.as_ref() };
        Ok(Self { table, library, path: path.to_owned() })
    }

    fn v5(&self) -> &AIMapperV5 {
        &self.table.v5
    }

    /// Where it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The table's version.
    pub fn version(&self) -> u32 {
        self.table.version
    }

    /// The versions that the library exports, by name.
    pub fn exported_versions(&self) -> Vec<(&'static str, Option<u32>)> {
        let version = |name: &'static str| {
            // SAFETY: the HAL says that the symbol is a 32-bit number.
            let symbol: Option<Symbol<'_, *const u32>> = unsafe { self.library.get(name.as_bytes()) }.ok();
            // SAFETY: the same.
            (name, symbol.map(|symbol| unsafe { symbol.read() }))
        };
        VERSIONS.into_iter().map(version).collect()
    }

    /// The addresses of the 15 functions.
    pub fn functions(&self) -> [usize; 15] {
        addresses(NonNull::from(self.table))
    }

    /// The addresses of another load of the library.
    pub fn functions_again(&self) -> Result<[usize; 15], String> {
        Ok(addresses(load_table(&self.library)?))
    }

    /// Frees through a second load.
    pub fn free_again(&self, handle: BufferHandle) -> Result<(), i32> {
        let table = load_table(&self.library).map_err(|_| -1)?;
        // SAFETY: the library has just given it.
        let table = unsafe { table.as_ref() };
        // SAFETY: the mapper must look at a handle before it uses it.
        result(unsafe { (table.v5.free_buffer)(handle) })
    }

    /// Imports any pointer: the mapper must refuse what is not good.
    pub fn import_pointer(&self, handle: BufferHandle) -> Result<BufferHandle, i32> {
        let mut out = null();
        // SAFETY: the pointer is null, or leads to as many integers as the header there says.
        result(unsafe { (self.v5().import_buffer)(handle, &raw mut out) })?;
        Ok(out)
    }

    /// Imports a handle.
    pub fn import(&self, raw: &Raw) -> Result<Buffer<'_>, i32> {
        Ok(Buffer { mapper: self, handle: self.import_pointer(raw.pointer())? })
    }

    /// Frees any pointer.
    pub fn free_pointer(&self, handle: BufferHandle) -> Result<(), i32> {
        // SAFETY: the mapper must look at a handle before it uses it.
        result(unsafe { (self.v5().free_buffer)(handle) })
    }

    /// The counts of descriptors and integers.
    pub fn transport_size(&self, handle: BufferHandle) -> Result<(u32, u32), i32> {
        let (mut fds, mut ints) = (u32::MAX, u32::MAX);
        // SAFETY: the mapper must look at a handle before it uses it.
        result(unsafe { (self.v5().get_transport_size)(handle, &raw mut fds, &raw mut ints) })?;
        Ok((fds, ints))
    }

    /// Locks any pointer; the fence is the mapper's.
    pub fn lock_pointer(&self, handle: BufferHandle, usage: u64, region: Rect, fence: c_int) -> Result<*mut c_void, i32> {
        let mut address = null_mut();
        // SAFETY: the mapper must look at a handle before it uses it.
        result(unsafe { (self.v5().lock)(handle, usage, region, fence, &raw mut address) })?;
        Ok(address)
    }

    /// Unlocks any pointer, and takes the fence.
    pub fn unlock_pointer(&self, handle: BufferHandle) -> Result<Option<OwnedFd>, i32> {
        let mut fence = -1;
        // SAFETY: the mapper must look at a handle before it uses it.
        result(unsafe { (self.v5().unlock)(handle, &raw mut fence) })?;
        Ok(take(fence))
    }

    /// Flushes any pointer.
    pub fn flush(&self, handle: BufferHandle) -> Result<(), i32> {
        // SAFETY: the mapper must look at a handle before it uses it.
        result(unsafe { (self.v5().flush_locked_buffer)(handle) })
    }

    /// Rereads any pointer.
    pub fn reread(&self, handle: BufferHandle) -> Result<(), i32> {
        // SAFETY: the mapper must look at a handle before it uses it.
        result(unsafe { (self.v5().reread_locked_buffer)(handle) })
    }

    /// Gets a value into so much room, or into none; the number is its size, or negative.
    pub fn get_into(&self, handle: BufferHandle, kind: i64, room: Option<&mut [u8]>, claimed: usize) -> i32 {
        let to = room.map_or(null_mut(), |room| room.as_mut_ptr().cast());
        // SAFETY: callers claim no more room than there is, or more than any value needs.
        unsafe { (self.v5().get_standard_metadata)(handle, kind, to, claimed) }
    }

    /// The stream of a value.
    pub fn get(&self, handle: BufferHandle, kind: i64) -> Result<Vec<u8>, i32> {
        let mut stream = vec![0; 512];
        loop {
            let room = stream.len();
            let size = self.get_into(handle, kind, Some(&mut stream), room);
            let needed = usize::try_from(size).map_err(|_| -size)?;
            if needed <= room {
                stream.truncate(needed);
                return Ok(stream);
            }
            stream.resize(needed, 0);
        }
    }

    /// The stream of a value by a name and a number.
    pub fn get_named(&self, handle: BufferHandle, name: &CStr, value: i64) -> Result<Vec<u8>, i32> {
        let mut stream = vec![0; 1024];
        let kind = MetadataType { name: name.as_ptr(), value };
        // SAFETY: the name is a string, and the room is there.
        let size = unsafe { (self.v5().get_metadata)(handle, kind, stream.as_mut_ptr().cast(), stream.len()) };
        stream.truncate(usize::try_from(size).map_err(|_| -size)?);
        Ok(stream)
    }

    /// Sets a value from a stream.
    pub fn set(&self, handle: BufferHandle, kind: i64, stream: &[u8]) -> Result<(), i32> {
        // SAFETY: the bytes are there.
        result(unsafe { (self.v5().set_standard_metadata)(handle, kind, stream.as_ptr().cast(), stream.len()) })
    }

    /// Sets a value by a name and a number.
    pub fn set_named(&self, handle: BufferHandle, name: &CStr, value: i64, stream: &[u8]) -> Result<(), i32> {
        let kind = MetadataType { name: name.as_ptr(), value };
        // SAFETY: the name is a string, and the bytes are there.
        result(unsafe { (self.v5().set_metadata)(handle, kind, stream.as_ptr().cast(), stream.len()) })
    }

    /// The supported types: name, number, whether they can be got, and whether they can be set.
    pub fn types(&self) -> Result<Vec<(CString, i64, bool, bool)>, i32> {
        let (mut list, mut count): (*const MetadataTypeDescription, _) = (null(), 0);
        // SAFETY: both are there to be written.
        result(unsafe { (self.v5().list_supported_metadata_types)(&raw mut list, &raw mut count) })?;
        if list.is_null() || count == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: the HAL says that so many are there, as long as the process.
        let types = unsafe { std::slice::from_raw_parts(list, count) };
        let name = |kind: &MetadataTypeDescription| match kind.metadata_type.name.is_null() {
            true => CString::default(),
            // SAFETY: it is not null, and the HAL says that it is a string.
            false => unsafe { CStr::from_ptr(kind.metadata_type.name) }.to_owned(),
        };
        Ok(types.iter().map(|kind| (name(kind), kind.metadata_type.value, kind.is_gettable, kind.is_settable)).collect())
    }

    /// Dumps any pointer.
    pub fn dump(&self, handle: BufferHandle) -> Result<Vec<Dumped>, i32> {
        let mut dumps: Vec<Vec<Dumped>> = vec![Vec::new()];
        // SAFETY: the callback takes the context that goes with it.
        result(unsafe { (self.v5().dump_buffer)(handle, Some(dumped), (&raw mut dumps).cast()) })?;
        Ok(dumps.pop().unwrap_or_default())
    }

    /// Dumps every buffer of the process, one list each.
    pub fn dump_all(&self) -> Result<Vec<Vec<Dumped>>, i32> {
        let mut dumps: Vec<Vec<Dumped>> = Vec::new();
        // SAFETY: the callbacks take the context that goes with them.
        result(unsafe { (self.v5().dump_all_buffers)(Some(begin), Some(dumped), (&raw mut dumps).cast()) })?;
        Ok(dumps)
    }

    /// The reserved region.
    pub fn reserved(&self, handle: BufferHandle) -> Result<Bytes, i32> {
        let (mut address, mut size) = (null_mut(), u64::MAX);
        // SAFETY: both are there to be written.
        result(unsafe { (self.v5().get_reserved_region)(handle, &raw mut address, &raw mut size) })?;
        Ok(Bytes::new(address, size as usize))
    }
}

fn load_table(library: &Library) -> Result<NonNull<AIMapper>, String> {
    // SAFETY: the HAL says that the symbol is this function.
    let load: Symbol<'_, Load> = unsafe { library.get(b"AIMapper_loadIMapper") }.map_err(|error| error.to_string())?;
    let mut table = null_mut();
    // SAFETY: the table goes into a pointer that lives.
    let number = unsafe { load(&raw mut table) };
    NonNull::new(table).filter(|_| number == 0).ok_or_else(|| format!("AIMapper_loadIMapper gives {number} and {table:?}"))
}

/// As numbers, since a function that is not there would be no valid one.
fn addresses(table: NonNull<AIMapper>) -> [usize; 15] {
    let first = table.cast::<u8>().as_ptr().wrapping_add(std::mem::offset_of!(AIMapper, v5)).cast();
    // SAFETY: 15 functions are there, as the HAL says of version 5.
    unsafe { *first }
}

/// A value of a dump.
#[derive(Debug)]
pub struct Dumped {
    /// The name of its type.
    pub name: CString,
    /// The number.
    pub kind: i64,
    /// The stream.
    pub stream: Vec<u8>,
}

unsafe extern "C" fn begin(context: *mut c_void) {
    // SAFETY: the context is a list of dumps that lives during the call.
    let dumps = unsafe { &mut *context.cast::<Vec<Vec<Dumped>>>() };
    dumps.push(Vec::new());
}

unsafe extern "C" fn dumped(context: *mut c_void, kind: MetadataType, value: *const c_void, size: usize) {
    // SAFETY: the context is a list of dumps that lives during the call.
    let dumps = unsafe { &mut *context.cast::<Vec<Vec<Dumped>>>() };
    // SAFETY: the HAL says that the name is a string.
    let name = unsafe { CStr::from_ptr(kind.name) }.to_owned();
    // SAFETY: the HAL says that so many bytes are there.
    let stream = if size == 0 { Vec::new() } else { unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) }.to_vec() };
    if let Some(dump) = dumps.last_mut() {
        dump.push(Dumped { name, kind: kind.value, stream });
    }
}

/// An imported buffer, freed when it is dropped.
pub struct Buffer<'a> {
    mapper: &'a Mapper,
    /// The handle that the mapper gave.
    pub handle: BufferHandle,
}

// SAFETY: the HAL says that a handle may be used from any thread.
unsafe impl Sync for Buffer<'_> {}

impl Buffer<'_> {
    /// Locks it.
    pub fn lock(&self, usage: u64, region: Rect) -> Result<*mut c_void, i32> {
        self.mapper.lock_pointer(self.handle, usage, region, -1)
    }

    /// Unlocks it, and gives the release fence.
    pub fn unlock(&self) -> Result<Option<OwnedFd>, i32> {
        self.mapper.unlock_pointer(self.handle)
    }

    /// A value.
    pub fn value<T: Value>(&self, kind: i64) -> Result<T, String> {
        let stream = self.mapper.get(self.handle, kind).map_err(|error| format!("get of type {kind} gives {error}"))?;
        super::stream::decode(&stream, kind).ok_or_else(|| format!("the stream of type {kind} does not hold: {stream:?}"))
    }

    /// Sets a value.
    pub fn set(&self, kind: i64, payload: &[u8]) -> Result<(), i32> {
        self.mapper.set(self.handle, kind, &super::stream::encode(kind, payload))
    }

    /// Gives the handle away, so that it is not freed.
    pub fn into_handle(self) -> BufferHandle {
        let handle = self.handle;
        std::mem::forget(self);
        handle
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let freed = self.mapper.free_pointer(self.handle);
        assert_eq!(freed, Ok(()), "a buffer that was imported is freed");
    }
}

/// The name of the standard's types.
pub const STANDARD: &CStr = STANDARD_METADATA;
