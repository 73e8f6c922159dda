//! [`Device`]: the command processor of one virtio-gpu device.

mod mapping;
pub mod view;

use super::capsets::Capsets;
use super::config::{DeviceConfig, Features, Protocols};
use super::control::{self, Request, State};
use super::dma_buf::GuestPages;
use super::fence::Fence;
use super::quota::{Account, Amount};
use super::ranges::Ranges;
use super::renderer::{Renderer, Taken, Timeline, draws_virgl};
use super::resolver::{Resolver, Resolvers};
use super::scanout::Scanouts;
use super::window::Window;
use super::{CommandError, GuestMemory};
use crate::Offer;
use crate::wire::alloc::Capabilities;
use crate::wire::virtio_gpu::{self as wire, Command, CtrlHdr, Reply};
use mapping::WINDOW_PAGE_BYTES;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use zerocopy::IntoBytes;

/// How long [`Device::execute`] waits for a fence of the renderer.
const FENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// A device that can't be set up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum DeviceError {
    #[error("capset id {0} is not free: choose one from 10 to 31")]
    CapsetId(u32),
    #[error("blob alignment {0} is not a power of two of at least 4096")]
    BlobAlignment(u32),
    #[error("both the device and its renderer would speak virgl")]
    TwoVirgls,
    #[error("another device has the renderer")]
    RendererTaken,
    #[error("resource {0} does not exist")]
    UnknownResource(u32),
    #[error("screen {0} shows nothing")]
    Dark(usize),
    #[error("resource {resource_id}: {why}")]
    Unreadable { resource_id: u32, why: String },
}

/// What a device holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Contexts.
    pub contexts: usize,
    /// Objects that no blob has claimed.
    pub objects: usize,
    /// Resources.
    pub resources: usize,
    /// Blobs in the window.
    pub mappings: usize,
    /// Pairs of a context and an attached resource.
    pub attachments: usize,
    /// Bytes, objects and descriptors as the quota counts them.
    pub held: Amount,
    /// Commands taken.
    pub commands: u64,
    /// Commands refused.
    pub errors: u64,
}

/// One virtio-gpu device. Commands may come from several threads; they are executed one after the other.
pub struct Device {
    state: Mutex<State>,
    /// Held across calls to the window, which may be slow, and never while another lock is taken by the VMM's callbacks.
    window_order: Mutex<()>,
    memory: Arc<dyn GuestMemory>,
    window: Arc<dyn Window>,
    guest_pages: Arc<GuestPages>,
    features: Features,
    /// The renderer is its own.
    _taken: Option<Taken>,
    commands: AtomicU64,
    errors: AtomicU64,
}

impl Device {
    /// A device that allocates with these resolvers, the preferred one first.
    ///
    /// # Errors
    /// [`DeviceError`] for a configuration that a guest could not use.
    pub fn new(
        config: DeviceConfig,
        resolvers: Vec<Box<dyn Resolver>>,
        memory: Arc<dyn GuestMemory>,
        window: Arc<dyn Window>,
    ) -> Result<Self, DeviceError> {
        Self::with_renderer(config, resolvers, None, memory, window)
    }

