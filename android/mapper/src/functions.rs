//! The functions of the table, and what the library exports. Each is a door: pointers that must not be null are looked at, a panic
//! stops, and handles are only looked into where they were imported here.

#![allow(unsafe_code)]

use crate::failure::Failure;
use crate::metadata::{self, Setting, Standard};
use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use virgbm_android_abi::BufferHandle;
use virgbm_android_abi::imapper::{
    AIMapper, AIMapperV5, BeginDumpBufferCallback, DumpBufferCallback, MetadataType, MetadataTypeDescription, Rect,
    STANDARD_METADATA, VERSION_5,
};
use virgbm_android_handle::door;
use virgbm_android_handle::registry::{Registry, Released};
use virgbm_android_handle::sys::native_handle;
use virgbm_android_handle::{Imported, LockError};

/// The buffers of this process. The ABI hands out no object that could carry them, and two loads share them.
static BUFFERS: Registry = Registry::new();

/// What a list of metadata types points to.
struct Descriptions([MetadataTypeDescription; Standard::ALL.len()]);

// SAFETY: the pointers in it are to constants.
unsafe impl Sync for Descriptions {}

static DESCRIPTIONS: Descriptions = Descriptions(descriptions());

const fn descriptions() -> [MetadataTypeDescription; Standard::ALL.len()] {
    let metadata_type = MetadataType { name: STANDARD_METADATA.as_ptr(), value: 0 };
    let (is_gettable, description, reserved) = (true, std::ptr::null(), [0; 32]);
    let one = MetadataTypeDescription { metadata_type, description, is_gettable, is_settable: false, reserved };
    let mut all = [one; Standard::ALL.len()];
    let (mut rest, mut kinds): (&mut [MetadataTypeDescription], _) = (&mut all, Standard::ALL);
    while let ([first, others @ ..], [kind, following @ ..]) = (rest, kinds) {
        first.metadata_type.value = *kind as i64;
        first.is_settable = matches!(kind.setting(), Setting::Anybody(_));
        (rest, kinds) = (others, following);
    }
    all
}

static MAPPER: AIMapper = AIMapper {
    version: VERSION_5,
    v5: AIMapperV5 {
        import_buffer,
        free_buffer,
        get_transport_size,
        lock,
        unlock,
        flush_locked_buffer,
        reread_locked_buffer,
        get_metadata,
        get_standard_metadata,
        set_metadata,
        set_standard_metadata,
        list_supported_metadata_types,
        dump_buffer,
        dump_all_buffers,
        get_reserved_region,
    },
};

/// The version of stable C HALs that Android looks for before it loads anything.
#[unsafe(no_mangle)]
pub static ANDROID_HAL_STABLEC_VERSION: u32 = VERSION_5;

/// The same under its older name.
#[unsafe(no_mangle)]
pub static ANDROID_HAL_MAPPER_VERSION: u32 = VERSION_5;

/// Gives the table of functions, which is the same each time.
///
/// # Safety
/// The pointer is null, or may be written to.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub unsafe extern "C" fn AIMapper_loadIMapper(implementation: *mut *mut AIMapper) -> i32 {
    enter("loadIMapper", || {
        // SAFETY: it is this function's promise.
        unsafe { put(implementation, (&raw const MAPPER).cast_mut(), "implementation") }
    })
}

fn enter(name: &str, body: impl FnOnce() -> Result<(), Failure>) -> i32 {
    door::enter(name, body)
}

/// Writes an answer.
///
/// # Safety
/// The pointer is null, or may be written to.
unsafe fn put<T>(to: *mut T, value: T, name: &'static str) -> Result<(), Failure> {
    let to = NonNull::new(to).ok_or(Failure::Null(name))?;
    // SAFETY: it is not null, and the caller promises that it may be written to.
    unsafe { to.write(value) };
    Ok(())
}

fn buffer(handle: BufferHandle) -> Result<Arc<Imported>, Failure> {
    BUFFERS.get(handle.addr()).ok_or(Failure::NotImported(handle.addr()))
}

unsafe extern "C" fn import_buffer(handle: BufferHandle, out: *mut BufferHandle) -> i32 {
    enter("importBuffer", || {
        let out = NonNull::new(out).ok_or(Failure::Null("outBufferHandle"))?;
        // SAFETY: the header says that the handle is one, or null.
        let numbers = unsafe { native_handle::read(handle) };
        let (imported, own) = BUFFERS.import(numbers)?;
        let native = own.into_native()?;
        BUFFERS.insert(native.as_ptr().addr(), imported);
        // SAFETY: it is not null, and the header says that the handle goes there.
        unsafe { out.write(native.as_ptr()) };
        Ok(())
    })
}

unsafe extern "C" fn free_buffer(handle: BufferHandle) -> i32 {
    enter("freeBuffer", || {
        let (Released::Gone(imported), Some(native)) = (BUFFERS.release(handle.addr()), NonNull::new(handle.cast_mut())) else {
            return Err(Failure::NotImported(handle.addr()));
        };
        let fds = imported.description().layout.planes.len() + 1;
        // SAFETY: `import_buffer` made it with so many descriptors, and it was there until now.
        unsafe { native_handle::destroy(native, fds) };
        Ok(())
    })
}

