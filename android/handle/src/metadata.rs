//! [`SharedMetadata`]: what a buffer's handle has no room for, in a memfd that every holder of the handle has.
//!
//! First come the [`Constants`], which importers copy once, then the slots of what can be set, then the client's reserved region.
//! The memfd is sealed against resizing, so that nobody who maps it can be hit by SIGBUS; what it holds is anybody's word, and checked.

mod slot;

use crate::sys::words::SharedWords;
use rustix::fs::SealFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use thiserror::Error;
use virgbm::layout::MAX_PLANES;
use virgbm::sys::memfd;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use slot::Contended;

/// The longest name, a zero included: AIDL's `byte[128]`.
pub const NAME_BYTES: usize = 128;

/// The largest reserved region that a client may ask for.
pub const MAX_RESERVED_BYTES: u64 = 256 << 20;

/// "virg", and the version of what follows.
const MAGIC: u32 = u32::from_le_bytes(*b"virg");
const VERSION: u32 = 1;

/// Where the slots begin.
const SLOTS_OFFSET: usize = 256;

/// Where the reserved region begins: behind the slots, at a page of the largest size that Android has.
pub const RESERVED_OFFSET: u64 = (SLOTS_OFFSET + Slot::ALL_BYTES).next_multiple_of(16384) as u64;

/// What is written once, before the buffer is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Constants {
    magic: u32,
    version: u32,
    /// Unique across processes and restarts.
    pub id: u64,
    /// Of the reserved region, as the client asked for it.
    pub reserved_bytes: u64,
    /// From one layer of the buffer to the next.
    pub layer_stride_bytes: u64,
    /// In pixels, as the client asked for it.
    pub width: u32,
    /// In pixels, as the client asked for it.
    pub height: u32,
    /// Array layers.
    pub layers: u32,
    padding: u32,
    /// With zeros behind.
    pub name: [u8; NAME_BYTES],
}

const _: () = assert!(size_of::<Constants>() == 176 && size_of::<Constants>() <= SLOTS_OFFSET);

impl Constants {
    /// Those of a buffer of this id, size and layers; no name, nothing reserved.
    pub fn new(id: u64, (width, height): (u32, u32), layers: u32, layer_stride_bytes: u64) -> Self {
        let name = [0; NAME_BYTES];
        Self {
            magic: MAGIC,
            version: VERSION,
            id,
            reserved_bytes: 0,
            layer_stride_bytes,
            width,
            height,
            layers,
            padding: 0,
            name,
        }
    }
}

macro_rules! slots {
    ($($(#[doc = $doc:literal])+ $name:ident $bytes:expr;)+) => {
        /// What can be set, each by its payload without the header of the metadata stream.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Slot {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Slot {
            /// All of them, in the order of the memory.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The longest payload, in bytes; a multiple of 4.
            pub const fn capacity(self) -> usize {
                match self {
                    $(Self::$name => $bytes,)+
                }
            }
        }
    };
}

// A payload of dynamic metadata that VTS sets has 10,280 bytes.
slots! {
    /// A dataspace.
    Dataspace 4;
    /// A blend mode.
    BlendMode 4;
    /// A rectangle for each plane.
    Crop 16 * MAX_PLANES;
    /// Mastering display colours.
    Smpte2086 40;
    /// Content light levels.
    Cta8613 8;
    /// Dynamic metadata of SMPTE ST 2094-10.
    Smpte2094_10 16384;
    /// Dynamic metadata of SMPTE ST 2094-40.
    Smpte2094_40 16384;
    /// Dynamic metadata of SMPTE ST 2094-50.
    Smpte2094_50 16384;
}

impl Slot {
    const ALL_BYTES: usize = Self::bytes_before(Self::ALL.len());

    const fn bytes_before(index: usize) -> usize {
        let (mut bytes, mut rest, mut at) = (0, Self::ALL, 0);
        while let [first, others @ ..] = rest
            && at < index
        {
            bytes += slot::words(first.capacity()) * size_of::<u32>();
            (rest, at) = (others, at + 1);
        }
        bytes
    }

    const fn word_range(self) -> std::ops::Range<usize> {
        let start = (SLOTS_OFFSET + Self::bytes_before(self as usize)) / size_of::<u32>();
        start..start + slot::words(self.capacity())
    }
}

/// Metadata that can't be trusted or had.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum MetadataError {
    #[error("the metadata: {0}")]
    Kernel(#[from] io::Error),
    #[error(
        "the metadata's descriptor is not a memfd that is sealed against resizing: whoever shrinks it could end this process"
    )]
    NotSealed,
    #[error("metadata of {found} bytes where the handle says {needed}")]
    Size { found: u64, needed: u64 },
    #[error("magic {magic:#x} and version {version} of the metadata are not ours")]
    NotOurs { magic: u32, version: u32 },
    #[error("a reserved region of {0} bytes: at most {MAX_RESERVED_BYTES}")]
    Reserved(u64),
}

