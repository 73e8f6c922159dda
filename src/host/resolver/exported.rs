//! [`Exported`]: driver memory that left as a dma-buf, and is looked at through it.

use super::{Export, ExportKind, ResolveError, Shown, Window, foreign};
use crate::sys::{dmabuf, mmap::Mmap};
use rustix::fs::fstat;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A dma-buf of one image, and nothing else.
pub struct Exported {
    fd: OwnedFd,
    size_bytes: u64,
    map: Option<Mmap>,
}

fn lie(why: String) -> ResolveError {
    ResolveError::Driver(io::Error::other(why))
}

impl Exported {
    /// Takes the descriptors that a driver gives for the planes of one image: each must be a dma-buf, and all the same.
    ///
    /// # Errors
    /// [`ResolveError::Driver`] for what a driver should not have given.
    pub fn new(fds: impl IntoIterator<Item = OwnedFd>) -> Result<Self, ResolveError> {
        let mut fds = fds.into_iter();
        let fd = fds.next().ok_or_else(|| lie("it exports no descriptor".to_owned()))?;
        let size_bytes = foreign::dma_buf_bytes(fd.as_fd()).map_err(|refused| lie(format!("what it exports: {refused}")))?;
        let identity =
            |fd: &OwnedFd| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).map_err(|errno| ResolveError::Driver(errno.into()));
        let first = identity(&fd)?;
        for other in fds {
            if identity(&other)? != first {
                return Err(lie("its planes are in several dma-bufs".to_owned()));
            }
        }
        Ok(Self { fd, size_bytes, map: None })
    }

    /// The same, mapped.
    ///
    /// # Errors
    /// The exporter's, which may refuse to be mapped.
    pub fn mapped(self) -> io::Result<Self> {
        let map = Mmap::shared(self.fd.as_fd(), 0, self.size_bytes, None)?;
        Ok(Self { map: Some(map), ..self })
    }

    /// Its size in bytes.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether the CPU sees it.
    pub const fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// The descriptor.
    pub const fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Does `access` between the exporter's brackets.
    fn access(&self, access: impl FnOnce(&Mmap) -> Option<()>) -> io::Result<()> {
        let map = self.map.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "its dma-buf is not mapped"))?;
        dmabuf::sync(self.fd.as_fd(), false)?;
        let done = access(map);
        dmabuf::sync(self.fd.as_fd(), true)?;
        done.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Fills `buffer` from byte `offset`.
    ///
    /// # Errors
    /// A range outside of it, and the exporter's.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.access(|map| map.read(usize::try_from(offset).ok()?, buffer))
    }

    /// Writes `data` at byte `offset`.
    ///
    /// # Errors
    /// A range outside of it, and the exporter's.
    pub fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.access(|map| map.write(usize::try_from(offset).ok()?, data))
    }

    /// Takes away what was in the memory.
    ///
    /// # Errors
    /// The exporter's.
    pub fn zero(&self) -> io::Result<()> {
        const ZEROES: [u8; 16_384] = [0; 16_384];
        self.access(|map| {
            let mut at = 0;
            while at < map.len() {
                let length = ZEROES.len().min(map.len() - at);
                map.write(at, ZEROES.get(..length)?)?;
                at += length;
            }
            Some(())
        })
    }

    /// Makes it appear in the window.
    ///
    /// # Errors
    /// The window's.
    pub fn show(&self, window: &dyn Window, offset: u64) -> io::Result<Shown> {
        window.map(offset, self.size_bytes, self.fd.as_fd(), 0)?;
        Ok(Shown::Mapped)
    }

    /// A descriptor of its own.
    ///
    /// # Errors
    /// The kernel's.
    pub fn export(&self) -> io::Result<Export> {
        Ok(Export { fd: self.fd.try_clone()?, kind: ExportKind::DmaBuf })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memfd;

    #[test]
    fn a_descriptor_that_is_no_dma_buf_is_not_believed() {
        let memfd = memfd::sealed(4096).unwrap();
        let refused = Exported::new([memfd]).err().unwrap();
        assert!(refused.to_string().contains("it is no dma-buf"), "{refused}");
        assert!(Exported::new([]).is_err());
    }

    #[test]
    fn one_dma_buf_is_read_and_written_where_udmabuf_is() {
        let Ok(udmabuf) = crate::sys::udmabuf::Udmabuf::open() else {
            eprintln!("skipped: no udmabuf here");
            return;
        };
        let pages = [memfd::sealed(8192).unwrap(), memfd::sealed(8192).unwrap()];
        let exported = |index: usize| udmabuf.create(pages[index].as_fd(), 0, 8192).unwrap();
        let one = exported(0);
        let again = one.try_clone().unwrap();
        let image = Exported::new([one, again]).unwrap();
        assert!((image.size_bytes(), image.is_mapped()) == (8192, false) && image.read(0, &mut [0]).is_err());
        let image = image.mapped().unwrap();
        image.write(8191, &[7]).unwrap();
        let mut seen = [0; 2];
        image.read(8190, &mut seen).unwrap();
        assert!(seen == [0, 7] && image.read(8191, &mut seen).is_err() && image.write(u64::MAX, &[0]).is_err());
        image.zero().unwrap();
        image.read(8190, &mut seen).unwrap();
        assert_eq!(seen, [0; 2]);
        let two = Exported::new([exported(0), exported(1)]).err().unwrap();
        assert!(two.to_string().contains("several"), "{two}");
    }
}
