//! [`Ranges`]: which blob has which range of the window.

use super::resolver::Shown;
use std::collections::BTreeMap;

/// A resource's range of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InWindow {
    pub offset: u64,
    /// How it is there; `None` while that is asked.
    pub shown: Option<Shown>,
    /// The guest has unmapped it, and its bytes are still there.
    pub departed: bool,
}

/// The ranges that blobs have.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Length and resource by offset.
    taken: BTreeMap<u64, (u64, u32)>,
    /// How many of them the guest sees.
    visible: usize,
}

impl Ranges {
    /// How many of them the guest sees.
    pub fn visible(&self) -> usize {
        self.visible
    }

    pub fn length_at(&self, offset: u64) -> u64 {
        self.taken.get(&offset).map_or(0, |(length, _)| *length)
    }

    pub fn take(&mut self, offset: u64, length: u64, resource_id: u32) {
        self.taken.insert(offset, (length, resource_id));
        self.visible += 1;
    }

    /// The guest has unmapped it.
    pub fn depart(&mut self, range: &mut InWindow) {
        self.visible -= usize::from(!range.departed);
        range.departed = true;
    }

    /// Whose ranges overlap with this one.
    pub fn overlapping(&self, offset: u64, length: u64) -> Vec<u32> {
        let end = offset.saturating_add(length);
        let from_the_end = self.taken.range(..end).rev();
        from_the_end.take_while(|(start, (length, _))| **start + length > offset).map(|(_, (_, id))| *id).collect()
    }

    pub fn give_back(&mut self, range: InWindow) {
        self.visible -= usize::from(!range.departed);
        self.taken.remove(&range.offset);
    }
}