/// The memory, mapped.
#[derive(Debug)]
pub struct SharedMetadata {
    words: SharedWords,
    constants: Constants,
}

impl SharedMetadata {
    /// Makes the memory of a new buffer, and the descriptor by which others get it.
    ///
    /// # Errors
    /// [`MetadataError::Reserved`] and [`MetadataError::Kernel`].
    pub fn create(constants: &Constants) -> Result<(Self, OwnedFd), MetadataError> {
        let fd = memfd::sealed(size_bytes(constants.reserved_bytes)?)?;
        memfd::write_all(fd.as_fd(), constants.as_bytes(), 0)?;
        let metadata = Self::open(fd.as_fd(), size_bytes(constants.reserved_bytes)?)?;
        Ok((metadata, fd))
    }

    /// Maps the memory of a buffer that somebody else made, of the size that its handle says.
    ///
    /// # Errors
    /// [`MetadataError`], which says what does not hold.
    pub fn open(fd: BorrowedFd<'_>, size: u64) -> Result<Self, MetadataError> {
        let wanted = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        if !rustix::fs::fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(wanted)) {
            return Err(MetadataError::NotSealed);
        }
        let found = u64::try_from(rustix::fs::fstat(fd).map_err(io::Error::from)?.st_size).unwrap_or(0);
        if found != size || found < RESERVED_OFFSET {
            return Err(MetadataError::Size { found, needed: size.max(RESERVED_OFFSET) });
        }
        let mut constants = [0; size_of::<Constants>()];
        memfd::read_exact(fd, &mut constants, 0)?;
        let constants = Constants::read_from_bytes(&constants).unwrap_or(Constants::new(0, (0, 0), 0, 0));
        let Constants { magic, version, reserved_bytes, .. } = constants;
        if (magic, version) != (MAGIC, VERSION) {
            return Err(MetadataError::NotOurs { magic, version });
        }
        let needed = size_bytes(reserved_bytes)?;
        if needed != found {
            return Err(MetadataError::Size { found, needed });
        }
        Ok(Self { words: SharedWords::map(fd, found)?, constants })
    }

    /// What was written when the buffer was made, as it was at the import.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }

    /// The payload of a slot, `None` when it is not set. Makes no system call.
    ///
    /// # Errors
    /// [`Contended`] when others write it all the time.
    pub fn get(&self, slot: Slot) -> Result<Option<Vec<u8>>, Contended> {
        slot::read(self.slot(slot), slot.capacity())
    }

    /// Sets a slot for every holder of the buffer, or with `None` unsets it.
    ///
    /// # Errors
    /// [`Contended`] when others write it all the time.
    pub fn set(&self, slot: Slot, payload: Option<&[u8]>) -> Result<(), Contended> {
        slot::write(self.slot(slot), slot.capacity(), payload)
    }

    /// The client's region and its length in bytes; `None` where nothing is reserved.
    pub fn reserved(&self) -> Option<(*mut u8, u64)> {
        let address = self.words.address(RESERVED_OFFSET as usize)?;
        Some((address, self.constants.reserved_bytes)).filter(|(_, bytes)| *bytes > 0)
    }

    fn slot(&self, slot: Slot) -> &[std::sync::atomic::AtomicU32] {
        self.words.words().get(slot.word_range()).unwrap_or(&[])
    }
}