unsafe extern "C" fn get_transport_size(handle: BufferHandle, num_fds: *mut u32, num_ints: *mut u32) -> i32 {
    enter("getTransportSize", || {
        let fds = buffer(handle)?.description().layout.planes.len() + 1;
        // SAFETY: the header says that the numbers go there.
        unsafe { put(num_fds, fds as u32, "outNumFds") }?;
        // SAFETY: the same.
        unsafe { put(num_ints, (native_handle::DATA_INTS - fds) as u32, "outNumInts") }
    })
}

unsafe extern "C" fn lock(handle: BufferHandle, usage: u64, region: Rect, fence: c_int, out: *mut *mut c_void) -> i32 {
    enter("lock", || {
        // SAFETY: the header says that the fence is this function's from here on, whatever it does.
        let acquire_fence = unsafe { native_handle::take(fence) };
        if fence >= 0 && acquire_fence.is_none() {
            return Err(LockError::Fence.into());
        }
        let buffer = buffer(handle)?;
        let out = NonNull::new(out).ok_or(Failure::Null("outData"))?;
        let address = buffer.lock(usage, region, acquire_fence)?;
        // SAFETY: it is not null, and the header says that the address goes there.
        unsafe { out.write(address.cast()) };
        Ok(())
    })
}

unsafe extern "C" fn unlock(handle: BufferHandle, release_fence: *mut c_int) -> i32 {
    enter("unlock", || {
        let buffer = buffer(handle)?;
        let out = NonNull::new(release_fence).ok_or(Failure::Null("releaseFence"))?;
        let fence = buffer.unlock()?.map_or(-1, std::os::fd::IntoRawFd::into_raw_fd);
        // SAFETY: it is not null, and the header says that the fence goes there.
        unsafe { out.write(fence) };
        Ok(())
    })
}

unsafe extern "C" fn flush_locked_buffer(handle: BufferHandle) -> i32 {
    enter("flushLockedBuffer", || Ok(buffer(handle)?.flush()?))
}

unsafe extern "C" fn reread_locked_buffer(handle: BufferHandle) -> i32 {
    enter("rereadLockedBuffer", || Ok(buffer(handle)?.reread()?))
}

/// The standard's type that a pair of a name and a number is.
///
/// # Safety
/// The name is null, or a string that ends with a zero.
unsafe fn standard(kind: MetadataType) -> Result<i64, Failure> {
    if kind.name.is_null() {
        return Err(Failure::Null("the name of the metadata type"));
    }
    // SAFETY: it is not null, and the caller promises a string.
    let name = unsafe { CStr::from_ptr(kind.name) };
    if name == STANDARD_METADATA {
        return Ok(kind.value);
    }
    Err(Failure::MetadataType { name: name.to_string_lossy().into_owned(), value: kind.value })
}

/// Failures of a get are negative: positive numbers are sizes.
fn get(name: &str, body: impl FnOnce() -> Result<i32, Failure>) -> i32 {
    let mut got = None;
    let failed = enter(name, || {
        got = Some(body()?);
        Ok(())
    });
    got.unwrap_or(-failed)
}

/// # Safety
/// The destination is null, or has room for so many bytes.
unsafe fn get_into(handle: BufferHandle, kind: i64, to: *mut c_void, size: usize) -> Result<i32, Failure> {
    let value = metadata::get(&*buffer(handle)?, Standard::of(kind)?)?;
    if !to.is_null() && value.len() <= size {
        // SAFETY: the caller promises room for `size` bytes, and the value is no longer.
        unsafe { to.cast::<u8>().copy_from_nonoverlapping(value.as_ptr(), value.len()) };
    }
    Ok(value.len() as i32)
}

unsafe extern "C" fn get_metadata(handle: BufferHandle, kind: MetadataType, to: *mut c_void, size: usize) -> i32 {
    get("getMetadata", || {
        // SAFETY: the header says that the name is a string.
        let number = unsafe { standard(kind) }?;
        // SAFETY: the header says that there is room.
        unsafe { get_into(handle, number, to, size) }
    })
}

unsafe extern "C" fn get_standard_metadata(handle: BufferHandle, kind: i64, to: *mut c_void, size: usize) -> i32 {
    get("getStandardMetadata", || {
        // SAFETY: the header says that there is room.
        unsafe { get_into(handle, kind, to, size) }
    })
}

/// # Safety
/// The source is null, or has so many bytes.
unsafe fn set_from(handle: BufferHandle, kind: i64, from: *const c_void, size: usize) -> Result<(), Failure> {
    let buffer = buffer(handle)?;
    let stream = match (from.is_null(), size) {
        (_, 0) => &[][..],
        (true, _) => return Err(Failure::Null("metadata")),
        // SAFETY: it is not null, and the caller promises so many bytes.
        (false, size) => unsafe { std::slice::from_raw_parts(from.cast::<u8>(), size) },
    };
    metadata::set(&buffer, Standard::of(kind)?, stream)
}

