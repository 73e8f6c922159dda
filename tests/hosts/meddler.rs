//! A node between the library and the embedded host, which loses and changes what goes through it.

use rustix::io::Errno;
use std::io::PipeReader;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use virgbm::guest::node::loopback::Loopback;
use virgbm::guest::node::{
    BlobCreate, ContextInit, Dumb, Execbuffer, Handles, Ioctl, Node, NodeError, Param, ResourceCreate, ResourceInfo, Transfer,
};
use virgbm::sys::mmap::Mmap;

/// What a [`Meddler`] does.
#[derive(Default)]
pub struct Meddling {
    /// Commands are lost on their way to the host.
    pub deaf: AtomicBool,
    /// Every call says that the device is gone.
    pub lost: AtomicBool,
    /// CONTEXT_INIT is refused.
    pub without_context: bool,
    /// Fences are not signalled as long as there is one here to stand for them: the host does nothing at all.
    pub stuck: Mutex<Option<PipeReader>>,
    /// A number of the capset is replaced: its offset and its value.
    pub capset: Option<(usize, u32)>,
    /// The capset is zeroes from here on.
    pub capset_end: Option<usize>,
    /// A number of each command of this length is replaced: its offset and its value.
    pub command: Option<(usize, usize, u32)>,
}

pub struct Meddler {
    pub node: Loopback,
    pub meddling: Arc<Meddling>,
}

impl Meddler {
    fn command(&self, command: &[u8]) -> Vec<u8> {
        if self.meddling.deaf.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut command = command.to_vec();
        if let Some((_, offset, value)) = self.meddling.command.filter(|(length, ..)| *length == command.len()) {
            command[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        command
    }

    fn reach(&self, ioctl: Ioctl) -> Result<&Loopback, NodeError> {
        if self.meddling.lost.load(Ordering::Relaxed) { Err(NodeError::new(ioctl, Errno::NODEV)) } else { Ok(&self.node) }
    }
}

macro_rules! forward {
    ($($ioctl:ident: $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        $(fn $name(&self, $($argument: $type),*) -> Result<$result, NodeError> {
            self.reach(Ioctl::$ioctl)?.$name($($argument),*)
        })+
    };
}

impl Node for Meddler {
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn get_caps(&self, capset_id: u32, version: u32, buffer: &mut [u8]) -> Result<(), NodeError> {
        self.reach(Ioctl::GetCaps)?.get_caps(capset_id, version, buffer)?;
        if let Some((offset, value)) = self.meddling.capset {
            buffer[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        if let Some(end) = self.meddling.capset_end {
            buffer[end..].fill(0);
        }
        Ok(())
    }

    fn context_init(&self, context: &ContextInit<'_>) -> Result<(), NodeError> {
        if self.meddling.without_context {
            return Err(NodeError::new(Ioctl::ContextInit, Errno::INVAL));
        }
        self.reach(Ioctl::ContextInit)?.context_init(context)
    }

    fn execbuffer(&self, submission: &Execbuffer<'_>) -> Result<Option<OwnedFd>, NodeError> {
        let command = self.command(submission.command);
        let fence = self.reach(Ioctl::Execbuffer)?.execbuffer(&Execbuffer { command: &command, ..*submission })?;
        let stuck = self.meddling.stuck.lock().unwrap();
        Ok(fence.map(|fence| stuck.as_ref().map_or(fence, |stuck| stuck.try_clone().unwrap().into())))
    }

    fn resource_create_blob(&self, blob: &BlobCreate<'_>) -> Result<Handles, NodeError> {
        let command = self.command(blob.command);
        self.reach(Ioctl::ResourceCreateBlob)?.resource_create_blob(&BlobCreate { command: &command, ..*blob })
    }

    forward! {
        GetParam: get_param(param: Param) -> u64;
        ResourceCreate: resource_create(resource: &ResourceCreate) -> Handles;
        CreateDumb: create_dumb(width: u32, height: u32, bits_per_pixel: u32) -> Dumb;
        ResourceInfo: resource_info(bo_handle: u32) -> ResourceInfo;
        Map: map(bo_handle: u32) -> u64;
        Mmap: mmap(offset: u64, length: u64) -> Mmap;
        TransferToHost: transfer_to_host(transfer: &Transfer) -> ();
        TransferFromHost: transfer_from_host(transfer: &Transfer) -> ();
        Wait: wait(bo_handle: u32) -> ();
        PrimeHandleToFd: prime_handle_to_fd(bo_handle: u32) -> OwnedFd;
        PrimeFdToHandle: prime_fd_to_handle(fd: BorrowedFd<'_>) -> u32;
        GemClose: gem_close(bo_handle: u32) -> ();
    }
}
