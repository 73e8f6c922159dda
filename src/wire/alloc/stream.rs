//! Commands one after the other: writing them, and taking them apart without trust.

use super::{Header, MAX_STREAM_BYTES, NO_REPLY, Opcode};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Commands to submit.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
}

impl Stream {
    /// No command yet; room for the few that an allocation needs.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(256) }
    }

    /// Appends a command whose body is these parts one after the other, each padded to a multiple of 8 bytes.
    pub fn push(&mut self, opcode: Opcode, flags: u16, sequence: u32, reply_slot: u32, parts: &[&[u8]]) {
        let body: usize = parts.iter().map(|part| part.len().next_multiple_of(8)).sum();
        let header = Header {
            opcode: (opcode.number() as u16).into(),
            flags: flags.into(),
            size: ((size_of::<Header>() + body) as u32).into(),
            sequence: sequence.into(),
            reply_slot: reply_slot.into(),
        };
        self.bytes.extend_from_slice(header.as_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
            self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        }
    }

    /// The commands as they are submitted.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is no command.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// One command of a submission.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// Its body, a multiple of 8 bytes.
    pub body: &'a [u8],
}

/// A submission whose commands can't be told apart; nothing of it is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum StreamError {
    #[error("{0} bytes, at most {MAX_STREAM_BYTES} are taken")]
    TooLong(usize),
    #[error("{left} bytes at byte {at} are no header")]
    Truncated { at: usize, left: usize },
    #[error("the command at byte {at} says it has {size} bytes, {left} are left")]
    Size { at: usize, size: u32, left: usize },
    #[error("the command at byte {at} names slot {slot}, the ring has {slots}")]
    Slot { at: usize, slot: u32, slots: u32 },
}

/// The commands of a submission, after all of its headers were checked against a ring of `slots` reply slots.
///
/// # Errors
/// The first [`StreamError`]; then no command may be executed.
pub fn frames(bytes: &[u8], slots: u32) -> Result<impl Iterator<Item = Frame<'_>>, StreamError> {
    if bytes.len() > MAX_STREAM_BYTES {
        return Err(StreamError::TooLong(bytes.len()));
    }
    let mut at = 0;
    while let Some(frame) = next_frame(bytes, at)? {
        let slot = frame.header.reply_slot.get();
        if slot != NO_REPLY && slot >= slots {
            return Err(StreamError::Slot { at, slot, slots });
        }
        at += size_of::<Header>() + frame.body.len();
    }
    let mut at = 0;
    Ok(std::iter::from_fn(move || {
        let frame = next_frame(bytes, at).ok().flatten()?;
        at += size_of::<Header>() + frame.body.len();
        Some(frame)
    }))
}

fn next_frame(bytes: &[u8], at: usize) -> Result<Option<Frame<'_>>, StreamError> {
    let rest = bytes.get(at..).unwrap_or(&[]);
    if rest.is_empty() {
        return Ok(None);
    }
    let truncated = StreamError::Truncated { at, left: rest.len() };
    let (header, _) = Header::read_from_prefix(rest).map_err(|_| truncated)?;
    let size = header.size.get();
    let wrong = StreamError::Size { at, size, left: rest.len() };
    if !size.is_multiple_of(8) {
        return Err(wrong);
    }
    let body = rest.get(size_of::<Header>()..size as usize).ok_or(wrong)?;
    Ok(Some(Frame { header, body }))
}

/// The structure at the start of a body and what follows it, `None` when the body is shorter.
pub fn split_body<T: FromBytes + Copy>(body: &[u8]) -> Option<(T, &[u8])> {
    T::read_from_prefix(body).ok()
}

/// The list of `count` items at the start of `rest` and what follows it, padding to 8 bytes left out. `None` when the count is above
/// `most` or the items are not there: nothing is reserved by a foreign number.
pub fn split_list<T>(rest: &[u8], count: u32, most: u32) -> Option<(&[T], &[u8])>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    if count > most {
        return None;
    }
    let (list, _) = <[T]>::ref_from_prefix_with_elems(rest, count as usize).ok()?;
    let rest = rest.get((count as usize * size_of::<T>()).next_multiple_of(8)..)?;
    Some((list, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::little_endian::{U32, U64};

    fn two_commands() -> Stream {
        let mut stream = Stream::new();
        stream.push(Opcode::Free, 0, 1, 0, &[&[1; 8]]);
        stream.push(Opcode::SetName, 0, 2, 1, &[&[2; 16], b"abc"]);
        stream
    }

    fn error(bytes: &[u8], slots: u32) -> StreamError {
        frames(bytes, slots).err().unwrap()
    }

    #[test]
    fn what_was_pushed_comes_apart_again_padded() {
        let stream = two_commands();
        let bodies: Vec<_> = frames(stream.as_bytes(), 2).unwrap().map(|frame| frame.body.to_vec()).collect();
        assert_eq!(bodies, [vec![1; 8], [vec![2; 16], b"abc\0\0\0\0\0".to_vec()].concat()]);
    }

    #[test]
    fn a_stream_cut_anywhere_is_refused_whole() {
        let stream = two_commands();
        for length in (1..stream.as_bytes().len()).filter(|length| *length != 24) {
            assert!(frames(&stream.as_bytes()[..length], 2).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn sizes_that_lie_are_refused() {
        for size in [0u32, 8, 15, 17, 20, 32, u32::MAX] {
            let mut bytes = two_commands().as_bytes()[..24].to_vec();
            bytes[4..8].copy_from_slice(&size.to_le_bytes());
            assert_eq!(error(&bytes, 2), StreamError::Size { at: 0, size, left: 24 });
        }
    }

    #[test]
    fn slots_outside_the_ring_and_streams_too_long_are_refused() {
        assert_eq!(error(two_commands().as_bytes(), 1), StreamError::Slot { at: 24, slot: 1, slots: 1 });
        assert_eq!(error(&vec![0; MAX_STREAM_BYTES + 8], 1), StreamError::TooLong(MAX_STREAM_BYTES + 8));
    }

    #[test]
    fn lists_are_bounded_by_their_limit_and_by_the_bytes_that_are_there() {
        let bytes = [0u8; 24];
        assert_eq!(split_list::<U64>(&bytes, 3, 3).unwrap().0.len(), 3);
        assert!(split_list::<U64>(&bytes, 4, 8).is_none());
        assert!(split_list::<U64>(&bytes, 3, 2).is_none());
        assert!(split_list::<U64>(&bytes, u32::MAX, u32::MAX).is_none());
        assert_eq!(split_list::<U32>(&bytes, 3, 8).unwrap().1.len(), 8, "12 bytes are padded to 16");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256), slots: u32) {
            if let Ok(frames) = frames(&bytes, slots) {
                let total: usize = frames.map(|frame| size_of::<Header>() + frame.body.len()).sum();
                prop_assert_eq!(total, bytes.len());
            }
        }

        #[test]
        fn any_commands_come_back(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..8)) {
            let mut stream = Stream::new();
            for (sequence, body) in bodies.iter().enumerate() {
                stream.push(Opcode::Import, 3, sequence as u32, 0, &[body]);
            }
            let back: Vec<_> = frames(stream.as_bytes(), 1).unwrap().collect();
            prop_assert_eq!(back.len(), bodies.len());
            for (frame, body) in back.iter().zip(&bodies) {
                prop_assert_eq!(&frame.body[..body.len()], &body[..]);
                prop_assert!(frame.body.len() - body.len() < 8);
            }
        }
    }
}
