//! [`Imported`]: a buffer that was made here or elsewhere, for the CPU of this process.

mod memory;

use crate::device::{NoDevice, Source};
use crate::handle::{BadHandle, Claim, Description, Handle};
use crate::metadata::SharedMetadata;
use crate::usage::{CPU_MASK, CPU_READ_MASK, CPU_WRITE_MASK};
use memory::{Held, Memory};
use std::borrow::Borrow;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;
use thiserror::Error;
use virgbm::guest::{self, Access};
use virgbm::layout::Region;
use virgbm::sys::poll;
use virgbm_android_abi::imapper::Rect;

/// How long the fence of a lock is waited for.
const FENCE_PATIENCE: Duration = Duration::from_secs(5);

/// Why a buffer is not locked, or not unlocked.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum LockError {
    #[error("usage {0:#x} is none, or not of the CPU")]
    Usage(u64),
    #[error("the buffer was made without CPU usage ({0:#x})")]
    NotForCpu(u64),
    #[error("region {left},{top} to {right},{bottom} is not inside the buffer of {width}x{height}")]
    Region { left: i32, top: i32, right: i32, bottom: i32, width: u32, height: u32 },
    #[error("the acquire fence is no open descriptor")]
    Fence,
    #[error("the acquire fence: {0}")]
    FenceLate(#[source] io::Error),
    #[error("it is not locked")]
    NotLocked,
    #[error(transparent)]
    Guest(#[from] guest::Error),
}

/// A buffer in this process, with its locks.
#[derive(Debug)]
pub struct Imported {
    description: Description,
    metadata: SharedMetadata,
    memory: Memory,
    /// With the thread that holds each.
    held: Mutex<Vec<(ThreadId, Held)>>,
}

impl Imported {
    /// Checks a handle and imports its buffer; also gives the handle with descriptors of its own. The source is asked for when all but
    /// the buffer itself was found to hold.
    ///
    /// # Errors
    /// [`BadHandle`], which says what does not hold.
    pub fn new<S: Borrow<Source>>(
        claim: &Claim<'_>,
        source: impl FnOnce() -> Result<S, NoDevice>,
    ) -> Result<(Self, Handle), BadHandle> {
        let checked = claim.check()?;
        let fd = checked.buffer_fd().ok_or(BadHandle::Header)?;
        let memory = Memory::import(fd, &checked.description, source()?.borrow())?;
        let imported = Self { description: checked.description, metadata: checked.metadata, memory, held: Mutex::default() };
        Ok((imported, checked.handle))
    }

    /// What its handle says.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What every holder shares.
    pub fn metadata(&self) -> &SharedMetadata {
        &self.metadata
    }

    /// Locks a region for the CPU, once more: locks nest. Gives the address of the buffer's first byte.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(&self, usage: u64, region: Rect, acquire_fence: Option<OwnedFd>) -> Result<*mut u8, LockError> {
        let access = self.access(usage)?;
        let region = self.region(region)?;
        if let Some(fence) = acquire_fence {
            Self::wait(fence)?;
        }
        let held = self.memory.map(region, access)?;
        let address = held.address();
        self.hold(held);
        Ok(address)
    }

    /// Locks it for somebody who only wants to know where its planes are: maps nothing.
    pub fn lock_nothing(&self) {
        self.hold(Held::Nothing);
    }

    fn hold(&self, held: Held) {
        self.held().push((thread::current().id(), held));
    }

    /// Waits for a fence, five seconds at most.
    ///
    /// # Errors
    /// [`LockError::FenceLate`].
    pub fn wait(fence: OwnedFd) -> Result<(), LockError> {
        poll::wait_readable(fence.as_fd(), FENCE_PATIENCE).map_err(LockError::FenceLate)
    }

    /// Ends this thread's last lock, or where it has none another's: what others still write must not be taken for done. The fence is signalled when what was written is with the host; `None` where it is already.
    ///
    /// # Errors
    /// [`LockError::NotLocked`]; else what kernel and host refuse, and the lock has ended.
    pub fn unlock(&self) -> Result<Option<OwnedFd>, LockError> {
        let (_, held) = {
            let mut held = self.held();
            let own = held.iter().rposition(|(thread, _)| *thread == thread::current().id());
            let last = own.or(held.len().checked_sub(1)).ok_or(LockError::NotLocked)?;
            held.remove(last)
        };
        Ok(held.end(&self.memory)?)
    }

    /// Sends what was written in all locked regions.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock).
    pub fn flush(&self) -> Result<(), LockError> {
        self.each_held(Held::flush)
    }

    /// Fetches all locked regions again.
    ///
    /// # Errors
    /// As [`unlock`](Self::unlock).
    pub fn reread(&self) -> Result<(), LockError> {
        self.each_held(|held| match held.region() {
            Some(region) => self.memory.map(region, Access::READ).map(drop),
            None => Ok(()),
        })
    }

    fn each_held(&self, action: impl Fn(&Held) -> Result<(), guest::Error>) -> Result<(), LockError> {
        let held = self.held();
        if held.is_empty() {
            return Err(LockError::NotLocked);
        }
        Ok(held.iter().try_for_each(|(_, held)| action(held))?)
    }

    fn held(&self) -> MutexGuard<'_, Vec<(ThreadId, Held)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn access(&self, usage: u64) -> Result<Access, LockError> {
        if usage & CPU_MASK == 0 || usage & !CPU_MASK != 0 {
            return Err(LockError::Usage(usage));
        }
        if self.description.usage & CPU_MASK == 0 {
            return Err(LockError::NotForCpu(self.description.usage));
        }
        let mut access = Access::empty();
        access.set(Access::READ, usage & CPU_READ_MASK != 0);
        access.set(Access::WRITE, usage & CPU_WRITE_MASK != 0);
        Ok(access)
    }

    fn region(&self, rect: Rect) -> Result<Region, LockError> {
        let Description { width, height, ref layout, .. } = self.description;
        let Rect { left, top, right, bottom } = rect;
        if rect == Rect::default() {
            return Ok(layout.whole());
        }
        let outside = LockError::Region { left, top, right, bottom, width, height };
        let (Ok(x), Ok(y), Ok(end_x), Ok(end_y)) = (left.try_into(), top.try_into(), right.try_into(), bottom.try_into()) else {
            return Err(outside);
        };
        let (x, y, end_x, end_y): (u32, u32, u32, u32) = (x, y, end_x, end_y);
        if x >= end_x || y >= end_y || end_x > width || end_y > height {
            return Err(outside);
        }
        // Bytes that are folded into rows have no rectangles.
        let folded = (width, height) != (layout.width, layout.height);
        Ok(if folded { layout.whole() } else { Region { x, y, width: end_x - x, height: end_y - y } })
    }
}
