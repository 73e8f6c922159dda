//! MAP_BLOB and UNMAP_BLOB: which blob has which range of the window.
//!
//! The window's calls wait for the VMM, so they are made without the state's lock; the order's lock keeps them one at a time. A blob
//! that is a slice of the window's pages keeps its range after UNMAP_BLOB, since it is mostly freed next: it has to leave only when
//! another blob gets the range.

use super::Device;
use crate::host::CommandError;
use crate::host::control::{Request, State};
use crate::host::ranges::InWindow;
use crate::host::resolver::{Image, Shown};
use crate::host::resource::{Resource, find};
use crate::wire::virtio_gpu::{self as wire, Reply};
use std::sync::{Arc, MutexGuard, PoisonError};
use zerocopy::IntoBytes;

/// What the window's offsets and lengths are multiples of.
pub(super) const WINDOW_PAGE_BYTES: u64 = 4096;

impl Device {
    pub(super) fn window_order(&self) -> MutexGuard<'_, ()> {
        self.window_order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn map_blob(&self, request: &Request<'_>, reply: &mut Vec<u8>) -> Result<Reply, CommandError> {
        let _order = self.window_order();
        let (body, _) = request.body::<wire::MapBlob>()?;
        let (id, offset) = (body.resource_id.get(), body.offset.get());
        let (image, in_the_way) = self.lock().check_range(id, offset, self.window.size_bytes())?;
        for other in in_the_way {
            self.evict(other)?;
        }
        self.lock().take_range(id, offset, image.size_bytes())?;
        let shown = image.show(&*self.window, offset);
        let mut state = self.lock();
        match shown {
            Ok(shown) => state.set_shown(id, shown),
            Err(_) => state.give_range_back(id),
        }
        shown.map_err(CommandError::Window)?;
        reply.extend_from_slice(wire::MapInfo { map_info: image.map_info().into(), ..wire::MapInfo::default() }.as_bytes());
        Ok(Reply::OkMapInfo)
    }

    pub(super) fn unmap_blob(&self, request: &Request<'_>) -> Result<Reply, CommandError> {
        let (body, _) = request.body::<wire::ResourceId>()?;
        let id = body.resource_id.get();
        {
            let _order = self.window_order();
            let (range, length) = self.lock().visible_range(id)?;
            if range.shown == Some(Shown::Placed) {
                self.lock().depart(id);
            } else {
                let unmapped = self.window.unmap(range.offset, length);
                self.lock().give_range_back(id);
                unmapped.map_err(CommandError::Window)?;
            }
        }
        self.rest();
        Ok(Reply::OkNoData)
    }

    /// Takes a resource that nobody can name any more out of the window, and only then frees its memory.
    pub(super) fn retire(&self, resource: Resource) {
        {
            // Also without a range: whoever exports it has let go of it then, and its number is free.
            let _order = self.window_order();
            let Some(range) = resource.in_window else { return drop(resource) };
            let length = self.lock().ranges.length_at(range.offset);
            if range.shown == Some(Shown::Mapped)
                && let Err(error) = self.window.unmap(range.offset, length)
            {
                log::warn!("unmap at {:#x}: {error}", range.offset);
            }
            drop(resource);
            self.lock().ranges.give_back(range);
        }
        self.rest();
    }

    /// Lets the window rest when nobody is there who could want it.
    pub(super) fn rest(&self) {
        let _order = self.window_order();
        let idle = {
            let state = self.lock();
            // The Linux console has a context without a capset for as long as the driver is there, and maps nothing.
            state.ranges.visible() == 0 && state.contexts.values().all(|context| context.capset_id == 0)
        };
        if idle && let Err(error) = self.window.rest() {
            log::warn!("the window can't rest: {error}");
        }
    }

    /// Brings the bytes of a blob that the guest has unmapped out of the range that another wants.
    fn evict(&self, id: u32) -> Result<(), CommandError> {
        let image = find(&mut self.lock().resources, id)?.image.clone();
        if let Some(image) = image {
            image.leave().map_err(CommandError::Window)?;
        }
        self.lock().give_range_back(id);
        Ok(())
    }
}

impl State {
    /// Checks a MAP_BLOB: the image, and the blobs which the guest has unmapped that must make room.
    fn check_range(&mut self, id: u32, offset: u64, window_bytes: u64) -> Result<(Arc<dyn Image>, Vec<u32>), CommandError> {
        let limit = self.config.quota.mappings;
        let image = find(&mut self.resources, id)?.mappable_image(id)?;
        let length = image.size_bytes();
        let inside = offset.checked_add(length).is_some_and(|end| end <= window_bytes);
        if !inside || !offset.is_multiple_of(WINDOW_PAGE_BYTES) {
            return Err(CommandError::Parameter { what: "window offset", value: offset });
        }
        if self.ranges.visible() >= limit {
            return Err(CommandError::TooMany { what: "mappings", limit });
        }
        let mut in_the_way = self.ranges.overlapping(offset, length);
        let departed =
            |id: &u32| self.resources.get(id).and_then(|resource| resource.in_window).is_some_and(|range| range.departed);
        if !in_the_way.iter().all(departed) {
            return Err(CommandError::State { resource_id: id, why: "its range of the window is taken" });
        }
        // Its own earlier range, which may be anywhere.
        if departed(&id) && !in_the_way.contains(&id) {
            in_the_way.push(id);
        }
        Ok((image, in_the_way))
    }

    fn take_range(&mut self, id: u32, offset: u64, length: u64) -> Result<(), CommandError> {
        find(&mut self.resources, id)?.in_window = Some(InWindow { offset, shown: None, departed: false });
        self.ranges.take(offset, length, id);
        Ok(())
    }

