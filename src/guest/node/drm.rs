//! [`DrmNode`]: a device node of the Linux driver.

use super::{
    BlobCreate, ContextInit, Dumb, Execbuffer, Handles, Ioctl, Node, NodeError, Param, ResourceCreate, ResourceInfo, Transfer,
};
use crate::sys::mmap::Mmap;
use crate::sys::virtgpu;
use drm::Device as _;
use drm::buffer::{Buffer, Handle};
use drm::control::Device as _;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The name by which the driver knows itself (`drmGetVersion`).
const DRIVER_NAME: &str = "virtio_gpu";

/// `PIPE_TEXTURE_2D` and friends are flat: one layer, one level, one sample.
const FLAT: u32 = 1;

/// A node that can't be opened.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum OpenError {
    #[error("{}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("the descriptor: {0}")]
    Descriptor(#[source] io::Error),
    #[error("no node of {DRIVER_NAME} in {folder}: {}", seen.join("; "))]
    NoneFound { folder: String, seen: Vec<String> },
    #[error("{what} is no DRM node: {source}")]
    NotDrm { what: String, source: io::Error },
    #[error("{what} is a node of the driver {driver}, not of {DRIVER_NAME}")]
    OtherDriver { what: String, driver: String },
}

/// An open node, `/dev/dri/renderD*` or `/dev/dri/card*`.
#[derive(Debug)]
pub struct DrmNode(OwnedFd);

impl AsFd for DrmNode {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for DrmNode {}
impl drm::control::Device for DrmNode {}

impl DrmNode {
    /// Opens the node at a path.
    ///
    /// # Errors
    /// [`OpenError`], which says whether it can't be opened, is no DRM node, or is another driver's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let open = OpenOptions::new().read(true).write(true).open(path);
        let file: File = open.map_err(|source| OpenError::Open { path: path.to_owned(), source })?;
        Self::checked(file.into(), path.display().to_string())
    }

    /// Opens the first node of the driver that can be opened: render nodes first, by number.
    ///
    /// # Errors
    /// [`OpenError::NoneFound`], which says of each node why it is not taken.
    pub fn open_first() -> Result<Self, OpenError> {
        Self::open_first_in(Path::new("/dev/dri"))
    }

    fn open_first_in(folder: &Path) -> Result<Self, OpenError> {
        let none = |seen| OpenError::NoneFound { folder: folder.display().to_string(), seen };
        let entries = std::fs::read_dir(folder).map_err(|error| none(vec![error.to_string()]))?;
        let mut nodes: Vec<_> = entries.flatten().filter_map(|entry| Some((rank(&entry.file_name())?, entry.path()))).collect();
        nodes.sort();
        let mut seen = Vec::new();
        for (_, path) in nodes {
            match Self::open(&path) {
                Ok(node) => return Ok(node),
                Err(error) => seen.push(error.to_string()),
            }
        }
        if seen.is_empty() {
            seen.push("there is none at all".to_owned());
        }
        Err(none(seen))
    }

    /// Shares a node that the caller has open and keeps: both are the same open file, with the same handles and the same context.
    ///
    /// # Errors
    /// [`OpenError::Descriptor`] for one that is closed, else as [`from_fd`](Self::from_fd).
    pub fn from_borrowed_fd(fd: BorrowedFd<'_>) -> Result<Self, OpenError> {
        Self::from_fd(rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|errno| OpenError::Descriptor(errno.into()))?)
    }

    /// Takes a node that is open already.
    ///
    /// # Errors
    /// [`OpenError`], which says whether it is no DRM node, or is another driver's.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, OpenError> {
        Self::checked(fd, "the descriptor".to_owned())
    }

    fn checked(fd: OwnedFd, what: String) -> Result<Self, OpenError> {
        let node = Self(fd);
        let driver = match node.get_driver() {
            Ok(driver) => driver.name().to_string_lossy().into_owned(),
            Err(source) => return Err(OpenError::NotDrm { what, source }),
        };
        if driver != DRIVER_NAME {
            return Err(OpenError::OtherDriver { what, driver });
        }
        Ok(node)
    }
}

