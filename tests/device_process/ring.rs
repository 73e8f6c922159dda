//! A guest's memory and a split virtqueue in it, written by hand so that it can be wrong in every way.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use virgbm::sys::memfd;
use virgbm::sys::mmap::Mmap;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// The guest's memory goes from 0 to here.
pub const RAM_BYTES: u64 = 16 << 20;

/// Guest memory that no queue uses, up to the end.
pub const FREE: u64 = 0x10_0000;

/// How many descriptors a queue has.
pub const SIZE: u16 = 64;

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// How long an answer may take: a busy machine is slow, and a mapping waits a second for a VMM that does not commit it.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Ram {
    pub fd: OwnedFd,
    map: Mmap,
}

impl Ram {
    pub fn new() -> Self {
        let fd = memfd::sealed(RAM_BYTES).unwrap();
        let map = Mmap::shared(fd.as_fd(), 0, RAM_BYTES, None).unwrap();
        Self { fd, map }
    }

    pub fn write(&self, address: u64, data: &[u8]) {
        self.map.write(address as usize, data).unwrap();
    }

    pub fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.map.read(address as usize, &mut bytes).unwrap();
        bytes
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub address: u64,
    pub length: u32,
    pub flags: u16,
    pub next: u16,
}

impl Descriptor {
    pub fn bytes(&self) -> Vec<u8> {
        let Self { address, length, flags, next } = self;
        [&address.to_le_bytes()[..], &length.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat()
    }
}

/// Where the three parts of a queue are.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub table: u64,
    pub available: u64,
    pub used: u64,
}

pub struct Queue {
    ram: Arc<Ram>,
    pub addresses: Addresses,
    /// The available ring's index.
    pub offered: u16,
    /// How much of the used ring has been looked at.
    seen: u16,
    pub kick: EventFd,
    pub call: EventFd,
}

impl Queue {
    /// An empty queue; each number has its own place.
    pub fn new(ram: Arc<Ram>, number: u64) -> Self {
        let table = (1 + number) << 16;
        let addresses = Addresses { table, available: table + 0x1000, used: table + 0x2000 };
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        Self { ram, addresses, offered: 0, seen: 0, kick: event(), call: event() }
    }

    /// Room for a command's bytes.
    fn request(&self) -> u64 {
        self.addresses.table + 0x3000
    }

    /// Room for 16 KiB of answer.
    pub fn answer(&self) -> u64 {
        self.addresses.table + 0xb000
    }

    pub fn describe(&self, index: u16, descriptor: Descriptor) {
        self.ram.write(self.addresses.table + 16 * u64::from(index), &descriptor.bytes());
    }

    /// Puts a chain's head into the available ring, where the device sees it at once.
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.offered % SIZE);
        self.ram.write(self.addresses.available + 4 + 2 * slot, &head.to_le_bytes());
        self.offered = self.offered.wrapping_add(1);
        self.publish(self.offered);
    }

    /// Writes the available ring's index.
    pub fn publish(&self, index: u16) {
        let flags_and_index = u32::from(index) << 16;
        self.ram.map.store_release(self.addresses.available as usize, flags_and_index).unwrap();
    }

    pub fn kick(&self) {
        self.kick.write(1).unwrap();
    }

    /// The used ring's index.
    pub fn used_index(&self) -> u16 {
        (self.ram.map.load_acquire(self.addresses.used as usize).unwrap() >> 16) as u16
    }

    /// Waits for the next entry of the used ring: the head, and how many bytes were written.
    pub fn used_within(&mut self, patience: Duration) -> Option<(u32, u32)> {
        let start = Instant::now();
        while self.used_index() == self.seen {
            if start.elapsed() > patience {
                return None;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        let entry = self.ram.read(self.addresses.used + 4 + 8 * u64::from(self.seen % SIZE), 8);
        self.seen = self.seen.wrapping_add(1);
        let number = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
        Some((number(0), number(4)))
    }

    pub fn used(&mut self) -> Option<(u32, u32)> {
        self.used_within(PATIENCE)
    }

    /// Writes descriptors from the first on, offers one as a chain's head and waits for its answer.
    pub fn put(&mut self, descriptors: &[Descriptor], head: u16) -> Option<(u32, u32)> {
        for (index, descriptor) in (0..).zip(descriptors) {
            self.describe(index, *descriptor);
        }
        self.offer(head);
        self.kick();
        self.used()
    }

    /// Sends a command whose bytes lie in pieces, with room for an answer, and gives what was written there.
    pub fn send(&mut self, pieces: &[&[u8]], room: u32) -> Option<Vec<u8>> {
        let mut address = self.request();
        let mut chain = Vec::new();
        for piece in pieces {
            self.ram.write(address, piece);
            let next = chain.len() as u16 + 1;
            chain.push(Descriptor { address, length: piece.len() as u32, flags: NEXT, next });
            // Apart from each other, as a driver's buffers are.
            address += piece.len() as u64 + 64;
        }
        chain.push(Descriptor { address: self.answer(), length: room, flags: WRITE, next: 0 });
        let (head, written) = self.put(&chain, 0)?;
        assert_eq!(head, 0);
        Some(self.ram.read(self.answer(), written as usize))
    }
}
