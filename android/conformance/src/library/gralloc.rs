//! [`Gralloc`]: a gralloc0 module, with safe calls.

#![allow(unsafe_code)]

use crate::sys::handle::take;
use libloading::{Library, Symbol};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::ptr::{NonNull, null, null_mut};
use virgbm_android_abi::BufferHandle;
use virgbm_android_abi::gralloc::{AllocDevice, BufferInfo, Device, GPU0, Gralloc as Table, Operation, YCbCr};

/// A module.
pub struct Gralloc {
    table: &'static Table,
    _library: Library,
}

/// Its allocation device, closed when it is dropped.
pub struct OpenDevice {
    device: NonNull<AllocDevice>,
}

// SAFETY: gralloc.h says that its functions may be called from any thread.
unsafe impl Sync for OpenDevice {}

/// A number as a result.
fn result(number: c_int) -> Result<(), i32> {
    if number == 0 { Ok(()) } else { Err(number) }
}

impl Gralloc {
    /// Loads a library and its module.
    pub fn load(path: &Path) -> Result<Self, String> {
        // SAFETY: whoever names the library trusts what it does when it is loaded.
        let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
        // SAFETY: hardware.h says that the symbol is the module.
        let table: Symbol<'_, *const Table> = unsafe { library.get(b"HMI") }.map_err(|error| error.to_string())?;
        let table = NonNull::new(table.cast_mut()).ok_or("HMI is null")?;
        // SAFETY: it is the module, which lives as long as the library, which is never closed before.
        Ok(Self { table: unsafe { table.as_ref() }, _library: library })
    }

    /// The module.
    pub fn table(&self) -> &Table {
        self.table
    }

    /// The module's strings: id and name.
    pub fn strings(&self) -> [String; 2] {
        [self.table.common.id, self.table.common.name].map(string)
    }

    /// The addresses of its functions, in order.
    pub fn functions(&self) -> [usize; 11] {
        let start = (&raw const *self.table).cast::<u8>().wrapping_add(std::mem::offset_of!(Table, register_buffer)).cast();
        // SAFETY: 11 functions are there, as gralloc.h says of API 0.3.
        unsafe { *start }
    }

    /// Opens a device by any name.
    pub fn open_named(&self, name: &CStr) -> Result<OpenDevice, i32> {
        let mut device: *mut Device = null_mut();
        // SAFETY: the name is a string, and the device goes into a pointer that lives.
        result(unsafe { (self.table.common.methods.open)(self.table, name.as_ptr(), &raw mut device) })?;
        Ok(OpenDevice { device: NonNull::new(device.cast()).ok_or(-1)? })
    }

    /// Opens its allocation device.
    pub fn open(&self) -> Result<OpenDevice, String> {
        self.open_named(GPU0).map_err(|number| format!("the module opens no device: errno {}", -number))
    }

    /// Registers any pointer.
    pub fn register(&self, handle: BufferHandle) -> Result<(), i32> {
        // SAFETY: the module must look at a handle before it uses it.
        result(unsafe { (self.table.register_buffer)(self.table, handle) })
    }

    /// Unregisters any pointer.
    pub fn unregister(&self, handle: BufferHandle) -> Result<(), i32> {
        // SAFETY: the module must look at a handle before it uses it.
        result(unsafe { (self.table.unregister_buffer)(self.table, handle) })
    }

    /// Locks any pointer: a left and an upper edge, a width and a height.
    pub fn lock(&self, handle: BufferHandle, usage: c_int, [x, y, width, height]: [c_int; 4]) -> Result<*mut c_void, i32> {
        let mut address = null_mut();
        // SAFETY: the address goes into a pointer that lives.
        result(unsafe { (self.table.lock)(self.table, handle, usage, x, y, width, height, &raw mut address) })?;
        Ok(address)
    }

    /// The same after a fence, which is the module's.
    pub fn lock_async(
        &self,
        handle: BufferHandle,
        usage: c_int,
        [x, y, width, height]: [c_int; 4],
        fence: c_int,
    ) -> Result<*mut c_void, i32> {
        let mut address = null_mut();
        // SAFETY: the address goes into a pointer that lives.
        result(unsafe { (self.table.lock_async)(self.table, handle, usage, x, y, width, height, &raw mut address, fence) })?;
        Ok(address)
    }

    /// Locks luma and chroma.
    pub fn lock_ycbcr(&self, handle: BufferHandle, usage: c_int, area: [c_int; 4], fence: Option<c_int>) -> Result<YCbCr, i32> {
        let mut planes =
            YCbCr { y: null_mut(), cb: null_mut(), cr: null_mut(), ystride: 0, cstride: 0, chroma_step: 0, reserved: [7; 8] };
        let ([x, y, width, height], out) = (area, &raw mut planes);
        let number = match fence {
            // SAFETY: the structure lives.
            None => unsafe { (self.table.lock_ycbcr)(self.table, handle, usage, x, y, width, height, out) },
            // SAFETY: the same.
            Some(fence) => unsafe { (self.table.lock_async_ycbcr)(self.table, handle, usage, x, y, width, height, out, fence) },
        };
        result(number)?;
        Ok(planes)
    }

