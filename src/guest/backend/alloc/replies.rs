//! The reply ring: slots in a guest blob, where the host writes what stock kernels lose.

use crate::guest::error::Error;
use crate::guest::handles::{Handle, HandleTable};
use crate::guest::node::{BlobCreate, BlobFlags, BlobMem, Execbuffer, Handles, Node};
use crate::sys::mmap::Mmap;
use crate::sys::poll;
use crate::wire::alloc::{self as wire, Backing, Opcode, Reply, ReplySlot, STATUS_PENDING, Status, Stream};
use crate::{Layout, LayoutError};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::{FromBytes, IntoBytes};

/// Slots of a ring: two pages.
pub(super) const SLOT_COUNT: u32 = 32;

const SLOT_BYTES: usize = size_of::<ReplySlot>();
const RING_BYTES: u64 = SLOT_COUNT as u64 * SLOT_BYTES as u64;

/// Looks at a slot before the processor is given away between looks.
const EAGER_LOOKS: u32 = 64;

/// How long to look before the kernel is asked to wait: a host answers in some 60 us, a fence and WAIT cost some 250.
const LOOKING_TIME: Duration = Duration::from_micros(300);

/// Where the answer of a command will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub slot: u32,
    pub sequence: u32,
}

/// The answer of a command that worked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer(Reply);

impl Answer {
    pub fn has_layout(&self) -> bool {
        self.0.layout.plane_count.get() > 0
    }

    /// The layout that the host reports, checked.
    pub fn layout(&self) -> Result<Layout, Error> {
        Layout::try_from(&self.0.layout).map_err(|source: LayoutError| Error::HostLayout { source })
    }

    pub fn made_of(&self) -> Option<Backing> {
        Backing::from_number(self.0.backing.get())
    }
}

pub(super) struct ReplyRing {
    node: Arc<dyn Node>,
    handle: Handle,
    map: Mmap,
    patience: Duration,
    slots: Mutex<FreeSlots>,
    changed: Condvar,
    sequence: AtomicU32,
    round_trips: AtomicU64,
}

/// The slots that nobody uses.
struct FreeSlots {
    free: Vec<u32>,
    /// How many slots there are, those in use too, but without those that the host may write at any time.
    usable: usize,
    /// Submissions that the host has not executed in time.
    late: Vec<Late>,
}

/// A submission that the host has not executed in time: it may still write its slots.
struct Late {
    fence: OwnedFd,
    slots: Vec<u32>,
}

impl FreeSlots {
    /// Takes the slots back of what the host has executed after all; whether nothing is late any more.
    fn is_caught_up(&mut self) -> bool {
        let done = |late: &mut Late| poll::wait_readable(late.fence.as_fd(), Duration::ZERO).is_ok();
        for late in self.late.extract_if(.., done) {
            self.usable += late.slots.len();
            self.free.extend(late.slots);
        }
        self.late.is_empty()
    }
}

/// Slots that are taken until this is dropped.
pub(super) struct Slots<'a> {
    ring: &'a ReplyRing,
    tickets: Vec<Ticket>,
}

impl Slots<'_> {
    pub fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.tickets.iter().copied()
    }

    /// Does not use the slots until the host has executed what this fence is of; never, where there is none.
    pub fn forget(mut self, fence: Option<OwnedFd>) {
        let slots: Vec<_> = std::mem::take(&mut self.tickets).into_iter().map(|ticket| ticket.slot).collect();
        let mut free = self.ring.slots();
        free.usable -= slots.len();
        free.late.extend(fence.map(|fence| Late { fence, slots }));
    }
}

impl Drop for Slots<'_> {
    fn drop(&mut self) {
        self.ring.slots().free.extend(self.tickets.iter().map(|ticket| ticket.slot));
        self.ring.changed.notify_all();
    }
}

impl ReplyRing {
    /// Makes the ring, in a blob whose size is a multiple of `blob_alignment`, and names it to the host.
    pub fn open(
        node: &Arc<dyn Node>,
        handles: &Arc<HandleTable>,
        blob_alignment: u64,
        patience: Duration,
    ) -> Result<Self, Error> {
        let flags = BlobFlags::MAPPABLE;
        let blob = BlobCreate {
            mem: BlobMem::Guest,
            flags,
            size: RING_BYTES.next_multiple_of(blob_alignment),
            blob_id: 0,
            command: &[],
        };
        let Handles { bo_handle, resource_id } = node.resource_create_blob(&blob)?;
        let handle = handles.adopt(bo_handle);
        let map = node.mmap(node.map(handle.bo_handle())?, RING_BYTES)?;
        let ring = Self {
            node: node.clone(),
            handle,
            map,
            patience,
            slots: Mutex::new(FreeSlots { free: (0..SLOT_COUNT).collect(), usable: SLOT_COUNT as usize, late: Vec::new() }),
            changed: Condvar::new(),
            sequence: AtomicU32::new(0),
            round_trips: AtomicU64::new(0),
        };
        ring.init(resource_id)?;
        Ok(ring)
    }