unsafe extern "C" fn set_metadata(handle: BufferHandle, kind: MetadataType, from: *const c_void, size: usize) -> i32 {
    enter("setMetadata", || {
        // SAFETY: the header says that the name is a string.
        let number = unsafe { standard(kind) }?;
        // SAFETY: the header says that the bytes are there.
        unsafe { set_from(handle, number, from, size) }
    })
}

unsafe extern "C" fn set_standard_metadata(handle: BufferHandle, kind: i64, from: *const c_void, size: usize) -> i32 {
    enter("setStandardMetadata", || {
        // SAFETY: the header says that the bytes are there.
        unsafe { set_from(handle, kind, from, size) }
    })
}

unsafe extern "C" fn list_supported_metadata_types(list: *mut *const MetadataTypeDescription, count: *mut usize) -> i32 {
    enter("listSupportedMetadataTypes", || {
        // SAFETY: the header says that the list goes there.
        unsafe { put(list, DESCRIPTIONS.0.as_ptr(), "outDescriptionList") }?;
        // SAFETY: the header says that its length goes there.
        unsafe { put(count, DESCRIPTIONS.0.len(), "outNumberOfDescriptions") }
    })
}

fn dump(buffer: &Imported, callback: DumpBufferCallback, context: *mut c_void) {
    for kind in Standard::ALL {
        let value = match metadata::get(buffer, *kind) {
            Ok(value) => value,
            // One that somebody writes all the time must not hide the others.
            Err(failure) => {
                log::warn!("{} is not dumped: {failure}", kind.name());
                continue;
            }
        };
        let metadata_type = MetadataType { name: STANDARD_METADATA.as_ptr(), value: *kind as i64 };
        // SAFETY: the header says that the callback takes a value that lives during the call.
        unsafe { callback(context, metadata_type, value.as_ptr().cast(), value.len()) };
    }
}

unsafe extern "C" fn dump_buffer(handle: BufferHandle, callback: Option<DumpBufferCallback>, context: *mut c_void) -> i32 {
    enter("dumpBuffer", || {
        let buffer = buffer(handle)?;
        dump(&buffer, callback.ok_or(Failure::Null("dumpBufferCallback"))?, context);
        Ok(())
    })
}

unsafe extern "C" fn dump_all_buffers(
    begin: Option<BeginDumpBufferCallback>,
    callback: Option<DumpBufferCallback>,
    context: *mut c_void,
) -> i32 {
    enter("dumpAllBuffers", || {
        let begin = begin.ok_or(Failure::Null("beginDumpCallback"))?;
        let callback = callback.ok_or(Failure::Null("dumpBufferCallback"))?;
        for buffer in BUFFERS.buffers() {
            // SAFETY: the header says that the callback takes the context alone.
            unsafe { begin(context) };
            dump(&buffer, callback, context);
        }
        Ok(())
    })
}

unsafe extern "C" fn get_reserved_region(handle: BufferHandle, region: *mut *mut c_void, size: *mut u64) -> i32 {
    enter("getReservedRegion", || {
        let buffer = buffer(handle)?;
        let (address, bytes) = buffer.metadata().reserved().unwrap_or((std::ptr::null_mut(), 0));
        // SAFETY: the header says that the address goes there.
        unsafe { put(region, address.cast(), "outReservedRegion") }?;
        // SAFETY: the header says that the size goes there.
        unsafe { put(size, bytes, "outReservedSize") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::{null, null_mut};

    unsafe extern "C" fn begin(_: *mut c_void) {}

    unsafe extern "C" fn dumped(_: *mut c_void, _: MetadataType, _: *const c_void, _: usize) {}

    #[test]
    fn no_device_is_opened_before_a_good_import() {
        let mut table = null_mut();
        // SAFETY: the table goes into a pointer that lives.
        assert_eq!(unsafe { AIMapper_loadIMapper(&raw mut table) }, 0);
        let (mut list, mut count) = (null(), 0);
        // SAFETY: the list and its length go into what lives.
        assert_eq!(unsafe { (MAPPER.v5.list_supported_metadata_types)(&raw mut list, &raw mut count) }, 0);
        // SAFETY: the callbacks take any context.
        assert_eq!(unsafe { (MAPPER.v5.dump_all_buffers)(Some(begin), Some(dumped), null_mut()) }, 0);
        // A header of two descriptors, which are open, and zeros.
        let mut bad = [0; 39];
        bad[..3].copy_from_slice(&[12, 2, 34]);
        for handle in [null(), bad.as_ptr().cast()] {
            let mut out = null();
            // SAFETY: the pointer is null, or leads to as many integers as its header says.
            assert_eq!(unsafe { (MAPPER.v5.import_buffer)(handle, &raw mut out) }, 2);
        }
        assert!(!BUFFERS.is_open());
    }
}
