//! [`QueryRing`]: the one page in which a cross-domain host answers.
//!
//! It has room for one answer and none for a status, so it is cleared before each question: what stays cleared is a refusal.

use crate::guest::error::Error;
use crate::guest::handles::{Handle, HandleTable};
use crate::guest::node::{BlobCreate, BlobFlags, BlobMem, Execbuffer, Handles, Node};
use crate::sys::mmap::Mmap;
use crate::sys::poll;
use crate::usage::Dialect;
use crate::wire::cross_domain::{
    CHANNEL_TYPE_NONE, Command, GetImageRequirements, Header, ImageRequirements, Init, InitLegacy, InitV1, QUERY_RING,
};
use crate::{BufferRequest, Format, Layout, LayoutError, Modifier, PlaneFormat, Usage};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zerocopy::{FromBytes, IntoBytes};

/// What a buffer needs, and the id under which the host makes as many as are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requirements {
    pub layout: Layout,
    pub blob_id: u32,
}

pub(super) struct QueryRing {
    node: Arc<dyn Node>,
    handle: Handle,
    map: Mmap,
    patience: Duration,
    /// Held while a question is open; the fence of one that the host has not answered in time.
    late: Mutex<Option<OwnedFd>>,
    round_trips: AtomicU64,
}

impl QueryRing {
    /// Makes the page and names it to the host, in the newest form of INIT that it answers after.
    pub fn open(node: &Arc<dyn Node>, handles: &Arc<HandleTable>, patience: Duration) -> Result<Self, Error> {
        let size = rustix::param::page_size() as u64;
        let blob = BlobCreate { mem: BlobMem::Guest, flags: BlobFlags::MAPPABLE, size, blob_id: 0, command: &[] };
        let Handles { bo_handle, resource_id } = node.resource_create_blob(&blob)?;
        let handle = handles.adopt(bo_handle);
        let map = node.mmap(node.map(handle.bo_handle())?, size)?;
        let late = Mutex::new(None);
        let ring = Self { node: node.clone(), handle, map, patience, late, round_trips: AtomicU64::new(0) };
        let (id, none) = (resource_id.into(), CHANNEL_TYPE_NONE.into());
        let header = Header::of::<Init>(Command::Init);
        let newest = Init { header, query_ring_id: id, channel_ring_id: id, channel_type: none, internal_socket_uuid: [0; 16] };
        let header = Header::of::<InitV1>(Command::Init);
        let second = InitV1 { header, query_ring_id: id, channel_ring_id: id, channel_type: none };
        let header = Header::of::<InitLegacy>(Command::Init);
        let legacy = InitLegacy { header, query_ring_id: id, channel_type: none };
        let any = BufferRequest::new(Format::XRGB8888, 16, 16, Usage::TEXTURE);
        let mut told = Err(Error::NoQueryRing);
        for init in [newest.as_bytes(), second.as_bytes(), legacy.as_bytes()] {
            ring.node.execbuffer(&Execbuffer { command: init, ..Execbuffer::default() })?;
            told = ring.ask(&any).map(drop);
            if !matches!(told, Err(Error::RefusedQuery { .. })) {
                break;
            }
        }
        match told {
            Ok(()) => Ok(ring),
            Err(Error::RefusedQuery { .. }) => Err(Error::NoQueryRing),
            Err(error) => Err(error),
        }
    }

    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Asks what a buffer needs. One question at a time: the page has room for one answer.
    pub fn ask(&self, request: &BufferRequest) -> Result<Requirements, Error> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if late.take_if(|fence| poll::wait_readable(fence.as_fd(), Duration::ZERO).is_ok()).is_none() && late.is_some() {
            return Err(Error::SilentQuery);
        }
        let query = GetImageRequirements {
            header: Header::of::<GetImageRequirements>(Command::GetImageRequirements),
            width: whole_samples(request, request.width, |plane| plane.horizontal_subsampling).into(),
            height: whole_samples(request, request.height, |plane| plane.vertical_subsampling).into(),
            drm_format: request.format.fourcc().into(),
            // The lower half of minigbm's bits: the upper has none that hosts know.
            flags: (request.usage.to_dialect(Dialect::Minigbm) as u32).into(),
        };
        let cleared = [0; size_of::<ImageRequirements>()];
        // The page is mapped whole, so the answer is inside.
        let _cleared = self.map.write(0, &cleared);
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let submission = Execbuffer {
            command: query.as_bytes(),
            bo_handles: &[self.handle.bo_handle()],
            ring_idx: Some(QUERY_RING.into()),
            out_fence: true,
            ..Execbuffer::default()
        };
        let fence = self.node.execbuffer(&submission)?.ok_or(Error::SilentQuery)?;
        if poll::wait_readable(fence.as_fd(), self.patience).is_err() {
            *late = Some(fence);
            return Err(Error::SilentQuery);
        }
        let mut bytes = cleared;
        let _read = self.map.read(0, &mut bytes);
        let answer = ImageRequirements::read_from_bytes(&bytes).unwrap_or_default();
        if answer.size.get() == 0 {
            let BufferRequest { format, width, height, usage, .. } = *request;
            return Err(Error::RefusedQuery { format, width, height, usage });
        }
        let layout = layout_of(request, &answer).map_err(|source| Error::HostLayout { source })?;
        Ok(Requirements { layout, blob_id: answer.blob_id.get() })
    }
}

/// A side with every sample of chroma whole: hosts are known to round a half one away.
fn whole_samples(request: &BufferRequest, side: u32, subsampling: impl Fn(&PlaneFormat) -> u8) -> u32 {
    let largest = request.format.planes().iter().map(subsampling).max().unwrap_or(1);
    side.checked_next_multiple_of(largest.into()).unwrap_or(side)
}

/// The layout in an answer, which ends with the first plane that has no stride.
fn layout_of(request: &BufferRequest, answer: &ImageRequirements) -> Result<Layout, LayoutError> {
    let places = answer.strides.iter().zip(answer.offsets).map(|(stride, offset)| (stride.get(), offset.get().into()));
    let planes: Vec<_> = places.take_while(|(stride, _)| *stride != 0).collect();
    let (size, modifier) = ((request.width, request.height), Modifier::new(answer.modifier.get()));
    Layout::reported(request.format, size, modifier, &planes, answer.size.get())
}
