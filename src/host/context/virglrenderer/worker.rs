//! [`Worker`]: the thread that has the library, and what is sent to it. Jobs are done in their order.

use super::fences::Fences;
use super::sys::Library;
use super::{Kinds, OpenError};
use crate::host::fence::Fence;
use crate::host::renderer::{RenderError, Timeline};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the library looks for fences, and for the queries before them, while some are awaited and nothing else is to be done.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// How long the library may take to reach its fences in the end.
const END_TIMEOUT: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&Library) + Send>;

/// The library's thread. It ends when this is dropped.
pub struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    fences: Arc<Fences>,
}

impl Worker {
    /// Opens the library on a new thread.
    pub fn start(kinds: Kinds, node: Option<PathBuf>) -> Result<Self, OpenError> {
        let fences = Arc::<Fences>::default();
        let (jobs, queue) = channel();
        let (opened, result) = sync_channel(1);
        let theirs = fences.clone();
        let thread = std::thread::Builder::new().name("virglrenderer".to_owned()).spawn(move || {
            let library = Library::open(kinds, node, theirs.clone());
            let _told = opened.send(library.as_ref().map(|_| ()).map_err(Clone::clone));
            if let Ok(library) = library {
                work(&library, &queue, &theirs);
                if !rests(&library, &theirs) {
                    log::error!("virglrenderer is left as it is: it does not reach its fences");
                    std::mem::forget(library);
                }
            }
            theirs.forget_all();
        });
        let thread = thread.map_err(|error| OpenError::Thread(error.to_string()))?;
        result.recv().map_err(|error| OpenError::Thread(error.to_string()))??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), fences })
    }

    pub const fn fences(&self) -> &Arc<Fences> {
        &self.fences
    }

    /// Does something on the thread after all that was sent before. Nobody waits.
    pub fn post(&self, job: impl FnOnce(&Library) + Send + 'static) {
        if self.jobs.as_ref().is_none_or(|jobs| jobs.send(Box::new(job)).is_err()) {
            log::error!("virglrenderer's thread has ended");
        }
    }

    /// Does something on the thread, and waits for what it gives.
    pub fn call<T: Send + 'static>(&self, job: impl FnOnce(&Library) -> T + Send + 'static) -> Result<T, RenderError> {
        let (sender, result) = sync_channel(1);
        self.post(move |library| drop(sender.send(job(library))));
        result.recv().map_err(|_| RenderError::Ended)
    }

    /// A fence behind everything that was sent before.
    pub fn fence(&self, timeline: Timeline) -> Fence {
        let (number, fence) = self.fences.add(timeline);
        let fences = self.fences.clone();
        self.post(move |library| {
            let asked = match timeline {
                Timeline::Global => library.create_fence(number as u32),
                Timeline::Ring { ctx_id, ring_idx } => library.create_ring_fence(ctx_id, ring_idx.into(), number),
            };
            if let Err(error) = asked {
                log::debug!("{error}");
                fences.unknown(timeline, number);
            }
            // Here, where no fence is cut off from its stream: a guest program that never pauses must not keep the others waiting.
            library.poll();
        });
        fence
    }
}

fn work(library: &Library, jobs: &Receiver<Job>, fences: &Fences) {
    loop {
        let job = if fences.is_empty() {
            jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            jobs.recv_timeout(POLL_INTERVAL)
        };
        match job {
            Ok(job) => job(library),
            Err(RecvTimeoutError::Timeout) => library.poll(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Waits for the last fences, which the library waits for in its end, without looking at queries any more. Whether they came.
fn rests(library: &Library, fences: &Fences) -> bool {
    let deadline = Instant::now() + END_TIMEOUT;
    while !fences.is_empty() && Instant::now() < deadline {
        library.poll();
        std::thread::sleep(POLL_INTERVAL);
    }
    fences.is_empty()
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // A waiter of a fence may drop the last reference on this thread itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ended = thread.join();
        }
    }
}
