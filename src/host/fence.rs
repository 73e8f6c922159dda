//! [`Fence`]: what a command waits for after the host has executed it, because a GPU still works on it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is called once, at the signal.
type Waiter = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Inner {
    signalled: bool,
    waiters: Vec<Waiter>,
}

/// Signalled once, from any thread. Its clones are the same fence.
#[derive(Clone, Default)]
pub struct Fence(Arc<(Mutex<Inner>, Condvar)>);

impl Fence {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals it; a second time does nothing.
    pub fn signal(&self) {
        let waiters = {
            let mut inner = self.inner();
            inner.signalled = true;
            std::mem::take(&mut inner.waiters)
        };
        self.0.1.notify_all();
        // Without the lock: a waiter may ask the fence.
        for waiter in waiters {
            waiter();
        }
    }

    /// Whether it was.
    pub fn is_signalled(&self) -> bool {
        self.inner().signalled
    }

    /// Calls `waiter` at the signal, on the thread that signals; at once where that has been.
    pub fn when_signalled(&self, waiter: impl FnOnce() + Send + 'static) {
        let mut inner = self.inner();
        if !inner.signalled {
            return inner.waiters.push(Box::new(waiter));
        }
        drop(inner);
        waiter();
    }

    /// Waits for the signal. Whether it came in time.
    pub fn wait(&self, patience: Duration) -> bool {
        let waited = self.0.1.wait_timeout_while(self.inner(), patience, |inner| !inner.signalled);
        waited.unwrap_or_else(PoisonError::into_inner).0.signalled
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("signalled", &self.is_signalled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn whoever_waits_is_called_once_however_often_it_is_signalled() {
        let (fence, calls) = (Fence::default(), Arc::new(AtomicUsize::new(0)));
        let count = || {
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, Ordering::Relaxed);
            }
        };
        fence.when_signalled(count());
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        fence.clone().signal();
        fence.signal();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        fence.when_signalled(count());
        assert_eq!(calls.load(Ordering::Relaxed), 2, "it was signalled already");
    }

    #[test]
    fn a_wait_ends_with_the_signal_or_with_patience() {
        let fence = Fence::default();
        assert!(!fence.wait(Duration::from_millis(1)));
        let theirs = fence.clone();
        let thread = std::thread::spawn(move || theirs.signal());
        assert!(fence.wait(Duration::from_secs(60)));
        thread.join().unwrap();
    }
}
