//! Descriptor chains: the command's bytes out of the readable part, the answer's into the writable part.

use super::memory::Table;
use crate::host::{Device, Fence};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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

/// Where the queue thread is: the command that it has taken and not executed yet, those that wait for a fence to be answered, and the
/// position of each ring behind them.
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
    /// The commands that are executed and wait for their fences, by a number of their own.
    waiting: BTreeMap<u64, Waiting>,
    last_waiting: u64,
    /// Position by ring.
    positions: BTreeMap<u16, u16>,
    /// The rings that were stopped and have not gone on.
    stopped: BTreeSet<u16>,
}

/// A command that was executed and is answered when its fence is signalled.
struct Waiting {
    ring: u16,
    vring: VringRwLock,
    chain: Chain,
    reply: Vec<u8>,
}

/// Writes an answer and tells the guest.
fn answer(vring: &VringRwLock, chain: &Chain, table: &Table, reply: &[u8]) {
    let written = write_reply(chain, table, reply);
    if let Err(error) = vring.add_used(chain.head_index(), written) {
        log::warn!("the used ring: {error}");
    }
    if vring.needs_notification().unwrap_or(true) {
        let _signalled = vring.signal_used_queue();
    }
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
        answer(&vring, chain, table, reply);
        self.answered.notify_all();
    }

    /// Gives the guest its answer when a fence is signalled, and the queue goes on meanwhile.
    fn finish_behind(self: &Arc<Self>, fence: &Fence, chain: Chain, table: &Table, reply: &[u8]) {
        let number = {
            let mut state = self.state();
            let Some((ring, vring)) = state.taken.take() else { return };
            state.last_waiting += 1;
            let number = state.last_waiting;
            state.waiting.insert(number, Waiting { ring, vring, chain, reply: reply.to_vec() });
            number
        };
        let (progress, table) = (self.clone(), table.clone());
        fence.when_signalled(move || {
            let mut state = progress.state();
            let Some(Waiting { vring, chain, reply, .. }) = state.waiting.remove(&number) else { return };
            answer(&vring, &chain, &table, &reply);
            progress.answered.notify_all();
        });
    }

    /// Nobody waits for answers any more.
    pub fn forget(&self) {
        self.state().waiting.clear();
    }

    /// Lets the commands of a ring that stops end. One that is executed then is left to be executed again when the ring goes on;
    /// those that wait for a fence are answered without it.
    pub fn stop(&self, ring: u16, table: &Table) {
        let is_of_ring = |state: &mut State| {
            state.taken.as_ref().is_some_and(|(of, _)| *of == ring) || state.waiting.values().any(|waiting| waiting.ring == ring)
        };
        let waited = self.answered.wait_timeout_while(self.state(), STOP_TIMEOUT, is_of_ring);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting.retain(|_, waiting| {
            let stays = waiting.ring != ring;
            if !stays {
                answer(&waiting.vring, &waiting.chain, table, &waiting.reply);
            }
            stays
        });
        if timeout.timed_out()
            && let Some((_, vring)) = state.taken.take_if(|(of, _)| *of == ring)
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
pub fn drain(
    ring: u16,
    vring: &VringRwLock,
    table: &Table,
    device: &Device,
    progress: &Arc<Progress>,
    buffers: &mut Buffers,
) -> bool {
    let mut any = false;
    // No guard of the ring is held while the device works: it may wait for the VMM, and the VMM for the ring.
    while let Some(chain) = progress.take(ring, vring, table) {
        read_request(&chain, table, &mut buffers.request);
        match device.start(&buffers.request, &mut buffers.reply) {
            None => progress.finish(&chain, table, &buffers.reply),
            Some(fence) => progress.finish_behind(&fence, chain, table, &buffers.reply),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use virtio_queue::desc::{RawDescriptor, split::Descriptor};
    use virtio_queue::mock::MockSplitQueue;
    use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryAtomic};

    const RING: u16 = 0;
    /// A flag of a descriptor: the device writes it.
    const WRITE: u16 = 2;
    /// Where the guest wants the answer of its command with that number.
    fn answer_at(command: u64) -> GuestAddress {
        GuestAddress(0x8000 + command * 16)
    }

    /// A guest with three commands in its ring, as a queue thread finds them.
    struct Guest {
        table: Table,
        vring: VringRwLock,
        used: GuestAddress,
        progress: Arc<Progress>,
    }

    impl Guest {
        fn new() -> Self {
            let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x10000)]).unwrap();
            let queue = MockSplitQueue::new(&memory, 16);
            let places = [queue.desc_table_addr(), queue.avail_addr(), queue.used_addr()].map(|address| address.0);
            let descriptors = [0, 1, 2].map(|command| RawDescriptor::from(Descriptor::new(answer_at(command).0, 16, WRITE, 0)));
            queue.build_multiple_desc_chains(&descriptors).unwrap();
            let (used, table) = (queue.used_addr(), GuestMemoryAtomic::new(memory.clone()));
            let vring = VringRwLock::new(table.clone(), 16).unwrap();
            vring.set_queue_size(16);
            vring.set_queue_info(places[0], places[1], places[2]).unwrap();
            vring.set_queue_ready(true);
            Self { table, vring, used, progress: Arc::default() }
        }

        fn take(&self) -> Chain {
            self.progress.take(RING, &self.vring, &self.table).expect("there is a command")
        }

        /// Takes a command whose answer waits for a fence.
        fn take_behind(&self, fence: &Fence, reply: &[u8]) {
            self.progress.finish_behind(fence, self.take(), &self.table, reply);
        }

        /// How many commands are answered.
        fn answered(&self) -> u16 {
            self.table.memory().read_obj(self.used.unchecked_add(2)).unwrap()
        }

        fn answer(&self, command: u64) -> [u8; 2] {
            self.table.memory().read_obj(answer_at(command)).unwrap()
        }
    }

    #[test]
    fn a_command_behind_a_fence_is_answered_at_its_signal_and_others_before() {
        let (guest, fence) = (Guest::new(), Fence::default());
        guest.take_behind(&fence, b"a1");
        let second = guest.take();
        guest.progress.finish(&second, &guest.table, b"b2");
        assert_eq!((guest.answered(), guest.answer(0), &guest.answer(1)), (1, [0, 0], b"b2"));
        fence.signal();
        assert_eq!((guest.answered(), &guest.answer(0)), (2, b"a1"));
        let signalled = Fence::default();
        signalled.signal();
        guest.take_behind(&signalled, b"c3");
        assert_eq!((guest.answered(), &guest.answer(2)), (3, b"c3"));
    }

    #[test]
    fn a_ring_that_stops_answers_what_waits_and_the_fence_that_comes_later_answers_nothing() {
        let (guest, fence) = (Guest::new(), Fence::default());
        guest.take_behind(&fence, b"a1");
        guest.progress.stop(RING, &guest.table);
        assert_eq!((guest.answered(), &guest.answer(0)), (1, b"a1"));
        assert!(!guest.progress.starts_anew(RING, &guest.vring), "it goes on behind the command that was answered");
        fence.signal();
        assert_eq!(guest.answered(), 1);
    }

    #[test]
    fn a_stop_waits_for_a_fence_that_comes_in_time_and_leaves_other_rings_alone() {
        let (guest, fence, other) = (Guest::new(), Fence::default(), Fence::default());
        guest.take_behind(&fence, b"a1");
        let chain = guest.progress.take(RING + 1, &guest.vring, &guest.table).unwrap();
        guest.progress.finish_behind(&other, chain, &guest.table, b"b2");
        let theirs = fence.clone();
        let signals = std::thread::spawn(move || theirs.signal());
        guest.progress.stop(RING, &guest.table);
        signals.join().unwrap();
        assert_eq!((guest.answered(), &guest.answer(0), guest.answer(1)), (1, b"a1", [0, 0]));
        other.signal();
        assert_eq!(guest.answered(), 2);
    }

    #[test]
    fn a_stop_that_runs_out_of_time_leaves_the_command_of_another_ring_to_it() {
        let (guest, fence) = (Guest::new(), Fence::default());
        guest.take_behind(&fence, b"a1");
        let chain = guest.progress.take(RING + 1, &guest.vring, &guest.table).unwrap();
        guest.progress.stop(RING, &guest.table);
        assert_eq!((guest.answered(), &guest.answer(0)), (1, b"a1"));
        guest.progress.finish(&chain, &guest.table, b"b2");
        assert_eq!((guest.answered(), &guest.answer(1)), (2, b"b2"));
    }

    #[test]
    fn what_waits_when_the_vmm_goes_is_forgotten() {
        let (guest, fence) = (Guest::new(), Fence::default());
        guest.take_behind(&fence, b"a1");
        guest.progress.forget();
        fence.signal();
        assert_eq!((guest.answered(), guest.answer(0)), (0, [0, 0]));
    }
}
