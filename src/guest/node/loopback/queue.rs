//! The control queue: executed by the caller, or by a thread behind its back as in a VM.

use crate::host::Device;
use crate::wire::virtio_gpu::{CtrlHdr, Reply};
use rustix::event::EventfdFlags;
use rustix::io::Errno;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use zerocopy::FromBytes;

type OnReply = Box<dyn FnOnce(&[u8]) + Send>;

/// A command on its way to the thread.
struct Job {
    request: Vec<u8>,
    on_reply: OnReply,
}

enum Executor {
    Caller,
    Thread { jobs: Option<Sender<Job>>, thread: Option<JoinHandle<()>> },
}

/// The control queue of a device: commands are executed in the order in which they were sent.
pub struct Queue {
    device: Arc<Device>,
    executor: Executor,
}

impl Queue {
    /// The caller of `send` executes: the host has answered when it returns.
    pub fn inline(device: Arc<Device>) -> Self {
        Self { device, executor: Executor::Caller }
    }

    /// A thread executes, each command after `delay`: `send` returns before the host has answered, as in a VM.
    pub fn threaded(device: Arc<Device>, delay: Duration) -> Self {
        let (jobs, queue) = channel::<Job>();
        let host = device.clone();
        let thread = std::thread::spawn(move || {
            let mut reply = Vec::new();
            for job in queue {
                if !delay.is_zero() {
                    std::thread::sleep(delay);
                }
                host.execute(&job.request, &mut reply);
                (job.on_reply)(&reply);
            }
        });
        Self { device, executor: Executor::Thread { jobs: Some(jobs), thread: Some(thread) } }
    }

    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Sends a command; `on_reply` is called with its answer, perhaps later and on another thread.
    pub fn send(&self, request: Vec<u8>, on_reply: impl FnOnce(&[u8]) + Send + 'static) {
        thread_local!(static REPLY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        match &self.executor {
            Executor::Caller => REPLY.with_borrow_mut(|reply| {
                self.device.execute(&request, reply);
                on_reply(reply);
            }),
            Executor::Thread { jobs, .. } => {
                let job = Job { request, on_reply: Box::new(on_reply) };
                if jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
                    log::error!("the control queue has ended");
                }
            }
        }
    }

    /// Sends a command and waits for its answer.
    pub fn call(&self, request: Vec<u8>) -> Vec<u8> {
        let answer = Arc::new(Answer::default());
        let on_reply = answer.clone();
        self.send(request, move |reply| on_reply.set(reply.to_vec()));
        answer.wait()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Executor::Thread { jobs, thread } = &mut self.executor {
            // The thread ends when it has executed what was sent. It may itself drop the last reference to the queue.
            drop(jobs.take());
            if let Some(thread) = thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
                let _ = thread.join();
            }
        }
    }
}

/// An answer that comes once.
#[derive(Debug, Default)]
pub struct Answer {
    bytes: Mutex<Option<Vec<u8>>>,
    came: Condvar,
}

impl Answer {
    fn set(&self, bytes: Vec<u8>) {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        self.came.notify_all();
    }

    fn wait(&self) -> Vec<u8> {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = self.came.wait_while(bytes, |bytes| bytes.is_none()).unwrap_or_else(PoisonError::into_inner);
        bytes.take().unwrap_or_default()
    }
}

/// A fence that is signalled once, or the state of a mapping that the host grants or refuses.
#[derive(Debug, Default)]
pub struct Fence {
    state: Mutex<FenceState>,
    signalled: Condvar,
}

#[derive(Debug, Default)]
struct FenceState {
    granted: Option<bool>,
    /// Readable when it is signalled.
    descriptors: Vec<OwnedFd>,
}

impl Fence {
    fn state(&self) -> MutexGuard<'_, FenceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn signal(&self, ok: bool) {
        let mut state = self.state();
        state.granted = Some(ok);
        for descriptor in state.descriptors.drain(..) {
            make_readable(&descriptor);
        }
        self.signalled.notify_all();
    }

    pub fn is_signalled(&self) -> bool {
        self.state().granted.is_some()
    }

    /// Whether the host granted it; `None` when it has not answered in time.
    pub fn wait(&self, timeout: Duration) -> Option<bool> {
        let waited = self.signalled.wait_timeout_while(self.state(), timeout, |state| state.granted.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.granted
    }

    /// A descriptor that is readable from when it is signalled.
    pub fn descriptor(&self) -> Result<OwnedFd, Errno> {
        let ours = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        let theirs = rustix::io::fcntl_dupfd_cloexec(&ours, 0)?;
        let mut state = self.state();
        if state.granted.is_some() {
            make_readable(&ours);
        } else {
            state.descriptors.push(ours);
        }
        Ok(theirs)
    }
}

fn make_readable(descriptor: &OwnedFd) {
    if let Err(error) = rustix::io::write(descriptor, &1u64.to_ne_bytes()) {
        log::error!("a fence's descriptor: {error}");
    }
}

/// Whether an answer is no error.
pub fn is_ok(reply: &[u8]) -> bool {
    let header = CtrlHdr::read_from_prefix(reply);
    header.is_ok_and(|(header, _)| header.ctype.get() < Reply::ErrUnspec.number())
}
