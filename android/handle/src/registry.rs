//! [`Registry`]: the buffers that a library has imported, by the address of the handle that its client has.

use crate::device::{NoDevice, Source};
use crate::handle::{BadHandle, Claim, Handle};
use crate::import::Imported;
use crate::sys::native_handle::Numbers;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// Imported buffers by address. An address that is not there is never looked at.
pub struct Registry {
    entries: RwLock<Option<HashMap<usize, Entry>>>,
    source: OnceLock<Source>,
    /// Held while the source is opened: two threads must not both open it.
    opening: Mutex<()>,
}

/// A buffer, and how often its address was registered.
struct Entry {
    imported: Arc<Imported>,
    count: usize,
}

/// What is left of an address after it was let go once.
#[derive(Debug)]
pub enum Released {
    /// It was not there.
    Unknown,
    /// It is still there.
    Kept,
    /// It is not there any more.
    Gone(Arc<Imported>),
}

impl Registry {
    /// One with nothing in it, which has opened nothing.
    pub const fn new() -> Self {
        Self { entries: RwLock::new(None), source: OnceLock::new(), opening: Mutex::new(()) }
    }

    /// Imports a buffer; whoever gets it adds it under an address.
    ///
    /// # Errors
    /// [`BadHandle`], which says what does not hold.
    pub fn import(&self, numbers: Option<Numbers>) -> Result<(Arc<Imported>, Handle), BadHandle> {
        let numbers = numbers.ok_or(BadHandle::Header)?;
        let claim = Claim::from_parts(numbers.fds(), numbers.ints())?;
        let (imported, handle) = Imported::new(&claim, || self.source())?;
        Ok((Arc::new(imported), handle))
    }

    /// Where buffers come from, opened when it is first needed.
    ///
    /// # Errors
    /// [`NoDevice`], which says why there is none; the next call tries again.
    pub fn source(&self) -> Result<&Source, NoDevice> {
        if let Some(source) = self.source.get() {
            return Ok(source);
        }
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        match self.source.get() {
            Some(source) => Ok(source),
            None => {
                let source = Source::open()?;
                Ok(self.source.get_or_init(|| source))
            }
        }
    }

    /// Whether the source is open.
    pub fn is_open(&self) -> bool {
        self.source.get().is_some()
    }

    /// The buffer of an address.
    pub fn get(&self, address: usize) -> Option<Arc<Imported>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.as_ref()?.get(&address).map(|entry| entry.imported.clone())
    }

    /// Adds a buffer under an address that this library has just made: what is there already is of a handle that its client has freed.
    pub fn insert(&self, address: usize, imported: Arc<Imported>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.get_or_insert_default().insert(address, Entry { imported, count: 1 });
    }

    /// Adds a buffer under its client's address, or counts what another thread has added meanwhile.
    pub fn add(&self, address: usize, imported: Arc<Imported>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.get_or_insert_default().entry(address).or_insert(Entry { imported, count: 0 }).count += 1;
    }

    /// Counts an address once more, if it is there.
    pub fn add_again(&self, address: usize) -> bool {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.as_mut().and_then(|entries| entries.get_mut(&address));
        entry.map(|entry| entry.count += 1).is_some()
    }

    /// Lets an address go once.
    pub fn release(&self, address: usize) -> Released {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Some(entries) = entries.as_mut() else { return Released::Unknown };
        match entries.get_mut(&address) {
            None => Released::Unknown,
            Some(entry) if entry.count > 1 => {
                entry.count -= 1;
                Released::Kept
            }
            Some(_) => entries.remove(&address).map_or(Released::Unknown, |entry| Released::Gone(entry.imported)),
        }
    }

    /// Lets an address go, however often it was counted.
    pub fn remove(&self, address: usize) -> Option<Arc<Imported>> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.as_mut()?.remove(&address).map(|entry| entry.imported)
    }

    /// Every buffer once, however often it was imported, in the order of their ids.
    pub fn buffers(&self) -> Vec<Arc<Imported>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut buffers: Vec<_> = entries.iter().flat_map(HashMap::values).map(|entry| entry.imported.clone()).collect();
        buffers.sort_by_key(|buffer| buffer.description().id);
        buffers.dedup_by_key(|buffer| buffer.description().id);
        buffers
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}
