//! [`VhostUserGpu`]: what the vhost-user messages mean for the device.

use super::memory::{Table, VmMemory};
use super::queue::{self, Buffers, Progress};
use super::sys::ExitEvent;
use super::window::ShmemWindow;
use super::{HostOptions, ServeError};
use crate::host::{Device, Renderer, Resolver, Window};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use vhost::vhost_user::Backend;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VringRwLock, VringT};
use vm_memory::{GuestAddressSpace, GuestMemoryBackend};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventNotifier};
use zerocopy::IntoBytes;

/// Control and cursor.
const QUEUES: usize = 2;

const CONTROL_QUEUE: u16 = 0;

/// The most that virtio allows, which crosvm asks for by default.
const MAX_QUEUE_SIZE: usize = 32_768;

/// `VIRTIO_F_INDIRECT_DESC`, `VIRTIO_F_EVENT_IDX` and `VIRTIO_F_VERSION_1`: bits of every virtio device.
const TRANSPORT_FEATURES: u64 = 1 << 28 | 1 << 29 | 1 << 32;

/// A device and the VMM that it serves.
pub struct VhostUserGpu {
    device: Device,
    window: Arc<ShmemWindow>,
    table: Table,
    progress: Arc<Progress>,
    buffers: Mutex<Buffers>,
    exit: Mutex<Option<ExitEvent>>,
}

impl VhostUserGpu {
    pub fn new(
        options: HostOptions,
        resolvers: Vec<Box<dyn Resolver>>,
        renderer: Option<Arc<dyn Renderer>>,
        table: Table,
    ) -> Result<Self, ServeError> {
        let window = ShmemWindow::new(options.window_bytes, options.separate_maps).map_err(ServeError::WindowPages)?;
        let window = Arc::new(window);
        let memory = Arc::new(VmMemory(table.clone()));
        let device = Device::with_renderer(options.config, resolvers, renderer, memory, window.clone())?;
        Ok(Self { device, window, table, progress: Arc::default(), buffers: Mutex::default(), exit: Mutex::default() })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// After the VMM has gone: ends the queue thread and frees what the guest had.
    pub fn end(&self) {
        self.window.set_channel(None);
        if let Some(exit) = &*self.exit.lock().unwrap_or_else(PoisonError::into_inner) {
            let _told = exit.notify();
        }
        self.progress.forget();
        self.device.reset();
    }
}

impl VhostUserBackend for VhostUserGpu {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        MAX_QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        self.device.features() | TRANSPORT_FEATURES | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        use VhostUserProtocolFeatures as F;
        // CONFIGURE_MEM_SLOTS: without it every mapping in the window replaces the whole memory table.
        F::CONFIG | F::MQ | F::BACKEND_REQ | F::BACKEND_SEND_FD | F::REPLY_ACK | F::CONFIGURE_MEM_SLOTS | F::SHMEM
    }

    fn reset_device(&self) {
        self.device.reset();
    }

    fn set_event_idx(&self, enabled: bool) {
        log::debug!("event index: {enabled}");
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let config = self.device.config_space();
        let bytes = config.as_bytes().iter().copied().chain(std::iter::repeat(0));
        // The message holds at most 256 bytes of configuration.
        bytes.skip(offset.min(256) as usize).take(size.min(256) as usize).collect()
    }

    fn update_memory(&self, _: Table) -> io::Result<()> {
        // The table is replaced in place; whoever waits for the window's change looks at it.
        self.window.table_changed(GuestMemoryBackend::num_regions(&*self.table.memory()));
        Ok(())
    }

    fn set_backend_req_fd(&self, channel: Backend) {
        self.window.set_channel(Some(channel));
    }

    fn exit_event(&self, _: usize) -> Option<(EventConsumer, EventNotifier)> {
        let (event, pair) = ExitEvent::new().ok()?;
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(event);
        Some(pair)
    }

    fn stop_vring(&self, queue: u32) -> io::Result<()> {
        if let Ok(queue) = u16::try_from(queue) {
            self.progress.stop(queue, &self.table);
        }
        Ok(())
    }

    fn handle_event(&self, queue: u16, events: EventSet, vrings: &[VringRwLock], _: usize) -> io::Result<()> {
        let Some(vring) = vrings.get(usize::from(queue)).filter(|_| events.contains(EventSet::IN)) else {
            return Ok(());
        };
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if queue == CONTROL_QUEUE && queue::is_set_up(vring) && self.progress.starts_anew(queue, vring) {
            log::info!("the guest has reset the device");
            self.device.reset();
        }
        let mut found_nothing = false;
        while queue::is_set_up(vring) {
            let _quiet = vring.disable_notification();
            let any = queue::drain(queue, vring, &self.table, &self.device, &self.progress, &mut buffers);
            let more = queue::is_set_up(vring) && vring.enable_notification().unwrap_or(false);
            // More that can't be taken, twice: the guest's index is beyond its ring, and may be sound at the next kick.
            if !more || (found_nothing && !any) {
                break;
            }
            found_nothing = !any;
        }
        Ok(())
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        // The array's index is the region's id, and the window has id 1.
        let window = self.window.size_bytes();
        Ok(VhostUserShMemConfig::new(u32::from(window > 0), &[0, window]))
    }
}
