//! Waiting for a descriptor, with a bound.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Waits until a descriptor can be read, as a sync_file can when its fence is signalled.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when that takes longer; those of poll(2); EINVAL for what can't be polled.
pub fn wait_readable(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let left = patience.saturating_sub(start.elapsed());
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) if fds.iter().any(|fd| fd.revents().contains(PollFlags::IN)) => return Ok(()),
            Ok(_) => return Err(Errno::INVAL.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_becomes_readable_ends_the_wait_and_silence_does_too() {
        let (reader, writer) = std::io::pipe().unwrap();
        let silent = wait_readable(reader.as_fd(), Duration::from_millis(1)).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        rustix::io::write(&writer, b"x").unwrap();
        wait_readable(reader.as_fd(), Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn a_descriptor_without_anything_to_wait_for_is_an_error() {
        let (_, writer) = std::io::pipe().unwrap();
        assert!(wait_readable(writer.as_fd(), Duration::from_secs(60)).is_err());
    }
}