/// Where a node of this name comes in a search; `None` for what is no node.
fn rank(name: &OsStr) -> Option<(u8, u32)> {
    let name = name.to_str()?;
    let numbered = |prefix| name.strip_prefix(prefix)?.parse().ok();
    numbered("renderD").map(|number| (0, number)).or_else(|| numbered("card").map(|number| (1, number)))
}

fn failed(ioctl: Ioctl) -> impl FnOnce(io::Error) -> NodeError {
    move |source| NodeError { ioctl, source }
}

fn handle(bo_handle: u32, ioctl: Ioctl) -> Result<Handle, NodeError> {
    drm::control::from_u32(bo_handle).ok_or_else(|| NodeError::new(ioctl, Errno::NOENT))
}

impl Node for DrmNode {
    fn file(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn get_param(&self, param: Param) -> Result<u64, NodeError> {
        virtgpu::get_param(self.as_fd(), param as u64).map_err(failed(Ioctl::GetParam))
    }

    fn get_caps(&self, capset_id: u32, version: u32, buffer: &mut [u8]) -> Result<(), NodeError> {
        virtgpu::get_caps(self.as_fd(), capset_id, version, buffer).map_err(failed(Ioctl::GetCaps))
    }

    fn context_init(&self, context: &ContextInit<'_>) -> Result<(), NodeError> {
        let named = !context.debug_name.is_empty() && matches!(self.get_param(Param::ExplicitDebugName), Ok(1));
        let name = named.then_some(context.debug_name);
        virtgpu::context_init(self.as_fd(), context.capset_id, context.num_rings, name).map_err(failed(Ioctl::ContextInit))
    }

    fn execbuffer(&self, submission: &Execbuffer<'_>) -> Result<Option<OwnedFd>, NodeError> {
        virtgpu::execbuffer(self.as_fd(), submission).map_err(failed(Ioctl::Execbuffer))
    }

    fn resource_create(&self, resource: &ResourceCreate) -> Result<Handles, NodeError> {
        let ResourceCreate { target, format, bind, width, height, size } = *resource;
        let flat = virtgpu::ResourceCreate { depth: FLAT, array_size: FLAT, ..virtgpu::ResourceCreate::default() };
        let mut argument = virtgpu::ResourceCreate { target, format, bind, width, height, size, ..flat };
        virtgpu::resource_create(self.as_fd(), &mut argument).map_err(failed(Ioctl::ResourceCreate))?;
        Ok(Handles { bo_handle: argument.bo_handle, resource_id: argument.res_handle })
    }

    fn resource_create_blob(&self, blob: &BlobCreate<'_>) -> Result<Handles, NodeError> {
        let mut argument = virtgpu::ResourceCreateBlob {
            blob_mem: blob.mem as u32,
            blob_flags: blob.flags.bits(),
            size: blob.size,
            blob_id: blob.blob_id,
            ..virtgpu::ResourceCreateBlob::default()
        };
        virtgpu::resource_create_blob(self.as_fd(), &mut argument, blob.command).map_err(failed(Ioctl::ResourceCreateBlob))?;
        Ok(Handles { bo_handle: argument.bo_handle, resource_id: argument.res_handle })
    }

    fn create_dumb(&self, width: u32, height: u32, bits_per_pixel: u32) -> Result<Dumb, NodeError> {
        // The format is a name for the crate only: the kernel is told the bits.
        let format = drm::buffer::DrmFourcc::Xrgb8888;
        let dumb = self.create_dumb_buffer((width, height), format, bits_per_pixel).map_err(failed(Ioctl::CreateDumb))?;
        let size = u64::from(dumb.pitch()) * u64::from(height);
        Ok(Dumb { bo_handle: dumb.handle().into(), stride_bytes: dumb.pitch(), size })
    }

    fn resource_info(&self, bo_handle: u32) -> Result<ResourceInfo, NodeError> {
        let mut argument = virtgpu::ResourceInfo { bo_handle, ..virtgpu::ResourceInfo::default() };
        virtgpu::resource_info(self.as_fd(), &mut argument).map_err(failed(Ioctl::ResourceInfo))?;
        let virtgpu::ResourceInfo { res_handle: resource_id, size, blob_mem, .. } = argument;
        Ok(ResourceInfo { resource_id, size, blob_mem })
    }

    fn map(&self, bo_handle: u32) -> Result<u64, NodeError> {
        let mut argument = virtgpu::Map { handle: bo_handle, ..virtgpu::Map::default() };
        virtgpu::map(self.as_fd(), &mut argument).map_err(failed(Ioctl::Map))?;
        Ok(argument.offset)
    }

    fn mmap(&self, offset: u64, length: u64) -> Result<Mmap, NodeError> {
        Mmap::shared(self.as_fd(), offset, length, None).map_err(failed(Ioctl::Mmap))
    }

    fn transfer_to_host(&self, transfer: &Transfer) -> Result<(), NodeError> {
        let Transfer { bo_handle, x, y, width: w, height: h, offset, stride, level } = *transfer;
        let flat = virtgpu::TransferToHost { d: FLAT, ..virtgpu::TransferToHost::default() };
        let mut argument = virtgpu::TransferToHost { bo_handle, x, y, w, h, offset, stride, level, ..flat };
        virtgpu::transfer_to_host(self.as_fd(), &mut argument).map_err(failed(Ioctl::TransferToHost))
    }

    fn transfer_from_host(&self, transfer: &Transfer) -> Result<(), NodeError> {
        let Transfer { bo_handle, x, y, width: w, height: h, offset, stride, level } = *transfer;
        let flat = virtgpu::TransferFromHost { d: FLAT, ..virtgpu::TransferFromHost::default() };
        let mut argument = virtgpu::TransferFromHost { bo_handle, x, y, w, h, offset, stride, level, ..flat };
        virtgpu::transfer_from_host(self.as_fd(), &mut argument).map_err(failed(Ioctl::TransferFromHost))
    }

    fn wait(&self, bo_handle: u32) -> Result<(), NodeError> {
        let mut argument = virtgpu::Wait { handle: bo_handle, flags: 0 };
        virtgpu::wait(self.as_fd(), &mut argument).map_err(failed(Ioctl::Wait))
    }

    fn prime_handle_to_fd(&self, bo_handle: u32) -> Result<OwnedFd, NodeError> {
        let handle = handle(bo_handle, Ioctl::PrimeHandleToFd)?;
        self.buffer_to_prime_fd(handle, drm::CLOEXEC | drm::RDWR).map_err(failed(Ioctl::PrimeHandleToFd))
    }

    fn prime_fd_to_handle(&self, fd: BorrowedFd<'_>) -> Result<u32, NodeError> {
        self.prime_fd_to_buffer(fd).map(u32::from).map_err(failed(Ioctl::PrimeFdToHandle))
    }

    fn gem_close(&self, bo_handle: u32) -> Result<(), NodeError> {
        self.close_buffer(handle(bo_handle, Ioctl::GemClose)?).map_err(failed(Ioctl::GemClose))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_drm_node_is_named() {
        let error = DrmNode::open("/dev/null").unwrap_err();
        assert!(error.to_string().starts_with("/dev/null is no DRM node"), "{error}");
        assert!(matches!(DrmNode::open("/nonexistent"), Err(OpenError::Open { .. })));
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(DrmNode::from_borrowed_fd(file.as_fd()), Err(OpenError::NotDrm { .. })));
        assert!(matches!(DrmNode::from_fd(file.into()), Err(OpenError::NotDrm { .. })));
    }

    #[test]
    fn a_search_says_why_it_takes_no_node() {
        let folder = tempfile::tempdir().unwrap();
        let search = || DrmNode::open_first_in(folder.path()).unwrap_err().to_string();
        assert!(search().ends_with("there is none at all"));
        for name in ["card0", "renderD128", "by-path", "controlD64"] {
            std::fs::write(folder.path().join(name), []).unwrap();
        }
        let text = search();
        let (render, card) = (text.find("renderD128 is no DRM node").unwrap(), text.find("card0 is no DRM node").unwrap());
        assert!(render < card && !text.contains("by-path"), "{text}");
        assert!(DrmNode::open_first_in(Path::new("/nonexistent")).is_err());
    }
}
