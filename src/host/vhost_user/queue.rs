//! Descriptor chains: the command's bytes out of the readable part, the answer's into the writable part.

use super::memory::Table;
use crate::host::Device;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
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

/// Where the queue thread is: the command that it has taken and not answered yet, and the position of each ring behind that.
///
/// A VMM that stops a ring goes on later at the position that it is told then: no command before that may be without an answer.
/// When it starts the ring anywhere else, its guest has reset the device.
#[derive(Default)]
pub struct Progress {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Default)]
struct State {
    /// The command in flight: the ring's number, and the ring.
    taken: Option<(u16, VringRwLock)>,
    /// Position by ring.
    positions: BTreeMap<u16, u16>,
    /// The rings that were stopped and have not gone on.
    stopped: BTreeSet<u16>,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, ring: u16, vring: &VringRwLock, table: &Table) -> Option<Chain> {
        let mut state = self.state();
        let chain = next_chain(vring, table)?;
        state.taken = Some((ring, vring.clone()));
        state.positions.insert(ring, vring.queue_next_avail());
        Some(chain)
    }

    /// Gives the guest its answer, unless the ring has stopped in the meantime: its memory may be something else by then.
    fn finish(&self, chain: &Chain, table: &Table, reply: &[u8]) {
        let mut state = self.state();
        let Some((_, vring)) = state.taken.take() else { return };
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
    pub fn stop(&self, ring: u16) {
        let is_of_ring = |state: &mut State| state.taken.as_ref().is_some_and(|(of, _)| *of == ring);
        let waited = self.answered.wait_timeout_while(self.state(), STOP_TIMEOUT, is_of_ring);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out()
            && let Some((_, vring)) = state.taken.take()
        {
            let position = vring.queue_next_avail().wrapping_sub(1);
            vring.set_queue_next_avail(position);
            state.positions.insert(ring, position);
        }
        state.stopped.insert(ring);
    }

    /// Whether a ring that was stopped starts where nobody was told that it would: then its guest has reset the device. That it
    /// was stopped is forgotten.
    pub fn starts_anew(&self, ring: u16, vring: &VringRwLock) -> bool {
        let mut state = self.state();
        let told = state.positions.get(&ring).copied().unwrap_or(0);
        state.stopped.remove(&ring) && vring.queue_next_avail() != told
    }
}

/// Whether the VMM has started the ring and said where it is; what lies elsewhere is not touched.
pub fn is_set_up(vring: &VringRwLock) -> bool {
    let state = vring.get_ref();
    state.get_queue().ready() && state.get_queue().avail_ring() != 0
}

/// Executes all commands that are there. Whether any was.
pub fn drain(ring: u16, vring: &VringRwLock, table: &Table, device: &Device, progress: &Progress, buffers: &mut Buffers) -> bool {
    let mut any = false;
    // No guard of the ring is held while the device works: it may wait for the VMM, and the VMM for the ring.
    while let Some(chain) = progress.take(ring, vring, table) {
        read_request(&chain, table, &mut buffers.request);
        device.execute(&buffers.request, &mut buffers.reply);
        progress.finish(&chain, table, &buffers.reply);
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
