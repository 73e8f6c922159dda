//! A value in shared memory that several processes read and write: readers never see half of one and never wait for a writer, and a
//! writer that dies in the middle stops nobody.
//!
//! A slot has two copies of its value, and a count of how often it was published, whose lowest bit says which copy is the value now.
//! A writer takes the lock, fills the other copy and publishes it. Whoever finds the lock held too long takes it over: then its
//! holder is dead, or so late that it may still write into a copy that others have published meanwhile. For that case each copy has a
//! check over the count and the bytes, which tells a reader what is not whole.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, fence};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Words before the copies: the lock, and the count.
const HEADER_WORDS: usize = 2;

/// Words of a copy before its bytes: the length with 1 added, 0 for none, and the check.
const COPY_HEADER_WORDS: usize = 2;

/// How often a reader looks again: each time, somebody has published another value meanwhile.
const READER_TRIES: u32 = 1000;

/// After so long a holder of the lock is taken for dead: a write takes microseconds.
const PATIENCE: Duration = Duration::from_millis(50);

/// A slot that others write all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the value is being written all the time")]
pub struct Contended;

/// How many words a slot with this capacity takes.
pub const fn words(capacity_bytes: usize) -> usize {
    HEADER_WORDS + 2 * copy_words(capacity_bytes)
}

const fn copy_words(capacity_bytes: usize) -> usize {
    COPY_HEADER_WORDS + capacity_bytes.div_ceil(size_of::<u32>())
}

/// The parts of a slot.
struct Parts<'a> {
    lock: &'a AtomicU32,
    count: &'a AtomicU32,
    copies: [&'a [AtomicU32]; 2],
}

fn parts(slot: &[AtomicU32], capacity: usize) -> Option<Parts<'_>> {
    let [lock, count, copies @ ..] = slot else { return None };
    let (first, rest) = copies.split_at_checked(copy_words(capacity))?;
    Some(Parts { lock, count, copies: [first, rest.get(..copy_words(capacity))?] })
}

impl<'a> Parts<'a> {
    fn copy(&self, count: u32) -> &'a [AtomicU32] {
        let [even, odd] = self.copies;
        if count & 1 == 0 { even } else { odd }
    }
}

/// The check of a copy: its words in order, so that a mixture of two values is found.
fn check(seed: u32, words: impl Iterator<Item = u32>) -> u32 {
    let mixed = words.fold(u64::from(seed) ^ 0x9e37_79b9_7f4a_7c15, |sum, word| {
        (sum ^ u64::from(word)).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
    });
    (mixed ^ mixed >> 32) as u32
}

/// The value, `None` when there is none.
pub fn read(slot: &[AtomicU32], capacity: usize) -> Result<Option<Vec<u8>>, Contended> {
    let Some(parts) = parts(slot, capacity) else { return Ok(None) };
    for _ in 0..READER_TRIES {
        let count = parts.count.load(Acquire);
        if count == 0 {
            return Ok(None);
        }
        let value = load(parts.copy(count), count, capacity);
        fence(Acquire);
        match value {
            Some(value) if parts.count.load(Relaxed) == count => return Ok(value),
            _ => std::hint::spin_loop(),
        }
    }
    Err(Contended)
}

/// The value of a copy that is whole.
fn load(copy: &[AtomicU32], count: u32, capacity: usize) -> Option<Option<Vec<u8>>> {
    let [length, checked, words @ ..] = copy else { return None };
    let (stored_length, checked) = (length.load(Relaxed), checked.load(Relaxed));
    let length = (stored_length as usize).saturating_sub(1);
    if length > capacity {
        return None;
    }
    let mut bytes = Vec::with_capacity(length.next_multiple_of(size_of::<u32>()));
    bytes.extend(words.iter().take(length.div_ceil(size_of::<u32>())).flat_map(|word| word.load(Relaxed).to_le_bytes()));
    let found = bytes.chunks_exact(size_of::<u32>()).map(word_of);
    if check(count, std::iter::once(stored_length).chain(found)) != checked {
        return None;
    }
    bytes.truncate(length);
    Some((stored_length > 0).then_some(bytes))
}

fn word_of(bytes: &[u8]) -> u32 {
    let mut word = [0; size_of::<u32>()];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u32::from_le_bytes(word)
}