    fn set_shown(&mut self, id: u32, shown: Shown) {
        if let Some(range) = self.resources.get_mut(&id).and_then(|resource| resource.in_window.as_mut()) {
            range.shown = Some(shown);
        }
    }

    fn depart(&mut self, id: u32) {
        if let Some(range) = self.resources.get_mut(&id).and_then(|resource| resource.in_window.as_mut()) {
            self.ranges.depart(range);
        }
    }

    fn give_range_back(&mut self, id: u32) {
        if let Some(range) = self.resources.get_mut(&id).and_then(|resource| resource.in_window.take()) {
            self.ranges.give_back(range);
        }
    }

    /// The range that the guest sees a resource in, and its length.
    fn visible_range(&mut self, id: u32) -> Result<(InWindow, u64), CommandError> {
        let range = find(&mut self.resources, id)?.in_window.filter(|range| !range.departed);
        let range = range.ok_or(CommandError::State { resource_id: id, why: "it is not mapped" })?;
        Ok((range, self.ranges.length_at(range.offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::test_rig::{Guest, Shelf};
    use crate::host::{DeviceConfig, MemoryResolver};
    use crate::wire::alloc;
    use crate::wire::virtio_gpu::Command;
    use std::sync::atomic::Ordering;

    /// A guest whose window has pages of its own, with blobs 8 and 9 of a page each.
    fn guest() -> Guest {
        let resolvers: Vec<Box<dyn crate::host::Resolver>> = vec![Box::new(MemoryResolver::without_udmabuf())];
        let guest = Guest::with_window(DeviceConfig::default(), resolvers, Shelf::with_pages());
        guest.create_context(1, alloc::CAPSET_ID);
        for id in [8, 9] {
            assert_eq!(guest.host_blob(id, 0, 4096, wire::BLOB_FLAG_USE_MAPPABLE), Reply::OkNoData);
        }
        guest
    }

    fn unmap(guest: &Guest, id: u32) -> Reply {
        guest.on_resource(Command::ResourceUnmapBlob, 0, id)
    }

    fn bytes(guest: &Guest, id: u32) -> [u8; 4] {
        let mut bytes = [1; 4];
        guest.device.read_resource(id, 0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn plain_memory_costs_the_vmm_no_map() {
        let guest = guest();
        assert_eq!((guest.map(8, 0), guest.map(9, 4096)), (Reply::OkMapInfo, Reply::OkMapInfo));
        guest.window.write(0, b"8888");
        guest.window.write(4096, b"9999");
        assert_eq!((bytes(&guest, 8), bytes(&guest, 9)), (*b"8888", *b"9999"));
        assert!(guest.window.mapped.lock().unwrap().is_empty());
    }

    #[test]
    fn an_unmapped_blob_keeps_its_bytes_when_another_gets_its_range() {
        let guest = guest();
        guest.map(8, 0);
        guest.window.write(0, b"8888");
        assert_eq!((unmap(&guest, 8), unmap(&guest, 8)), (Reply::OkNoData, Reply::ErrInvalidParameter));
        assert_eq!(guest.map(9, 0), Reply::OkMapInfo);
        assert_eq!(guest.window.read(0, 4), [0; 4], "the next one's memory is fresh");
        guest.window.write(0, b"9999");
        assert_eq!((bytes(&guest, 8), bytes(&guest, 9)), (*b"8888", *b"9999"));
        assert_eq!(guest.map(8, 8192), Reply::OkMapInfo);
        assert_eq!(guest.window.read(8192, 4), *b"8888");
    }

    #[test]
    fn a_blob_may_come_back_to_its_range_or_to_another() {
        let guest = guest();
        for offset in [0, 0, 4096, 65_536] {
            assert_eq!(guest.map(8, offset), Reply::OkMapInfo);
            guest.window.write(offset, b"8888");
            assert_eq!(unmap(&guest, 8), Reply::OkNoData);
            assert_eq!(bytes(&guest, 8), *b"8888");
        }
        assert_eq!(guest.on_resource(Command::ResourceUnref, 0, 8), Reply::OkNoData);
        assert_eq!(guest.window.read(0, 131_072), vec![0; 131_072]);
    }

    #[test]
    fn a_range_that_the_guest_sees_is_not_given_to_another() {
        let guest = guest();
        guest.map(8, 0);
        assert_eq!(guest.map(9, 0), Reply::ErrInvalidParameter);
        assert_eq!(guest.device.stats().mappings, 1);
    }

    #[test]
    fn pages_that_do_not_show_refuse_the_map_and_keep_the_range_free() {
        let guest = guest();
        guest.window.refuse.store(true, Ordering::Relaxed);
        assert_eq!(guest.map(8, 0), Reply::ErrUnspec);
        guest.window.refuse.store(false, Ordering::Relaxed);
        assert_eq!(guest.map(9, 0), Reply::OkMapInfo);
    }

    #[test]
    fn the_window_rests_when_the_last_context_and_mapping_are_gone() {
        let guest = guest();
        let rests = || guest.window.rests.load(Ordering::Relaxed);
        guest.map(8, 0);
        guest.command(Command::CtxDestroy, 1, (), &[]);
        assert_eq!(rests(), 0, "a blob is still mapped");
        unmap(&guest, 8);
        assert_eq!(rests(), 1);
        guest.create_context(2, 0);
        guest.create_context(1, alloc::CAPSET_ID);
        guest.map(9, 0);
        guest.on_resource(Command::ResourceUnref, 0, 9);
        assert_eq!(rests(), 1, "a context may want it again");
        guest.command(Command::CtxDestroy, 1, (), &[]);
        assert_eq!(rests(), 2, "one without a capset, as the console has it, does not");
    }
}