    fn init(&self, resource_id: u32) -> Result<(), Error> {
        let slots = self.take(1, Opcode::Init)?;
        let mut stream = Stream::new();
        let init = wire::Init { resource_id: resource_id.into(), slot_count: SLOT_COUNT.into(), offset: 0.into() };
        for ticket in slots.tickets() {
            stream.push(Opcode::Init, 0, ticket.sequence, ticket.slot, &[init.as_bytes()]);
        }
        self.node.execbuffer(&Execbuffer { command: stream.as_bytes(), ..Execbuffer::default() })?;
        self.wait(slots, Opcode::Init)?.into_iter().try_for_each(|answer| answer.map(drop))
    }

    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    fn slots(&self) -> MutexGuard<'_, FreeSlots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many slots one caller may take.
    pub fn usable(&self) -> usize {
        self.slots().usable
    }

    /// Takes `count` slots for a command, all at once, so that two callers never wait for each other's rest.
    ///
    /// There are none while the host is late with others: what is sent to a host that has gone only fills the kernel's queue.
    pub fn take(&self, count: usize, opcode: Opcode) -> Result<Slots<'_>, Error> {
        if !self.slots().is_caught_up() {
            return Err(Error::Silent { opcode });
        }
        let waiting = |slots: &mut FreeSlots| slots.free.len() < count && count <= slots.usable;
        let mut slots = self.changed.wait_while(self.slots(), waiting).unwrap_or_else(PoisonError::into_inner);
        let Some(keep) = slots.free.len().checked_sub(count) else {
            return Err(Error::Silent { opcode });
        };
        let taken = slots.free.split_off(keep);
        drop(slots);
        let tickets = taken.into_iter().map(|slot| {
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            // The ring is mapped whole, so its slots are inside.
            let _cleared = self.map.store_release(slot as usize * SLOT_BYTES, STATUS_PENDING);
            Ticket { slot, sequence }
        });
        Ok(Slots { ring: self, tickets: tickets.collect() })
    }

    /// Waits for the answers to a submission: looks at the slots, then lets the kernel wait for a fence behind it.
    ///
    /// The outer error is silence; the inner ones are the host's refusals.
    pub fn wait(&self, slots: Slots<'_>, opcode: Opcode) -> Result<Vec<Result<Answer, Error>>, Error> {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        if !self.look(&slots) {
            let slots = self.settle(&[], slots, opcode)?;
            // The host has executed all, and writes these slots no more.
            if slots.tickets().any(|ticket| self.reply(ticket).is_none()) {
                return Err(Error::Silent { opcode });
            }
            return Ok(self.answers(&slots, opcode));
        }
        Ok(self.answers(&slots, opcode))
    }

    fn answers(&self, slots: &Slots<'_>, opcode: Opcode) -> Vec<Result<Answer, Error>> {
        slots.tickets().map(|ticket| self.answer(ticket, opcode)).collect()
    }

    /// Submits commands with a fence, and waits until the host has executed them and all that came before. When it does not, the
    /// slots are lost until it has.
    pub fn settle<'a>(&self, command: &[u8], slots: Slots<'a>, opcode: Opcode) -> Result<Slots<'a>, Error> {
        // The fence is on the ring's blob too, so that the kernel keeps it as long as the host may write.
        let bo_handles = &[self.handle.bo_handle()];
        let submitted = self.node.execbuffer(&Execbuffer { command, bo_handles, out_fence: true, ..Execbuffer::default() });
        let fence = match submitted {
            Ok(Some(fence)) => fence,
            Ok(None) => {
                slots.forget(None);
                return Err(Error::Silent { opcode });
            }
            Err(error) => {
                slots.forget(None);
                return Err(error.into());
            }
        };
        match poll::wait_readable(fence.as_fd(), self.patience) {
            Ok(()) => Ok(slots),
            Err(error) => {
                log::warn!("{opcode:?} after {:?}: {error}", self.patience);
                slots.forget(Some(fence));
                Err(Error::Silent { opcode })
            }
        }
    }

    /// Looks at the slots for a bounded time; whether all are answered.
    fn look(&self, slots: &Slots<'_>) -> bool {
        let mut waiting = slots.tickets().filter(|ticket| self.reply(*ticket).is_none()).peekable();
        let mut looks = 0;
        let mut deadline = None;
        while waiting.peek().is_some() {
            looks += 1;
            if looks < EAGER_LOOKS {
                std::hint::spin_loop();
            } else {
                if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + LOOKING_TIME) {
                    return false;
                }
                std::thread::yield_now();
            }
            if waiting.peek().is_some_and(|ticket| self.reply(*ticket).is_some()) {
                waiting.next();
            }
        }
        true
    }

    /// The reply in a slot, once it is there and belongs to this command.
    fn reply(&self, ticket: Ticket) -> Option<Reply> {
        let at = ticket.slot as usize * SLOT_BYTES;
        let status = self.map.load_acquire(at).map(u32::from_le).filter(|status| *status != STATUS_PENDING)?;
        let mut bytes = [0; size_of::<Reply>()];
        self.map.read(at, &mut bytes)?;
        let reply = Reply::read_from_bytes(&bytes).ok()?;
        (reply.sequence.get() == ticket.sequence).then(|| Reply { status: status.into(), ..reply })
    }

    fn answer(&self, ticket: Ticket, opcode: Opcode) -> Result<Answer, Error> {
        let reply = self.reply(ticket).ok_or(Error::Silent { opcode })?;
        match Status::from_number(reply.status.get()) {
            Some(Status::Ok) => Ok(Answer(reply)),
            Some(status) => Err(Error::Refused { opcode, status, detail: reply.detail.get() }),
            None => Err(Error::UnknownStatus { opcode, status: reply.status.get() }),
        }
    }
}
