//! Descriptor chains: the command's bytes out of the readable part, the answer's into the writable part.

use super::memory::Table;
use crate::host::Device;
use std::io::{Read, Write};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use vhost_user_backend::{VringRwLock, VringT};
use virtio_queue::{DescriptorChain, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryLoadGuard, GuestMemoryMmap};

/// The longest command: a blob of 16 GiB in single pages would list 64 MiB of entries.
const LONGEST_COMMAND: u64 = 64 << 20;

/// How long a ring that stops waits for the command in flight. A mapping may take longer: it waits for the VMM, which waits here.
const STOP_TIMEOUT: Duration = Duration::from_millis(200);

type Chain = DescriptorChain<GuestMemoryLoadGuard<GuestMemoryMmap<()>>>;

/// The buffers that one queue thread uses again and again.
#[derive(Default)]
pub struct Buffers {
    request: Vec<u8>,
    reply: Vec<u8>,
}

/// The command that the queue thread has taken and not answered yet, and the number of its ring.
///
/// A VMM that stops a ring goes on later at the position that it is told then: no command before that may be without an answer.
#[derive(Default)]
pub struct InFlight {
    taken: Mutex<Option<(u16, VringRwLock)>>,
    answered: Condvar,
}

impl InFlight {
    fn take(&self, ring: u16, vring: &VringRwLock, table: &Table) -> Option<Chain> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = next_chain(vring, table)?;
        *taken = Some((ring, vring.clone()));
        Some(chain)
    }

    /// Gives the guest its answer, unless the ring has stopped in the meantime: its memory may be something else by then.
    fn finish(&self, chain: &Chain, table: &Table, reply: &[u8]) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, vring)) = taken.take() else { return };
        let written = write_reply(chain, table, reply);
        if let Err(error) = vring.add_used(chain.head_index(), written) {
            log::warn!("the used ring: {error}");
        }
        if vring.needs_notification().unwrap_or(true) {
            let _signalled = vring.signal_used_queue();
        }
        self.answered.notify_all();
    }

    /// Lets the command of a ring that stops end, or else leaves it to be executed again when the ring goes on.
    pub fn stop(&self, ring: u32) {
        let is_of_ring = |taken: &mut Option<(u16, VringRwLock)>| taken.as_ref().is_some_and(|(of, _)| u32::from(*of) == ring);
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.answered.wait_timeout_while(taken, STOP_TIMEOUT, is_of_ring);
        let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out()
            && let Some((_, vring)) = taken.take()
        {
            let position = vring.queue_next_avail();
            vring.set_queue_next_avail(position.wrapping_sub(1));
        }
    }
}

/// Whether the VMM has started the ring and said where it is; what lies elsewhere is not touched.
pub fn is_set_up(vring: &VringRwLock) -> bool {
    let state = vring.get_ref();
    state.get_queue().ready() && state.get_queue().avail_ring() != 0
}

/// Executes all commands that are there. Whether any was.
pub fn drain(
    ring: u16,
    vring: &VringRwLock,
    table: &Table,
    device: &Device,
    in_flight: &InFlight,
    buffers: &mut Buffers,
) -> bool {
    let mut any = false;
    // No guard of the ring is held while the device works: it may wait for the VMM, and the VMM for the ring.
    while let Some(chain) = in_flight.take(ring, vring, table) {
        read_request(&chain, table, &mut buffers.request);
        device.execute(&buffers.request, &mut buffers.reply);
        in_flight.finish(&chain, table, &buffers.reply);
        any = true;
    }
    any
}

fn next_chain(vring: &VringRwLock, table: &Table) -> Option<Chain> {
    let mut state = vring.get_mut();
    let queue = state.get_queue_mut();
    if !queue.ready() {
        return None;
    }
    queue.pop_descriptor_chain(table.memory())
}

/// The readable part of a chain. The device refuses a command of no bytes, so that the guest does not wait for nothing.
fn read_request(chain: &Chain, table: &Table, request: &mut Vec<u8>) {
    let memory = table.memory();
    request.clear();
    match chain.clone().reader(&memory) {
        Ok(reader) => {
            if let Err(error) = reader.take(LONGEST_COMMAND).read_to_end(request) {
                log::debug!("a command that can't be read: {error}");
            }
        }
        Err(error) => log::debug!("a command outside of guest memory: {error}"),
    }
}

/// Writes as much of an answer as the chain has room for, and gives how much that is.
fn write_reply(chain: &Chain, table: &Table, reply: &[u8]) -> u32 {
    let memory = table.memory();
    let Ok(mut writer) = chain.clone().writer(&memory) else { return 0 };
    let room = writer.available_bytes().min(reply.len());
    match writer.write_all(reply.get(..room).unwrap_or(&[])) {
        Ok(()) => room as u32,
        Err(_) => 0,
    }
}
