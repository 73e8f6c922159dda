//! `mapper.virgbm.so`, loaded as Android loads it, and a buffer in it.

#![allow(unsafe_code)]

use libloading::Library;
use std::ffi::c_int;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::{null, null_mut};
use std::time::Duration;
use virgbm::sys::poll;
use virgbm_android_abi::BufferHandle;
use virgbm_android_abi::imapper::{AIMapper, AIMapperV5, Rect};

/// Metadata that are numbers.
pub const WIDTH: i64 = 3;
pub const HEIGHT: i64 = 4;
pub const ALLOCATION_SIZE: i64 = 10;
pub const STRIDE: i64 = 23;

const CPU_READ: u64 = 0x3;
const CPU_WRITE: u64 = 0x30;

/// An imported buffer.
pub struct Buffer {
    mapper: &'static AIMapperV5,
    handle: BufferHandle,
}

fn load() -> &'static AIMapperV5 {
    // SAFETY: the library is ours, and does nothing when it is loaded. It is not closed again.
    let library = Box::leak(Box::new(unsafe { Library::new("/usr/local/bin/mapper.virgbm.so") }.unwrap()));
    // SAFETY: that is the type of the function.
    let load = unsafe { library.get::<unsafe extern "C" fn(*mut *const AIMapper) -> i32>(b"AIMapper_loadIMapper") }.unwrap();
    let mut table = null();
    // SAFETY: it writes a pointer there.
    assert_eq!(unsafe { load(&mut table) }, 0);
    // SAFETY: the table lives as long as the library.
    &unsafe { table.as_ref() }.unwrap().v5
}

impl Buffer {
    /// Imports a handle, whose descriptors stay the caller's.
    pub fn import(fds: &[c_int], ints: &[c_int]) -> Self {
        let mapper = load();
        let raw = [&[12, fds.len() as c_int, ints.len() as c_int], fds, ints].concat();
        let mut handle = null();
        // SAFETY: it is a native_handle_t with as many descriptors and integers as it says.
        assert_eq!(unsafe { (mapper.import_buffer)(raw.as_ptr().cast(), &mut handle) }, 0);
        Self { mapper, handle }
    }

    /// Metadata that is a number of so many bytes, which stand behind the header of the type.
    pub fn number<const BYTES: usize>(&self, id: i64) -> [u8; BYTES] {
        let mut value = [0_u8; 256];
        // SAFETY: there is room for so many bytes.
        let length = unsafe { (self.mapper.get_standard_metadata)(self.handle, id, value.as_mut_ptr().cast(), value.len()) };
        value[..length as usize].last_chunk().copied().unwrap()
    }

    /// The size of the whole buffer, in bytes.
    pub fn size_bytes(&self) -> usize {
        u64::from_le_bytes(self.number(ALLOCATION_SIZE)) as usize
    }

    /// Writes bytes from the start on.
    pub fn write(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.size_bytes());
        // SAFETY: the whole buffer is locked for writing, and has room.
        self.locked(CPU_WRITE, |to| unsafe { to.copy_from(bytes.as_ptr(), bytes.len()) });
    }

    /// All of its bytes.
    pub fn read(&self) -> Vec<u8> {
        let mut found = vec![0; self.size_bytes()];
        // SAFETY: the whole buffer is locked for reading.
        self.locked(CPU_READ, |from| unsafe { from.copy_to(found.as_mut_ptr(), found.len()) });
        found
    }

    fn locked(&self, usage: u64, touch: impl FnOnce(*mut u8)) {
        let (mut address, mut fence) = (null_mut(), -1);
        // SAFETY: the handle is imported, and both pointers are of the types that the calls write.
        assert_eq!(unsafe { (self.mapper.lock)(self.handle, usage, Rect::default(), -1, &mut address) }, 0);
        touch(address.cast());
        // SAFETY: it is locked.
        assert_eq!(unsafe { (self.mapper.unlock)(self.handle, &mut fence) }, 0);
        if fence != -1 {
            // SAFETY: who unlocks owns the fence.
            let fence = unsafe { OwnedFd::from_raw_fd(fence) };
            poll::wait_readable(fence.as_fd(), Duration::from_secs(5)).unwrap();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it was imported, and is freed once.
        assert_eq!(unsafe { (self.mapper.free_buffer)(self.handle) }, 0);
    }
}
