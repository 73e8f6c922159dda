//! `native_handle_t` of Android's libcutils: descriptors and integers behind a header of three integers.

use std::ffi::c_int;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use virgbm_android_abi::NativeHandle;

/// How many integers, descriptors included, follow the header of our handles.
pub const DATA_INTS: usize = 36;

/// The numbers of a handle, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    count: usize,
    data: [c_int; DATA_INTS],
}

impl Numbers {
    /// Those of a handle that is no longer than ours; what is missing is 0.
    pub fn new(fds: &[c_int], ints: &[c_int]) -> Self {
        let mut data = [0; DATA_INTS];
        for (to, from) in data.iter_mut().zip(fds.iter().chain(ints)) {
            *to = *from;
        }
        Self { count: fds.len().min(DATA_INTS), data }
    }

    /// The numbers of its descriptors.
    pub fn fds(&self) -> &[c_int] {
        self.data.get(..self.count).unwrap_or(&[])
    }

    /// The integers behind them.
    pub fn ints(&self) -> &[c_int] {
        self.data.get(self.count..).unwrap_or(&[])
    }
}

/// Reads a handle with exactly [`DATA_INTS`] integers; `None` for any other.
///
/// # Safety
/// The pointer is null, or points to a handle with as many integers as its header says, which lives during the call.
pub unsafe fn read(handle: *const NativeHandle) -> Option<Numbers> {
    let handle = NonNull::new(handle.cast_mut())?;
    // SAFETY: it is not null, and the caller promises a handle.
    let header = unsafe { handle.read_unaligned() };
    let total = header.num_fds.checked_add(header.num_ints)?;
    let counts = (usize::try_from(header.num_fds).ok()?, usize::try_from(header.num_ints).ok()?);
    if header.version != size_of::<NativeHandle>() as c_int || total != DATA_INTS as c_int || counts.0 > DATA_INTS {
        return None;
    }
    let data = behind(handle, 0).cast::<[c_int; DATA_INTS]>();
    // SAFETY: the header says that 36 integers follow, which the caller promises.
    let data = unsafe { data.read_unaligned() };
    Some(Numbers { count: counts.0, data })
}

/// Makes a handle as `native_handle_create` does, with `malloc`, so that `native_handle_close` and `native_handle_delete` may end it.
/// Takes the descriptors; `None` without memory or room for them.
pub fn create(fds: Vec<OwnedFd>, ints: &[c_int]) -> Option<NonNull<NativeHandle>> {
    let total = fds.len().checked_add(ints.len())?;
    let bytes = total.checked_mul(size_of::<c_int>())?.checked_add(size_of::<NativeHandle>())?;
    let header = NativeHandle {
        version: size_of::<NativeHandle>() as c_int,
        num_fds: c_int::try_from(fds.len()).ok()?,
        num_ints: c_int::try_from(ints.len()).ok()?,
    };
    // SAFETY: malloc takes any size.
    let handle = NonNull::new(unsafe { libc::malloc(bytes) })?.cast::<NativeHandle>();
    // SAFETY: malloc gave room for it, aligned for any type.
    unsafe { handle.write(header) };
    let numbers = fds.into_iter().map(IntoRawFd::into_raw_fd).chain(ints.iter().copied());
    for (index, number) in numbers.enumerate() {
        // SAFETY: `index` is below `total`, for which malloc gave room behind the header, aligned for any type.
        unsafe { behind(handle, index).write(number) };
    }
    Some(handle)
}

/// The place of an integer behind a header.
fn behind(handle: NonNull<NativeHandle>, index: usize) -> *mut c_int {
    handle.as_ptr().cast::<c_int>().wrapping_add(size_of::<NativeHandle>() / size_of::<c_int>() + index)
}

/// Closes a handle's descriptors and frees it.
///
/// # Safety
/// It came from [`create`], nobody else has freed it or will use it, and its header is as it was made.
pub unsafe fn destroy(handle: NonNull<NativeHandle>, fds: usize) {
    for index in 0..fds {
        // SAFETY: the caller promises that so many descriptors are behind the header.
        let fd = unsafe { behind(handle, index).read() };
        // A descriptor that the handle's holder has closed is not there any more: close tells, and nothing is to be done.
        // SAFETY: close takes any number.
        unsafe { libc::close(fd) };
    }
    // SAFETY: the caller promises that it came from malloc.
    unsafe { libc::free(handle.as_ptr().cast()) };
}

/// Borrows a descriptor by its number, where it is open.
pub fn borrow<'a>(number: c_int) -> Option<std::os::fd::BorrowedFd<'a>> {
    if number < 0 {
        return None;
    }
    // SAFETY: it is not -1; whoever passes a handle keeps its descriptors open during the call, and a closed one is found next.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(fd).is_ok().then_some(fd)
}

/// Takes a descriptor by its number, as calls that own a fence do; `None` where it is not open.
///
/// # Safety
/// Nobody else owns the descriptor.
pub unsafe fn take(number: c_int) -> Option<OwnedFd> {
    borrow(number)?;
    // SAFETY: it is open, and the caller promises that nobody else owns it.
    Some(unsafe { std::os::fd::FromRawFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn what_is_made_is_read_back() {
        let fd: OwnedFd = File::open("/dev/null").unwrap().into();
        let handle = create(vec![fd], &[7; 35]).unwrap();
        // SAFETY: it was just made.
        let numbers = unsafe { read(handle.as_ptr()) }.unwrap();
        assert_eq!(numbers.ints(), [7; 35]);
        assert!(borrow(numbers.fds()[0]).is_some());
        // SAFETY: it was just made, with one descriptor.
        unsafe { destroy(handle, 1) };
    }

    #[test]
    fn other_headers_are_refused() {
        let cases = [(0, 0, 36), (12, 0, 0), (12, -1, 37), (12, 37, -1), (12, 1000, 36), (12, i32::MAX, 1), (12, 36, i32::MAX)];
        for (version, num_fds, num_ints) in cases {
            let mut memory = [0; 3 + DATA_INTS];
            memory[..3].copy_from_slice(&[version, num_fds, num_ints]);
            // SAFETY: the memory has room for 36 integers, and no more are read.
            assert_eq!(unsafe { read(memory.as_ptr().cast()) }, None, "{version} {num_fds} {num_ints}");
        }
        // SAFETY: null is allowed.
        assert_eq!(unsafe { read(std::ptr::null()) }, None);
    }
}