    /// The same, with contexts that a renderer draws for.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`DeviceError::TwoVirgls`] where the device shall speak virgl itself, and
    /// [`DeviceError::RendererTaken`] while another device lives that has the renderer.
    pub fn with_renderer(
        config: DeviceConfig,
        resolvers: Vec<Box<dyn Resolver>>,
        renderer: Option<Arc<dyn Renderer>>,
        memory: Arc<dyn GuestMemory>,
        window: Arc<dyn Window>,
    ) -> Result<Self, DeviceError> {
        if renderer.as_deref().is_some_and(draws_virgl) && config.protocols.contains(Protocols::VIRGL) {
            return Err(DeviceError::TwoVirgls);
        }
        if !(10..32).contains(&config.capset_id) {
            return Err(DeviceError::CapsetId(config.capset_id));
        }
        if !config.blob_alignment.is_power_of_two() || u64::from(config.blob_alignment) < WINDOW_PAGE_BYTES {
            return Err(DeviceError::BlobAlignment(config.blob_alignment));
        }
        let taken = renderer.as_ref().map(|renderer| renderer.take().ok_or(DeviceError::RendererTaken)).transpose()?;
        let resolvers = Resolvers::new(resolvers);
        let mut capabilities = resolvers.capabilities();
        capabilities.set(Capabilities::HOST_VISIBLE, window.size_bytes() > 0);
        capabilities.set(Capabilities::VIRGL_DRAWS, renderer.as_deref().is_some_and(draws_virgl));
        let offer = Offer {
            capabilities,
            table: resolvers.table().clone(),
            blob_alignment: config.blob_alignment,
            context_bytes: config.quota.context.bytes,
            context_objects: u32::try_from(config.quota.context.objects).unwrap_or(u32::MAX),
        };
        let guest_pages = Arc::<GuestPages>::default();
        let state = State {
            config,
            guest_pages: guest_pages.clone(),
            capsets: Capsets::new(&config, &offer, renderer.as_ref()),
            resolvers,
            renderer,
            renderer_refused: VecDeque::new(),
            contexts: BTreeMap::new(),
            resources: BTreeMap::new(),
            ranges: Ranges::default(),
            attachments: 0,
            account: Account::device(config.quota.device),
            scanouts: Scanouts::new(config.scanout.into_iter().collect()),
        };
        let (commands, errors) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self {
            state: Mutex::new(state),
            window_order: Mutex::new(()),
            memory,
            window,
            guest_pages,
            features: config.features,
            _taken: taken,
            commands,
            errors,
        })
    }

    /// The feature bits that the device offers.
    pub fn features(&self) -> u64 {
        self.features.bits()
    }

    /// The configuration space: the number of capsets, the screen where there is one, and the alignment of blobs where that is offered.
    pub fn config_space(&self) -> wire::Config {
        let state = self.lock();
        let capsets = if self.features.contains(Features::VIRGL) { state.capsets.count() } else { 0 };
        let scanouts = state.scanouts.count() as u32;
        let aligned = self.features.contains(Features::BLOB_ALIGNMENT);
        wire::Config {
            num_scanouts: scanouts.into(),
            num_capsets: capsets.into(),
            blob_alignment: if aligned { state.config.blob_alignment } else { 0 }.into(),
            ..wire::Config::default()
        }
    }

    /// Executes one command of the control queue, `request` being all of its readable bytes, and leaves the answer in `reply`,
    /// whose content before is dropped. There is always an answer; where the command has a fence, what it stands for is done.
    pub fn execute(&self, request: &[u8], reply: &mut Vec<u8>) {
        if let Some(fence) = self.start(request, reply)
            && !fence.wait(FENCE_TIMEOUT)
        {
            log::warn!("a fence of the renderer is not reached after {FENCE_TIMEOUT:?}");
        }
    }

    /// The same, but does not wait for the renderer: the answer must go to the guest when the fence is signalled, or at once where
    /// there is none. Other commands go on meanwhile.
    #[must_use]
    pub fn start(&self, request: &[u8], reply: &mut Vec<u8>) -> Option<Fence> {
        self.commands.fetch_add(1, Ordering::Relaxed);
        reply.clear();
        let (mut answer, mut fence) = (CtrlHdr::default(), None);
        reply.extend_from_slice(answer.as_bytes());
        let kind = Request::parse(request).and_then(|request| {
            answer = request.fence()?;
            let executed = self.dispatch(&request, reply);
            fence = request.timeline().and_then(|timeline| self.fence(&request, timeline));
            executed
        });
        let kind = kind.unwrap_or_else(|error| {
            self.errors.fetch_add(1, Ordering::Relaxed);
            log::debug!("command refused: {error}");
            reply.truncate(size_of::<CtrlHdr>());
            error.reply()
        });
        answer.ctype = kind.number().into();
        if let Some(header) = reply.get_mut(..size_of::<CtrlHdr>()) {
            header.copy_from_slice(answer.as_bytes());
        }
        fence
    }

    /// The fence that an answer waits for: behind what the renderer was given, and behind all before it in its timeline, since a
    /// guest takes those for signalled too.
    fn fence(&self, request: &Request<'_>, timeline: Timeline) -> Option<Fence> {
        let (renderer, draws) = {
            let state = self.lock();
            let draws = state.contexts.get(&request.ctx_id()).is_some_and(|context| context.draws);
            (state.renderer.clone()?, draws)
        };
        (draws || renderer.is_busy(timeline)).then(|| renderer.fence(timeline))
    }

    fn dispatch(&self, request: &Request<'_>, reply: &mut Vec<u8>) -> Result<Reply, CommandError> {
        if !self.features.contains(Features::of(request.command)) {
            return Err(CommandError::NotOffered(request.command));
        }
        match request.command {
            Command::ResourceMapBlob => self.map_blob(request, reply),
            Command::ResourceUnmapBlob => self.unmap_blob(request),
            Command::ResourceUnref => {
                let removed = control::unref(&mut self.lock(), request)?;
                self.retire(removed);
                Ok(Reply::OkNoData)
            }
            Command::CtxAttachResource => {
                // No image moves or goes while the renderer takes it.
                let _order = self.window_order();
                self.lock().execute(request, &*self.memory, reply)
            }
            Command::CtxDestroy => {
                let reply = self.lock().execute(request, &*self.memory, reply)?;
                self.rest();
                Ok(reply)
            }
            _ => self.lock().execute(request, &*self.memory, reply),
        }
    }

    /// Forgets everything, as on a reset of the device.
    pub fn reset(&self) {
        let resources = {
            let mut state = self.lock();
            state.contexts.clear();
            state.scanouts.clear();
            state.attachments = 0;
            std::mem::take(&mut state.resources)
        };
        for resource in resources.into_values() {
            self.retire(resource);
        }
        self.rest();
    }

    /// What it holds and has done.
    pub fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            contexts: state.contexts.len(),
            objects: state.contexts.values().map(|context| context.protocol.object_count()).sum(),
            resources: state.resources.len(),
            mappings: state.ranges.visible(),
            attachments: state.attachments,
            held: state.account.used(),
            commands: self.commands.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Device {
    /// The VMM keeps its window: nothing of this device may stay in it.
    fn drop(&mut self) {
        self.reset();
    }
}

#[cfg(test)]
mod tests;
