//! [`Fence`]: what a lock is given to wait for.

use std::io::{PipeWriter, Write};
use std::os::fd::{IntoRawFd, RawFd};

/// The other side of a fence, which is the reader of a pipe: it is signalled once there is something to read, and whether it is open
/// is seen here, whatever else gets its number.
pub struct Fence {
    writer: PipeWriter,
}

impl Fence {
    /// A fence, signalled or not yet, and its number, whose owner is whoever is given it.
    pub fn new(signalled: bool) -> Result<(Self, RawFd), String> {
        let (reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
        let mut fence = Self { writer };
        if signalled {
            fence.signal()?;
        }
        Ok((fence, reader.into_raw_fd()))
    }

    /// Signals it; an error where it is closed.
    pub fn signal(&mut self) -> Result<(), String> {
        self.writer.write_all(&[1]).map_err(|error| error.to_string())
    }

    /// Whether nobody has it any more.
    pub fn is_closed(&mut self) -> bool {
        self.signal().is_err()
    }
}