/// A name as it stands in shared memory: up to the first zero, as far as it is UTF-8.
pub fn name_text(name: &[u8; NAME_BYTES]) -> String {
    let bytes = name.split_last().map_or(&[][..], |(_, front)| front);
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
    String::from_utf8_lossy(bytes).into_owned()
}

/// How large the memfd is with a reserved region of so many bytes.
///
/// # Errors
/// [`MetadataError::Reserved`].
pub fn size_bytes(reserved_bytes: u64) -> Result<u64, MetadataError> {
    if reserved_bytes > MAX_RESERVED_BYTES {
        return Err(MetadataError::Reserved(reserved_bytes));
    }
    Ok(RESERVED_OFFSET + reserved_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn constants(reserved_bytes: u64) -> Constants {
        Constants { reserved_bytes, ..Constants::new(7, (64, 32), 1, 8192) }
    }

    #[test]
    fn what_one_holder_sets_the_others_see() {
        let (one, fd) = SharedMetadata::create(&constants(0)).unwrap();
        let other = SharedMetadata::open(fd.as_fd(), RESERVED_OFFSET).unwrap();
        assert_eq!(other.constants(), &constants(0));
        assert_eq!(other.get(Slot::Dataspace).unwrap(), None);
        for slot in Slot::ALL {
            let payload = vec![*slot as u8 + 1; slot.capacity()];
            one.set(*slot, Some(&payload)).unwrap();
            assert_eq!(other.get(*slot).unwrap(), Some(payload), "{slot:?}");
        }
        other.set(Slot::Smpte2086, None).unwrap();
        assert_eq!(one.get(Slot::Smpte2086).unwrap(), None);
        assert_eq!(one.get(Slot::Cta8613).unwrap(), Some(vec![5; 8]));
    }

    #[test]
    fn the_reserved_region_is_as_long_as_asked_and_shared() {
        for bytes in [1, 10, 333, 2048, 4096, 5 << 20] {
            let (one, fd) = SharedMetadata::create(&constants(bytes)).unwrap();
            let other = SharedMetadata::open(fd.as_fd(), RESERVED_OFFSET + bytes).unwrap();
            let ((first, length), (second, _)) = (one.reserved().unwrap(), other.reserved().unwrap());
            assert_eq!((length, first.addr() % 8), (bytes, 0));
            assert_ne!(first, second);
        }
        assert_eq!(SharedMetadata::create(&constants(0)).unwrap().0.reserved(), None);
        assert!(matches!(SharedMetadata::create(&constants(u64::MAX)), Err(MetadataError::Reserved(_))));
    }

    #[test]
    fn memory_that_others_could_shrink_or_that_is_not_ours_is_refused() {
        let plain = memfd_create(c"plain", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&plain, RESERVED_OFFSET).unwrap();
        assert!(matches!(SharedMetadata::open(plain.as_fd(), RESERVED_OFFSET), Err(MetadataError::NotSealed)));
        let short = memfd::sealed(4096).unwrap();
        assert!(matches!(SharedMetadata::open(short.as_fd(), 4096), Err(MetadataError::Size { found: 4096, .. })));
        assert!(matches!(SharedMetadata::open(short.as_fd(), RESERVED_OFFSET), Err(MetadataError::Size { .. })));
        let empty = memfd::sealed(RESERVED_OFFSET).unwrap();
        assert!(matches!(SharedMetadata::open(empty.as_fd(), RESERVED_OFFSET), Err(MetadataError::NotOurs { magic: 0, .. })));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(SharedMetadata::open(file.as_fd(), RESERVED_OFFSET), Err(MetadataError::NotSealed)));
        let (_, fd) = SharedMetadata::create(&constants(8)).unwrap();
        memfd::write_all(fd.as_fd(), &u64::MAX.to_ne_bytes(), 16).unwrap();
        assert!(matches!(SharedMetadata::open(fd.as_fd(), RESERVED_OFFSET + 8), Err(MetadataError::Reserved(u64::MAX))));
    }
}
