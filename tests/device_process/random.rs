//! Rings full of chance: whatever a guest writes, the process lives and serves the next.

use crate::guest;
use crate::process::Process;
use crate::ring::{Descriptor, FREE, RAM_BYTES, SIZE};
use crate::vmm::{EVENT_IDX, Vmm};
use std::time::Duration;
use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;

/// xorshift64*: the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Mostly where commands lie, sometimes on the rings, at the end of memory or outside.
    fn address(&mut self) -> u64 {
        match self.below(32) {
            0 => self.number(),
            1 => RAM_BYTES - self.below(64),
            2 => 0x1_0000 + self.below(0x3000),
            _ => FREE + 256 * self.below(256),
        }
    }

    fn descriptor(&mut self) -> Descriptor {
        let length = match self.below(32) {
            0 => self.number() as u32,
            1 => self.below(1 << 18) as u32,
            _ => self.of(&[0, 1, 24, 40, 96, 128, 128, 256, 256, 512]),
        };
        // A chain goes on more often than not.
        let flags = if self.below(12) == 0 { self.below(8) as u16 } else { self.of(&[0, 1, 1, 1, 2, 3, 3, 3]) };
        Descriptor { address: self.address(), length, flags, next: self.below(u64::from(SIZE) + 4) as u16 }
    }

    /// A command that may be good, or has bytes of chance in it, or is followed by descriptors.
    fn command(&mut self) -> Vec<u8> {
        let (context, id) = (self.below(4) as u32, self.below(8) as u32);
        let size = self.of(&[0, 1, 4096, 8192, 1 << 20, u64::MAX]);
        let mut bytes = match self.below(9) {
            0 => guest::display_info(),
            1 => guest::create_context(context),
            2 => guest::mappable_blob(context, id, size),
            3 => guest::guest_blob(id, self.address(), size as u32),
            4 => guest::map(id, self.below(64) << 12),
            5 => guest::unmap(id),
            6 => guest::unref(id),
            7 => (0..8).flat_map(|_| self.descriptor().bytes()).collect(),
            _ => (0..24).flat_map(|_| self.number().to_le_bytes()).collect(),
        };
        if self.below(3) == 0 {
            let at = self.below(bytes.len() as u64) as usize;
            bytes[at] = self.number() as u8;
        }
        bytes
    }
}

#[test]
fn rings_of_chance_do_not_end_the_process() {
    let process = Process::start();
    let mut chance = Chance(0x7669_7267_626d);
    let mut commands = 0;
    for _ in 0..40 {
        let mut vmm = Vmm::greet_without(&process.gpu(), chance.of(&[0, EVENT_IDX]));
        vmm.open_channel();
        vmm.share_memory().unwrap();
        vmm.set_up(0).unwrap();
        vmm.frontend.set_vring_enable(0, true).unwrap();
        for _ in 0..15 {
            for slot in 0..256 {
                vmm.ram.write(FREE + 256 * slot, &chance.command());
            }
            // Where the device is: what it wrote and read in the round before may have moved it anywhere.
            let base = vmm.frontend.get_vring_base(0).unwrap();
            vmm.queues[0].offered = base as u16;
            vmm.resume(0, base);
            let queue = &mut vmm.queues[0];
            (0..SIZE).for_each(|index| queue.describe(index, chance.descriptor()));
            (0..chance.below(u64::from(SIZE))).for_each(|_| queue.offer(chance.below(u64::from(SIZE) + 2) as u16));
            if chance.below(16) == 0 {
                queue.publish(chance.number() as u16);
            }
            queue.kick();
            // Until the device has nothing to say any more.
            while queue.used_within(Duration::from_millis(5)).is_some() {}
        }
        commands += process.stat("commands") - process.stat("errors");
    }
    assert!(commands > 1000, "only {commands} commands were good ones");
    process.assert_serves();
    process.assert_idle();
}
