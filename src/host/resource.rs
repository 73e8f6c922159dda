//! [`Resource`]: what the guest kernel and the VMM know by its number.

use super::backing::Backing;
use super::quota::Charge;
use super::ranges::InWindow;
use super::renderer::Rendered;
use super::resolver::Image;
use super::{CommandError, GuestMemory};
use crate::Layout;
use crate::wire::alloc as wire;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What kind of resource it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResourceKind {
    /// RESOURCE_CREATE_2D or _3D: an image of the host, filled by transfers.
    Classic,
    /// A blob of guest pages.
    Guest,
    /// A blob of host memory, with guest pages behind it or not.
    Host { mappable: bool },
}

impl ResourceKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Guest => "guest blob",
            Self::Host { .. } => "host blob",
        }
    }
}

/// An image of a driver in the guest's own pages, and what it costs.
pub(super) struct Imported {
    pub image: Arc<dyn Image>,
    pub _charge: Charge,
}

pub(super) struct Resource {
    pub kind: ResourceKind,
    pub made_of: wire::Backing,
    /// The context that made it, 0 for none.
    pub owner: u32,
    pub name: String,
    pub size_bytes: u64,
    pub layout: Option<Layout>,
    pub image: Option<Arc<dyn Image>>,
    /// What the renderer has of it: it made it, or a context of its own uses it.
    pub rendered: Option<Arc<dyn Rendered>>,
    /// What that costs, where the renderer did not make it.
    pub adoption: Option<Charge>,
    pub backing: Option<Backing>,
    /// Guest pages as a driver of the host sees them.
    pub imported: Option<Imported>,
    /// Its range of the window, where it has one.
    pub in_window: Option<InWindow>,
    pub uuid: Option<[u8; 16]>,
    pub created: Instant,
    /// What it and its image cost.
    pub _charge: Charge,
}

impl Resource {
    /// A resource of no context, without memory yet.
    pub fn new(kind: ResourceKind, made_of: wire::Backing, size_bytes: u64, charge: Charge) -> Self {
        Self {
            kind,
            made_of,
            owner: 0,
            name: String::new(),
            size_bytes,
            layout: None,
            image: None,
            rendered: None,
            adoption: None,
            backing: None,
            imported: None,
            in_window: None,
            uuid: None,
            created: Instant::now(),
            _charge: charge,
        }
    }

    /// The bytes that the host sees: those of its image, or else the guest's pages, in place.
    pub fn read(&self, memory: &dyn GuestMemory, offset: u64, buffer: &mut [u8]) -> Result<(), CommandError> {
        match (&self.image, &self.backing) {
            (Some(image), _) => Ok(image.read(offset, buffer)?),
            (None, Some(backing)) => backing.read(memory, offset, buffer),
            (None, None) => Err(CommandError::Range { offset, length: buffer.len() as u64, size_bytes: 0 }),
        }
    }

    /// The image that a driver of the host has of it.
    pub fn image(&self) -> Option<&Arc<dyn Image>> {
        self.image.as_ref().or(self.imported.as_ref().map(|imported| &imported.image))
    }

    /// The image that MAP_BLOB puts into the window: only a mappable blob of host memory that is not there yet has one.
    pub fn mappable_image(&self, id: u32) -> Result<Arc<dyn Image>, CommandError> {
        let state = |why| CommandError::State { resource_id: id, why };
        if self.is_mapped() {
            return Err(state("it is mapped already"));
        }
        match (self.kind, &self.image) {
            (ResourceKind::Host { mappable: true }, Some(image)) => Ok(image.clone()),
            _ => Err(state("it is no mappable blob of host memory")),
        }
    }

    fn is_mapped(&self) -> bool {
        self.in_window.is_some_and(|range| !range.departed)
    }

    fn storage(&self) -> &'static str {
        match (&self.image, &self.backing) {
            (Some(image), _) => image.storage(),
            (None, Some(_)) if self.imported.is_some() => "guest pages, imported",
            (None, Some(_)) => "guest pages",
            (None, None) => "nothing",
        }
    }

    pub fn describe(&self, id: u32) -> ResourceInfo {
        ResourceInfo {
            id,
            owner: self.owner,
            kind: self.kind.name(),
            name: self.name.clone(),
            size_bytes: self.size_bytes,
            layout: self.layout,
            storage: self.storage(),
            mapped: self.is_mapped(),
            uuid: self.uuid,
            age: self.created.elapsed(),
        }
    }
}

/// A resource as the host lists it.
#[derive(Clone, Debug)]
pub struct ResourceInfo {
    /// Its number.
    pub id: u32,
    /// The context that made it, 0 for none.
    pub owner: u32,
    /// `classic`, `guest blob` or `host blob`.
    pub kind: &'static str,
    /// Its name, empty when nobody gave it one.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Where its bytes lie, unless it is plain memory.
    pub layout: Option<Layout>,
    /// What it is made of.
    pub storage: &'static str,
    /// Whether it is in the window.
    pub mapped: bool,
    /// Its name for other virtio devices, where the guest asked for one.
    pub uuid: Option<[u8; 16]>,
    /// How long ago it was made.
    pub age: Duration,
}

/// All resources by number. Ordered, here and in the other tables by a guest's numbers: hashing costs more at their sizes.
pub(super) type Resources = BTreeMap<u32, Resource>;

/// Finds a resource or says that there is none.
pub(super) fn find(resources: &mut Resources, id: u32) -> Result<&mut Resource, CommandError> {
    resources.get_mut(&id).ok_or(CommandError::UnknownResource(id))
}

/// Text of a guest for lists, logs and terminals: no control characters.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|character| !character.is_control()).collect()
}