/// Replaces the value. A payload that is longer than the capacity is cut: callers have checked it.
pub fn write(slot: &[AtomicU32], capacity: usize, payload: Option<&[u8]>) -> Result<(), Contended> {
    let Some(parts) = parts(slot, capacity) else { return Ok(()) };
    let ticket = lock(parts.lock)?;
    let count = match parts.count.load(Relaxed).wrapping_add(1) {
        // 0 means that nothing was ever published; 2 has the same copy.
        0 => 2,
        count => count,
    };
    // Whoever sees a word of the new value then also sees that the old one is not published any more.
    fence(Release);
    if let [length, checked, words @ ..] = parts.copy(count) {
        let payload = payload.map(|bytes| bytes.get(..capacity).unwrap_or(bytes));
        let stored_length = payload.map_or(0, |bytes| bytes.len() as u32 + 1);
        let payload = payload.unwrap_or(&[]).chunks(size_of::<u32>()).map(word_of);
        length.store(stored_length, Relaxed);
        for (to, word) in words.iter().zip(payload.clone()) {
            to.store(word, Relaxed);
        }
        checked.store(check(count, std::iter::once(stored_length).chain(payload)), Relaxed);
    }
    parts.count.store(count, Release);
    // Somebody who took this writer for dead has the lock now, and gives it back.
    let _ = parts.lock.compare_exchange(ticket, ticket.wrapping_add(1), Release, Relaxed);
    Ok(())
}

/// Takes the lock: an odd number is held, each holder has its own.
fn lock(lock: &AtomicU32) -> Result<u32, Contended> {
    let began = Instant::now();
    let (mut seen, mut since) = (lock.load(Relaxed), began);
    loop {
        let ticket = if seen & 1 == 0 {
            seen.wrapping_add(1)
        } else if since.elapsed() >= PATIENCE {
            seen.wrapping_add(2)
        } else {
            std::thread::yield_now();
            let now = lock.load(Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if began.elapsed() >= 20 * PATIENCE {
                return Err(Contended);
            }
            continue;
        };
        match lock.compare_exchange(seen, ticket, Acquire, Relaxed) {
            Ok(_) => return Ok(ticket),
            Err(now) => (seen, since) = (now, Instant::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    const CAPACITY: usize = 400;

    fn slot() -> Vec<AtomicU32> {
        (0..words(CAPACITY)).map(|_| AtomicU32::new(0)).collect()
    }

    #[test]
    fn a_slot_has_no_value_then_one_then_none() {
        let slot = slot();
        assert_eq!(read(&slot, CAPACITY), Ok(None));
        for length in [0, 1, 3, 4, 5, 399, 400] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8 ^ 0x5a).collect();
            write(&slot, CAPACITY, Some(&bytes)).unwrap();
            assert_eq!(read(&slot, CAPACITY), Ok(Some(bytes)));
        }
        write(&slot, CAPACITY, None).unwrap();
        assert_eq!(read(&slot, CAPACITY), Ok(None));
    }

    #[test]
    fn a_writer_that_dies_in_the_middle_stops_nobody() {
        let slot = slot();
        write(&slot, CAPACITY, Some(&[1; 100])).unwrap();
        // It holds the lock, and has filled half of the copy that is not the value.
        slot[0].store(slot[0].load(Relaxed) | 1, Relaxed);
        for word in &slot[HEADER_WORDS..HEADER_WORDS + 40] {
            word.store(u32::MAX, Relaxed);
        }
        assert_eq!(read(&slot, CAPACITY), Ok(Some(vec![1; 100])));
        write(&slot, CAPACITY, Some(&[2; 50])).unwrap();
        assert_eq!(read(&slot, CAPACITY), Ok(Some(vec![2; 50])));
    }

    #[test]
    fn what_a_writer_of_long_ago_spoils_is_no_value() {
        let slot = slot();
        write(&slot, CAPACITY, Some(&[1; 100])).unwrap();
        let copy = HEADER_WORDS + copy_words(CAPACITY);
        slot[copy + COPY_HEADER_WORDS + 3].store(7, Relaxed);
        assert_eq!(read(&slot, CAPACITY), Err(Contended));
        slot[copy].store(u32::MAX, Relaxed);
        assert_eq!(read(&slot, CAPACITY), Err(Contended));
        write(&slot, CAPACITY, Some(&[3; 8])).unwrap();
        assert_eq!(read(&slot, CAPACITY), Ok(Some(vec![3; 8])));
    }

    #[test]
    fn readers_see_whole_values_while_several_write() {
        let (slot, done) = (slot(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for writer in 0..2u8 {
                let (slot, done) = (&slot, &done);
                scope.spawn(move || {
                    for round in 0..2000u32 {
                        let length = 1 + (round as usize * 37 + usize::from(writer)) % CAPACITY;
                        write(slot, CAPACITY, Some(&vec![round as u8 ^ writer << 7; length])).unwrap();
                    }
                    done.store(true, Relaxed);
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Relaxed) {
                        if let Ok(Some(bytes)) = read(&slot, CAPACITY) {
                            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn the_count_never_comes_back_to_nothing() {
        let slot = slot();
        slot[1].store(u32::MAX, Relaxed);
        write(&slot, CAPACITY, Some(&[9; 4])).unwrap();
        assert_eq!(read(&slot, CAPACITY), Ok(Some(vec![9; 4])));
    }
}
