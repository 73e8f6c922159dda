//! [`Bytes`]: memory that a library gave, read and written by copies, since others have it too.

use std::ffi::c_void;

/// So many bytes from an address on.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    address: *mut u8,
    length: usize,
}

impl Bytes {
    /// What a library said is there.
    pub fn new(address: *mut c_void, length: usize) -> Self {
        Self { address: address.cast(), length }
    }

    /// The address.
    pub fn address(&self) -> usize {
        self.address.addr()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// A byte; `None` outside.
    pub fn get(&self, at: usize) -> Option<u8> {
        // SAFETY: the library said that the byte is there, and a volatile read suits memory that others write.
        (at < self.length).then(|| unsafe { self.address.wrapping_add(at).read_volatile() })
    }

    /// Changes a byte; nothing outside.
    pub fn set(&self, at: usize, value: u8) {
        if at < self.length {
            // SAFETY: the library said that the byte is there.
            unsafe { self.address.wrapping_add(at).write_volatile(value) };
        }
    }

    /// Writes a pattern that tells places apart.
    pub fn fill(&self, seed: usize) {
        for at in 0..self.length {
            self.set(at, pattern(at, seed));
        }
    }

    /// The first byte that is not the pattern's.
    pub fn differs(&self, seed: usize) -> Option<usize> {
        (0..self.length).find(|at| self.get(*at) != Some(pattern(*at, seed)))
    }
}

fn pattern(at: usize, seed: usize) -> u8 {
    ((at / 3) ^ (at >> 11) ^ seed.wrapping_mul(29)) as u8
}
