//! [`Unclaimed`]: what a context of virgl has made for blobs to claim. The library tells of a blob neither whether it is a buffer nor how
//! many layers it has, and gives GL's name of a buffer where it has one of textures: only the stream that made it says what it is.

use super::resource::is_flat;
use crate::wire::virgl::{Command, PipeResourceCreate, frames};
use std::collections::VecDeque;
use zerocopy::FromBytes;

/// How many are remembered. Drivers claim what they make at once.
const REMEMBERED: usize = 1024;

/// In the order in which they were made, as the library looks for them.
#[derive(Default)]
pub struct Unclaimed {
    /// The blob id, and whether it is a flat texture.
    made: VecDeque<(u32, bool)>,
    /// What the library has is not known any more, so nothing is a texture from now on.
    lost: bool,
}

impl Unclaimed {
    /// Notes what a stream makes, once the library has executed that; one that it refused was executed nobody knows how far.
    pub fn executed(&mut self, stream: &[u8], whole: bool) {
        for frame in frames(stream).map_while(Result::ok) {
            if Command::from_number(frame.header.opcode.into()) != Some(Command::PipeResourceCreate) {
                continue;
            }
            match PipeResourceCreate::read_from_bytes(frame.body) {
                Ok(create) if whole && self.made.len() < REMEMBERED => {
                    self.made.push_back((create.blob_id.get(), is_flat(&create)));
                }
                _ => self.lost = true,
            }
        }
    }

    /// Takes what the library gives a blob of this id, and says whether it is a flat texture. The library looks at half of an id.
    pub fn claim(&mut self, blob_id: u64) -> Option<bool> {
        let at = self.made.iter().position(|(id, _)| *id == blob_id as u32)?;
        self.made.remove(at).map(|(_, is_flat)| is_flat && !self.lost)
    }

    /// A claim went wrong, and perhaps the library has it still.
    pub fn lose(&mut self) {
        self.lost = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::virgl::CommandHeader;
    use crate::wire::virtio_gpu::{TARGET_BUFFER, TARGET_TEXTURE_2D};
    use zerocopy::IntoBytes;

    fn create(blob_id: u32, target: u32, array_size: u32, nr_samples: u32) -> Vec<u8> {
        let (target, blob_id, array_size, nr_samples) = (target.into(), blob_id.into(), array_size.into(), nr_samples.into());
        let create = PipeResourceCreate { target, blob_id, array_size, nr_samples, ..PipeResourceCreate::default() };
        let header = CommandHeader::new(Command::PipeResourceCreate, size_of::<PipeResourceCreate>());
        [header.as_bytes(), create.as_bytes()].concat()
    }

    #[test]
    fn only_flat_textures_are_textures() {
        let mut unclaimed = Unclaimed::default();
        let made = [(TARGET_BUFFER, 1, 0), (TARGET_TEXTURE_2D, 1, 0), (TARGET_TEXTURE_2D, 2, 0), (TARGET_TEXTURE_2D, 1, 4)];
        for (blob_id, (target, array_size, nr_samples)) in (1..).zip(made) {
            unclaimed.executed(&create(blob_id, target, array_size, nr_samples), true);
        }
        assert_eq!([1, 2, 3, 4, 5].map(|id| unclaimed.claim(id)), [Some(false), Some(true), Some(false), Some(false), None]);
        assert_eq!(unclaimed.claim(2), None, "it is claimed once");
    }

    #[test]
    fn of_two_with_one_id_the_first_is_claimed_first_also_by_an_id_that_is_the_same_in_half() {
        let mut unclaimed = Unclaimed::default();
        unclaimed.executed(&[create(7, TARGET_BUFFER, 1, 0), create(7, TARGET_TEXTURE_2D, 1, 0)].concat(), true);
        assert_eq!([unclaimed.claim(7 | 1 << 32), unclaimed.claim(7)], [Some(false), Some(true)]);
    }

    #[test]
    fn nothing_is_a_texture_after_a_stream_that_was_refused() {
        let mut unclaimed = Unclaimed::default();
        unclaimed.executed(&create(1, TARGET_TEXTURE_2D, 1, 0), true);
        unclaimed.executed(&create(2, TARGET_BUFFER, 1, 0), false);
        unclaimed.executed(&create(2, TARGET_TEXTURE_2D, 1, 0), true);
        assert_eq!([1, 2].map(|id| unclaimed.claim(id)), [Some(false); 2]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut unclaimed = Unclaimed::default();
        for blob_id in 0..2 * REMEMBERED as u32 {
            unclaimed.executed(&create(blob_id, TARGET_TEXTURE_2D, 1, 0), true);
        }
        assert_eq!((unclaimed.made.len(), unclaimed.claim(0)), (REMEMBERED, Some(false)));
    }
}
