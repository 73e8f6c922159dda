//! The structures of `IMapper.h`, version 5.

use crate::BufferHandle;
use std::ffi::{c_char, c_int, c_void};

/// `AIMAPPER_VERSION_5`.
pub const VERSION_5: u32 = 5;

/// `AIMapper_Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Error {
    BadDescriptor = 1,
    BadBuffer = 2,
    BadValue = 3,
    NoResources = 5,
    Unsupported = 7,
}

/// The name of the standard's metadata types.
pub const STANDARD_METADATA: &std::ffi::CStr = c"android.hardware.graphics.common.StandardMetadataType";

/// `AIMapper_MetadataType`, which is passed by value.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)]
pub struct MetadataType {
    pub name: *const c_char,
    pub value: i64,
}

/// `AIMapper_MetadataTypeDescription`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)]
pub struct MetadataTypeDescription {
    pub metadata_type: MetadataType,
    pub description: *const c_char,
    pub is_gettable: bool,
    pub is_settable: bool,
    pub reserved: [u8; 32],
}

/// `AIMapper_DumpBufferCallback`.
pub type DumpBufferCallback = unsafe extern "C" fn(context: *mut c_void, kind: MetadataType, value: *const c_void, size: usize);

/// `AIMapper_BeginDumpBufferCallback`.
pub type BeginDumpBufferCallback = unsafe extern "C" fn(context: *mut c_void);

/// `ARect`: the edges of a region, in pixels. All zeros are the whole buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Rect {
    pub left: i32,
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
}

/// `AIMapperV5`.
#[derive(Clone, Copy)]
#[repr(C)]
#[allow(missing_docs)]
pub struct AIMapperV5 {
    pub import_buffer: unsafe extern "C" fn(BufferHandle, *mut BufferHandle) -> i32,
    pub free_buffer: unsafe extern "C" fn(BufferHandle) -> i32,
    pub get_transport_size: unsafe extern "C" fn(BufferHandle, *mut u32, *mut u32) -> i32,
    pub lock: unsafe extern "C" fn(BufferHandle, u64, Rect, c_int, *mut *mut c_void) -> i32,
    pub unlock: unsafe extern "C" fn(BufferHandle, *mut c_int) -> i32,
    pub flush_locked_buffer: unsafe extern "C" fn(BufferHandle) -> i32,
    pub reread_locked_buffer: unsafe extern "C" fn(BufferHandle) -> i32,
    pub get_metadata: unsafe extern "C" fn(BufferHandle, MetadataType, *mut c_void, usize) -> i32,
    pub get_standard_metadata: unsafe extern "C" fn(BufferHandle, i64, *mut c_void, usize) -> i32,
    pub set_metadata: unsafe extern "C" fn(BufferHandle, MetadataType, *const c_void, usize) -> i32,
    pub set_standard_metadata: unsafe extern "C" fn(BufferHandle, i64, *const c_void, usize) -> i32,
    pub list_supported_metadata_types: unsafe extern "C" fn(*mut *const MetadataTypeDescription, *mut usize) -> i32,
    pub dump_buffer: unsafe extern "C" fn(BufferHandle, Option<DumpBufferCallback>, *mut c_void) -> i32,
    pub dump_all_buffers: unsafe extern "C" fn(Option<BeginDumpBufferCallback>, Option<DumpBufferCallback>, *mut c_void) -> i32,
    pub get_reserved_region: unsafe extern "C" fn(BufferHandle, *mut *mut c_void, *mut u64) -> i32,
}

/// `AIMapper`, aligned as `max_align_t`.
#[cfg_attr(target_pointer_width = "64", repr(C, align(16)))]
#[cfg_attr(target_pointer_width = "32", repr(C, align(8)))]
#[allow(missing_docs)]
pub struct AIMapper {
    pub version: u32,
    pub v5: AIMapperV5,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<AIMapper>() == 128 && align_of::<AIMapper>() == 16 && offset_of!(AIMapper, v5) == 8);
    assert!(size_of::<AIMapperV5>() == 120 && offset_of!(AIMapperV5, get_reserved_region) == 112);
    assert!(size_of::<MetadataType>() == 16 && offset_of!(MetadataType, value) == 8);
    assert!(size_of::<MetadataTypeDescription>() == 64);
    assert!(offset_of!(MetadataTypeDescription, description) == 16 && offset_of!(MetadataTypeDescription, is_gettable) == 24);
    assert!(offset_of!(MetadataTypeDescription, is_settable) == 25 && offset_of!(MetadataTypeDescription, reserved) == 26);
    assert!(size_of::<Rect>() == 16);
};

#[cfg(target_pointer_width = "32")]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<AIMapper>() == 64 && align_of::<AIMapper>() == 8 && offset_of!(AIMapper, v5) == 4);
    assert!(size_of::<AIMapperV5>() == 60 && offset_of!(AIMapperV5, get_reserved_region) == 56);
    // 64-bit integers lie at multiples of 4 on x86, of 8 on ARM.
    let value = if cfg!(target_arch = "x86") { 4 } else { 8 };
    assert!(size_of::<MetadataType>() == value + 8 && offset_of!(MetadataType, value) == value);
    assert!(offset_of!(MetadataTypeDescription, description) == value + 8);
    assert!(offset_of!(MetadataTypeDescription, is_gettable) == value + 12);
    assert!(offset_of!(MetadataTypeDescription, reserved) == value + 14);
    assert!(size_of::<MetadataTypeDescription>() == value + 48);
    assert!(size_of::<Rect>() == 16);
};
