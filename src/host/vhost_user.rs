//! The device as a process of its own: a vhost-user backend that a VMM connects to.
//!
//! Transport only: queues and memory of the guest come in as vhost-user messages, commands go to [`Device`] as
//! bytes, and blobs go into the guest's window by the backend channel's SHMEM messages.

mod backend;
mod memory;
mod queue;
mod sys;
mod window;

use super::{Device, DeviceConfig, DeviceError, Renderer, Resolver};
use backend::VhostUserGpu;
use rustix::process::{Resource, getrlimit};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;
use vhost::vhost_user::Listener;
use vhost_user_backend::VhostUserDaemon;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

/// Descriptors that a guest's blobs leave to the connection, the queues and the guest's memory.
const SPARE_FDS: u64 = 128;

/// How many descriptors the blobs of a guest may have. A message of the VMM whose descriptor the process has no room for ends the
/// connection, and the guest would have no device.
fn fds_for_blobs() -> u64 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    limit - SPARE_FDS.min(limit / 2)
}

/// How the process is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostOptions {
    /// The device.
    pub config: DeviceConfig,
    /// The size of the host-visible window in bytes, a power of two; 0 for none.
    pub window_bytes: u64,
    /// Whether each blob is a map of its own in the window, also plain memory, which else lies in pages that show through all of it.
    pub separate_maps: bool,
}

impl Default for HostOptions {
    /// A window of 256 MiB.
    fn default() -> Self {
        Self { config: DeviceConfig::default(), window_bytes: 256 << 20, separate_maps: false }
    }
}

/// Why the process can't serve.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ServeError {
    #[error("window of {0} bytes: it must be 0 or a power of two of at least 1 MiB")]
    Window(u64),
    #[error("memory for the window: {0}")]
    WindowPages(std::io::Error),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("the socket {path}: {source}")]
    Socket { path: String, source: vhost::vhost_user::Error },
    #[error("vhost-user: {0}")]
    Daemon(vhost_user_backend::Error),
    #[error("an event for the end of the process: {0}")]
    Event(std::io::Error),
}

/// Looks at the device from outside of its queues, from any thread.
#[derive(Clone, Default)]
pub struct Watcher(Arc<RwLock<Option<Arc<VhostUserGpu>>>>);

impl Watcher {
    /// Calls `look` with the device of the VMM that is connected, which stays until that ends; `None` when there is none.
    pub fn look<T>(&self, look: impl FnOnce(&Device) -> T) -> Option<T> {
        let gpu = self.0.read().unwrap_or_else(PoisonError::into_inner);
        gpu.as_ref().map(|gpu| look(gpu.device()))
    }

    /// Waits for those who look.
    fn set(&self, gpu: Option<Arc<VhostUserGpu>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = gpu;
    }
}

/// A socket that VMMs connect to, one after the other.
pub struct Server {
    listener: Listener,
    options: HostOptions,
    watcher: Watcher,
}

impl Server {
    /// Listens at a path; a socket that is there already is replaced.
    ///
    /// # Errors
    /// [`ServeError`] for options that no guest could use and a path that can't be bound.
    pub fn bind(path: &Path, options: HostOptions) -> Result<Self, ServeError> {
        if options.window_bytes != 0 && !(options.window_bytes.is_power_of_two() && options.window_bytes >= 1 << 20) {
            return Err(ServeError::Window(options.window_bytes));
        }
        let listener =
            Listener::new(path, true).map_err(|source| ServeError::Socket { path: path.display().to_string(), source })?;
        Ok(Self { listener, options, watcher: Watcher::default() })
    }

    /// For those who look at the device while it serves.
    pub fn watcher(&self) -> Watcher {
        self.watcher.clone()
    }

    /// Serves one VMM, from its connection to its end, with a device of its own that allocates with these resolvers, the preferred
    /// one first, and draws with this renderer.
    ///
    /// # Errors
    /// [`ServeError`] when no device can be made; a VMM that misbehaves or goes is none.
    pub fn serve_one(
        &mut self,
        resolvers: Vec<Box<dyn Resolver>>,
        renderer: Option<Arc<dyn Renderer>>,
    ) -> Result<(), ServeError> {
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::<()>::new());
        let mut options = self.options;
        options.config.quota.device.fds = options.config.quota.device.fds.min(fds_for_blobs());
        let gpu = Arc::new(VhostUserGpu::new(options, resolvers, renderer, memory.clone())?);
        // Declared after `gpu`, so that it goes first: its thread polls an event of the other.
        let daemon = VhostUserDaemon::new("virgbm".to_owned(), gpu.clone(), memory);
        let mut daemon = daemon.map_err(ServeError::Daemon)?;
        daemon.start(&mut self.listener).map_err(ServeError::Daemon)?;
        log::info!("a VMM has connected");
        self.watcher.set(Some(gpu.clone()));
        if let Err(error) = daemon.wait() {
            log::warn!("the VMM's connection ended: {error}");
        }
        self.watcher.set(None);
        gpu.end();
        let stats = gpu.device().stats();
        log::info!("the VMM has gone after {} commands, {} of them refused", stats.commands, stats.errors);
        Ok(())
    }
}
