//! [`Fences`]: those that the library was asked for and has not reached.

use crate::host::fence::Fence;
use crate::host::renderer::Timeline;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fence under the number that the library knows, and those behind it that need no more of the library.
type Pending = (u64, Vec<Fence>);

#[derive(Default)]
struct Table {
    last: u64,
    by_timeline: BTreeMap<Timeline, VecDeque<Pending>>,
}

/// Fences by timeline, in their order.
#[derive(Default)]
pub struct Fences(Mutex<Table>);

impl Fences {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new fence and its number, which has 32 bits, as the device's own timeline has in the library.
    pub fn add(&self, timeline: Timeline) -> (u64, Fence) {
        let mut table = self.table();
        table.last = table.last % u64::from(u32::MAX) + 1;
        let (number, fence) = (table.last, Fence::default());
        table.by_timeline.entry(timeline).or_default().push_back((number, vec![fence.clone()]));
        (number, fence)
    }

    pub fn is_busy(&self, timeline: Timeline) -> bool {
        self.table().by_timeline.contains_key(&timeline)
    }

    pub fn is_empty(&self) -> bool {
        self.table().by_timeline.is_empty()
    }

    pub fn reached_global(&self, number: u32) {
        self.reached(Timeline::Global, number.into());
    }

    pub fn reached_ring(&self, ctx_id: u32, ring_idx: u32, number: u64) {
        if let Ok(ring_idx) = u8::try_from(ring_idx) {
            self.reached(Timeline::Ring { ctx_id, ring_idx }, number);
        }
    }

    /// The library has reached a fence, and so all before it in its timeline.
    fn reached(&self, timeline: Timeline, number: u64) {
        let mut table = self.table();
        let Some(queue) = table.by_timeline.get_mut(&timeline) else { return };
        let Some(position) = queue.iter().position(|(pending, _)| *pending == number) else { return };
        let done: Vec<_> = queue.drain(..=position).collect();
        if queue.is_empty() {
            table.by_timeline.remove(&timeline);
        }
        drop(table);
        signal(done);
    }

    /// The library knows nothing of a fence: it is reached with the one before it.
    pub fn unknown(&self, timeline: Timeline, number: u64) {
        let mut table = self.table();
        let Some(queue) = table.by_timeline.get_mut(&timeline) else { return };
        let Some(position) = queue.iter().position(|(pending, _)| *pending == number) else { return };
        let before = position.checked_sub(1).filter(|before| *before < queue.len());
        let Some(mut lost) = queue.remove(position) else { return };
        if let Some((_, fences)) = before.and_then(|before| queue.get_mut(before)) {
            fences.append(&mut lost.1);
            return;
        }
        if queue.is_empty() {
            table.by_timeline.remove(&timeline);
        }
        drop(table);
        signal(vec![lost]);
    }

    /// A context is gone, and what its rings were given with it.
    pub fn forget_context(&self, id: u32) {
        let of_context = |timeline: &Timeline| matches!(timeline, Timeline::Ring { ctx_id, .. } if *ctx_id == id);
        let mut table = self.table();
        let gone: Vec<_> = table.by_timeline.keys().copied().filter(of_context).collect();
        let gone: Vec<_> = gone.iter().filter_map(|timeline| table.by_timeline.remove(timeline)).flatten().collect();
        drop(table);
        signal(gone);
    }

    /// The library is gone: nothing is waited for any more.
    pub fn forget_all(&self) {
        let gone = std::mem::take(&mut self.table().by_timeline);
        signal(gone.into_values().flatten().collect());
    }
}

/// Signals in the order of the timeline, without the lock.
fn signal(fences: Vec<Pending>) {
    for fence in fences.into_iter().flat_map(|(_, fences)| fences) {
        fence.signal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_that_is_reached_brings_those_before_it_in_its_timeline_only() {
        let fences = Fences::default();
        let ring = |ring_idx| Timeline::Ring { ctx_id: 3, ring_idx };
        let (_, first) = fences.add(Timeline::Global);
        let (number, second) = fences.add(Timeline::Global);
        let (_, third) = fences.add(Timeline::Global);
        let (of_ring, ringed) = fences.add(ring(1));
        fences.reached_global(number as u32);
        let states = || [&first, &second, &third, &ringed].map(Fence::is_signalled);
        assert_eq!(states(), [true, true, false, false]);
        fences.reached_ring(3, 1, of_ring);
        assert_eq!(states(), [true, true, false, true]);
        assert_eq!([Timeline::Global, ring(1)].map(|timeline| fences.is_busy(timeline)), [true, false]);
    }

    #[test]
    fn a_fence_that_the_library_refused_comes_with_the_one_before_it() {
        let fences = Fences::default();
        let (number, first) = fences.add(Timeline::Global);
        let (refused, second) = fences.add(Timeline::Global);
        fences.unknown(Timeline::Global, refused);
        assert!(!second.is_signalled());
        fences.reached_global(number as u32);
        assert!(first.is_signalled() && second.is_signalled() && fences.is_empty());
        let (alone, third) = fences.add(Timeline::Global);
        fences.unknown(Timeline::Global, alone);
        assert!(third.is_signalled() && fences.is_empty());
    }

    #[test]
    fn contexts_and_the_library_leave_no_fence_behind() {
        let fences = Fences::default();
        let (_, theirs) = fences.add(Timeline::Ring { ctx_id: 1, ring_idx: 0 });
        let (_, others) = fences.add(Timeline::Ring { ctx_id: 2, ring_idx: 0 });
        fences.forget_context(1);
        assert_eq!((theirs.is_signalled(), others.is_signalled()), (true, false));
        fences.forget_all();
        assert!(others.is_signalled() && fences.is_empty());
        fences.reached_global(77);
        fences.reached_ring(9, 9, 9);
    }
}