    /// Unlocks any pointer.
    pub fn unlock(&self, handle: BufferHandle) -> Result<(), i32> {
        // SAFETY: the module must look at a handle before it uses it.
        result(unsafe { (self.table.unlock)(self.table, handle) })
    }

    /// The same with a fence.
    pub fn unlock_async(&self, handle: BufferHandle) -> Result<Option<OwnedFd>, i32> {
        let mut fence = -1;
        // SAFETY: the fence goes into a number that lives.
        result(unsafe { (self.table.unlock_async)(self.table, handle, &raw mut fence) })?;
        Ok(take(fence))
    }

    /// The counts of descriptors and integers.
    pub fn transport_size(&self, handle: BufferHandle) -> Result<(u32, u32), i32> {
        let (mut fds, mut ints) = (u32::MAX, u32::MAX);
        // SAFETY: both live.
        result(unsafe { (self.table.get_transport_size)(self.table, handle, &raw mut fds, &raw mut ints) })?;
        Ok((fds, ints))
    }

    /// Whether a buffer is one of this size, format and stride.
    pub fn validate(&self, handle: BufferHandle, width: u32, height: u32, format: i32, stride: u32) -> Result<(), i32> {
        // SAFETY: the module must look at a handle before it uses it.
        result(unsafe { (self.table.validate_buffer_size)(self.table, handle, width, height, format, 0, stride) })
    }

    /// An operation with arguments as they come.
    pub fn perform(&self, operation: c_int, first: usize, second: usize, third: usize) -> Result<(), i32> {
        // SAFETY: callers give what the operation says.
        result(unsafe { (self.table.perform)(self.table, operation, first, second, third) })
    }

    /// An operation that answers one value about a handle.
    pub fn ask<T: Default>(&self, operation: Operation, handle: BufferHandle) -> Result<T, i32> {
        let mut answer = T::default();
        self.perform(operation as c_int, handle.expose_provenance(), (&raw mut answer).expose_provenance(), 0)?;
        Ok(answer)
    }

    /// Width and height.
    pub fn dimensions(&self, handle: BufferHandle) -> Result<(u32, u32), i32> {
        let (mut width, mut height) = (0u32, 0u32);
        let (first, second) = ((&raw mut width).expose_provenance(), (&raw mut height).expose_provenance());
        self.perform(Operation::GetDimensions as c_int, handle.expose_provenance(), first, second)?;
        Ok((width, height))
    }

    /// The planes.
    pub fn info(&self, handle: BufferHandle) -> Result<BufferInfo, i32> {
        self.ask(Operation::GetBufferInfo, handle)
    }
}

fn string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: it is not null, and hardware.h says that it is a string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

impl OpenDevice {
    /// Its tag, as hardware.h says.
    pub fn tag(&self) -> u32 {
        self.device().common.tag
    }

    fn device(&self) -> &AllocDevice {
        // SAFETY: the module opened it, and it is closed when this goes.
        unsafe { self.device.as_ref() }
    }

    /// Allocates: a handle, and its stride in pixels.
    pub fn alloc(&self, width: c_int, height: c_int, format: c_int, usage: c_int) -> Result<(BufferHandle, c_int), i32> {
        let (mut handle, mut stride) = (null(), -1);
        let (device, out) = (self.device.as_ptr(), &raw mut handle);
        // SAFETY: the handle and the stride go into what lives.
        result(unsafe { (self.device().alloc)(device, width, height, format, usage, out, &raw mut stride) })?;
        Ok((handle, stride))
    }

    /// Allocates where the handle or the stride has no place to go to.
    pub fn alloc_into(&self, has_handle: bool, has_stride: bool) -> Result<(), i32> {
        let (mut handle, mut stride) = (null(), -1);
        let handle_out = if has_handle { &raw mut handle } else { null_mut() };
        let stride_out = if has_stride { &raw mut stride } else { null_mut() };
        let format = virgbm_android_handle::HalFormat::RGBA_8888;
        // SAFETY: the handle and the stride go into what lives, or nowhere.
        result(unsafe { (self.device().alloc)(self.device.as_ptr(), 64, 64, format, 0x33, handle_out, stride_out) })
    }

    /// Frees any pointer.
    pub fn free_pointer(&self, handle: BufferHandle) -> Result<(), i32> {
        // SAFETY: the module must look at a handle before it uses it.
        result(unsafe { (self.device().free)(self.device.as_ptr(), handle) })
    }

    /// Frees a handle that it allocated.
    pub fn free(&self, handle: BufferHandle) {
        assert_eq!(self.free_pointer(handle), Ok(()), "a buffer that was allocated is freed");
    }

    /// What it tells of its buffers, in so much room.
    pub fn dump(&self, room: usize) -> String {
        let mut text = vec![0x55u8; room];
        // SAFETY: there is so much room.
        unsafe { (self.device().dump)(self.device.as_ptr(), text.as_mut_ptr().cast(), room as c_int) };
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(room);
        String::from_utf8_lossy(text.get(..end).unwrap_or(&[])).into_owned()
    }
}

impl Drop for OpenDevice {
    fn drop(&mut self) {
        let device = self.device.as_ptr().cast();
        // SAFETY: the module opened it, and nobody uses it any more.
        let closed = unsafe { (self.device().common.close)(device) };
        assert_eq!(closed, 0, "a device that was opened is closed");
    }
}
