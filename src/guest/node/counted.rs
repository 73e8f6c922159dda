//! [`Counted`]: a node that counts its calls, since what an operation costs is how often it enters the kernel.

use super::Ioctl;
use std::fmt;
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often each call was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls([u64; Ioctl::ALL.len()]);

impl Calls {
    /// How often this one was made.
    pub fn of(&self, ioctl: Ioctl) -> u64 {
        self.0.get(ioctl as usize).copied().unwrap_or(0)
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Sub for Calls {
    type Output = Self;

    /// The calls since an earlier count.
    fn sub(self, earlier: Self) -> Self {
        let mut calls = self;
        for (count, before) in calls.0.iter_mut().zip(earlier.0) {
            *count = count.saturating_sub(before);
        }
        calls
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = Ioctl::ALL.into_iter().filter(|ioctl| self.of(*ioctl) > 0);
        let list: Vec<_> = made.map(|ioctl| format!("{} {}", self.of(ioctl), ioctl.name())).collect();
        f.write_str(if list.is_empty() { "none" } else { "" })?;
        f.write_str(&list.join(", "))
    }
}

/// A node that counts the calls that go through it.
#[derive(Debug)]
pub struct Counted<N> {
    node: N,
    counts: [AtomicU64; Ioctl::ALL.len()],
}

impl<N> Counted<N> {
    /// Counts from 0.
    pub fn new(node: N) -> Self {
        Self { node, counts: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// The node itself; calls on it are not counted.
    pub fn node(&self) -> &N {
        &self.node
    }

    /// The calls so far.
    pub fn calls(&self) -> Calls {
        Calls(self.counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    pub(super) fn count(&self, ioctl: Ioctl) -> &N {
        if let Some(count) = self.counts.get(ioctl as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        &self.node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ioctl_has_a_counter_of_its_own() {
        let counted = Counted::new(());
        for (index, ioctl) in Ioctl::ALL.into_iter().enumerate() {
            assert_eq!(ioctl as usize, index);
            counted.count(ioctl);
            assert_eq!(counted.calls().of(ioctl), 1);
        }
        assert_eq!(counted.calls().total(), Ioctl::ALL.len() as u64);
    }

    #[test]
    fn counts_are_told_in_words() {
        let counted = Counted::new(());
        assert_eq!(counted.calls().to_string(), "none");
        let before = counted.calls();
        counted.count(Ioctl::Wait);
        counted.count(Ioctl::Wait);
        assert_eq!((counted.calls() - before).to_string(), "2 WAIT");
    }
}
