//! [`Raw`]: a `native_handle_t` of the suite's own, as `native_handle_create` and `native_handle_clone` make it.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use virgbm_android_abi::{BufferHandle, NativeHandle};

/// A handle with its descriptors. Its integers can be changed, which is what the hostile cases do.
#[derive(Debug)]
pub struct Raw {
    /// The header, the numbers of the descriptors, and the integers: what the pointer leads to.
    words: Vec<c_int>,
    fds: Vec<OwnedFd>,
}

/// Integers of the header.
const HEADER: usize = 3;

impl Raw {
    /// A handle of these descriptors and integers.
    pub fn new(fds: Vec<OwnedFd>, ints: &[c_int]) -> Self {
        let header = [size_of::<NativeHandle>() as c_int, fds.len() as c_int, ints.len() as c_int];
        let numbers = fds.iter().map(AsRawFd::as_raw_fd);
        let words = header.into_iter().chain(numbers).chain(ints.iter().copied()).collect();
        Self { words, fds }
    }

    /// One with nothing in it.
    pub fn empty() -> Self {
        Self::new(Vec::new(), &[])
    }

    /// A copy of a handle with descriptors of its own, as another process gets it; `None` where they can't be duplicated.
    pub fn clone_of(handle: BufferHandle) -> Option<Self> {
        if handle.is_null() {
            return None;
        }
        // SAFETY: it is not null, and came from the library that is checked, which has not freed it.
        let header = unsafe { handle.read_unaligned() };
        let (fds, ints) = (usize::try_from(header.num_fds).ok()?, usize::try_from(header.num_ints).ok()?);
        let behind = handle.wrapping_add(1).cast::<c_int>();
        // SAFETY: the header says that so many integers follow.
        let words = unsafe { std::slice::from_raw_parts(behind, fds + ints) };
        let (numbers, ints) = words.split_at_checked(fds)?;
        Some(Self::new(numbers.iter().map(|number| duplicate(*number)).collect::<Option<_>>()?, ints))
    }

    /// A copy of this one.
    pub fn another(&self) -> Option<Self> {
        Self::clone_of(self.pointer())
    }

    /// The words of a copy whose descriptors a process inherits that is started now; they are open as long as the second value lives.
    pub fn inheritable(&self) -> Result<(Vec<c_int>, Vec<OwnedFd>), String> {
        let fds: Vec<_> = self.fds.iter().map(rustix::io::dup).collect::<Result<_, _>>().map_err(|errno| errno.to_string())?;
        let mut words = self.words.clone();
        for (word, fd) in words.iter_mut().skip(HEADER).zip(&fds) {
            *word = fd.as_raw_fd();
        }
        Ok((words, fds))
    }

    /// A handle of words whose descriptors this process has inherited; `None` where they are closed.
    pub fn of_words(words: &[c_int]) -> Option<Self> {
        let ([_, count, _], rest) = words.split_first_chunk()?;
        let (numbers, ints) = rest.split_at_checked(usize::try_from(*count).ok()?)?;
        Some(Self::new(numbers.iter().map(|number| duplicate(*number)).collect::<Option<_>>()?, ints))
    }

    /// The pointer that C gets.
    pub fn pointer(&self) -> BufferHandle {
        self.words.as_ptr().cast()
    }

    /// How many descriptors it has.
    pub fn count(&self) -> usize {
        self.fds.len()
    }

    /// Changes the counts of the header, and makes room for so many integers.
    pub fn claim(&mut self, num_fds: c_int, num_ints: c_int) {
        let room = num_fds.max(0).saturating_add(num_ints.max(0)).clamp(0, 1 << 16) as usize;
        self.words.resize(self.words.len().max(HEADER + room), 0);
        for (slot, value) in self.words.iter_mut().skip(1).zip([num_fds, num_ints]) {
            *slot = value;
        }
    }

    /// Changes the integer so many bytes from the start of the handle.
    pub fn set(&mut self, offset_bytes: usize, value: u32) {
        if let Some(slot) = self.words.get_mut(offset_bytes / size_of::<c_int>()) {
            *slot = value as c_int;
        }
    }

    /// The integer there.
    pub fn get(&self, offset_bytes: usize) -> u32 {
        self.words.get(offset_bytes / size_of::<c_int>()).map_or(0, |word| *word as u32)
    }

    /// The number of a descriptor.
    pub fn fd(&self, index: usize) -> RawFd {
        self.fds.get(index).map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Puts another descriptor in the place of one.
    pub fn replace_fd(&mut self, index: usize, fd: OwnedFd) {
        if let (Some(word), Some(slot)) = (self.words.get_mut(HEADER + index), self.fds.get_mut(index)) {
            *word = fd.as_raw_fd();
            *slot = fd;
        }
    }

    /// Writes another number there, whatever it is.
    pub fn set_fd(&mut self, index: usize, number: RawFd) {
        if let Some(word) = self.words.get_mut(HEADER + index) {
            *word = number;
        }
    }
}

/// A descriptor of its own for a number.
pub fn duplicate(number: RawFd) -> Option<OwnedFd> {
    if !is_open(number) {
        return None;
    }
    // SAFETY: it is open, and only borrowed here.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    fd.try_clone_to_owned().ok()
}

/// Takes what a library gave away.
pub fn take(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: the library has just given it away, so nobody else owns it.
    is_open(number).then(|| unsafe { std::os::fd::FromRawFd::from_raw_fd(number) })
}

/// Whether a number is an open descriptor.
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD takes any number, and touches no memory.
    number >= 0 && unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0
}
