//! The peer: rutabaga_gfx with a cross-domain context, called as a VMM calls it for a guest with minigbm.

use super::{PAGE_BYTES, Picture, reply_page};
use rutabaga_gfx::{RUTABAGA_BLOB_FLAG_USE_MAPPABLE, RUTABAGA_BLOB_FLAG_USE_SHAREABLE};
use rutabaga_gfx::{RUTABAGA_BLOB_MEM_GUEST, RUTABAGA_BLOB_MEM_HOST3D};
use rutabaga_gfx::{RUTABAGA_CAPSET_CROSS_DOMAIN, Rutabaga as Library, RutabagaBuilder, RutabagaFenceHandler};
use rutabaga_gfx::{ResourceCreateBlob, RutabagaHandle, RutabagaIovec};
use std::os::fd::{AsFd, BorrowedFd};
use virgbm::sys::mmap::Mmap;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Usages in the bits of its gralloc.
pub const USE_SCANOUT: u32 = 1;
pub const USE_RENDERING: u32 = 1 << 2;
pub const USE_LINEAR: u32 = 1 << 4;
pub const USE_TEXTURING: u32 = 1 << 5;

const CONTEXT: u32 = 1;
const RING: u32 = 1;

const COMMAND_INIT: u8 = 1;
const COMMAND_GET_IMAGE_REQUIREMENTS: u8 = 2;

/// Starts every command of the cross-domain context.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    command: u8,
    ring: u8,
    size: u16,
    padding: u32,
}

impl Header {
    fn of<T>(command: u8) -> Self {
        Self { command, ring: 0, size: size_of::<T>() as u16, padding: 0 }
    }
}

/// Names the rings; a channel of type 0 is none.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Init {
    header: Header,
    query_ring: u32,
    channel_ring: u32,
    channel_type: u32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct GetImageRequirements {
    header: Header,
    width: u32,
    height: u32,
    fourcc: u32,
    usage: u32,
}

/// The reply, at the start of the query ring.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Requirements {
    pub strides: [u32; 4],
    offsets: [u32; 4],
    modifier: u64,
    pub size: u64,
    blob_id: u32,
    map_info: u32,
    memory_index: i32,
    physical_device_index: i32,
}

/// An instance with one context, which makes one buffer at a time.
pub struct Rutabaga {
    // It writes to the page, so it is dropped first.
    library: Library,
    page: Mmap,
    picture: Picture,
    /// The last buffer's number.
    number: u32,
}

impl Rutabaga {
    pub fn new(picture: Picture) -> Self {
        let fences = RutabagaFenceHandler::new(|_| {});
        let mut library = RutabagaBuilder::new(1 << RUTABAGA_CAPSET_CROSS_DOMAIN, fences).build().unwrap();
        library.create_context(CONTEXT, RUTABAGA_CAPSET_CROSS_DOMAIN, Some("bench")).unwrap();
        let page = reply_page();
        let pages = RutabagaIovec { base: page.as_ptr().cast(), len: page.len() };
        let blob_flags = RUTABAGA_BLOB_FLAG_USE_MAPPABLE;
        let blob = ResourceCreateBlob { blob_mem: RUTABAGA_BLOB_MEM_GUEST, blob_flags, blob_id: 0, size: PAGE_BYTES };
        library.resource_create_blob(0, RING, blob, Some(vec![pages]), None).unwrap();
        library.context_attach_resource(CONTEXT, RING).unwrap();
        let header = Header::of::<Init>(COMMAND_INIT);
        let mut init = Init { header, query_ring: RING, channel_ring: RING, channel_type: 0 };
        library.submit_command(CONTEXT, init.as_mut_bytes(), &[]).unwrap();
        Self { library, page, picture, number: RING }
    }

    /// What a buffer would need, and the id under which blobs with that layout can be had, as many as are wanted.
    pub fn query(&mut self, height: u32) -> Requirements {
        let mut command = GetImageRequirements {
            header: Header::of::<GetImageRequirements>(COMMAND_GET_IMAGE_REQUIREMENTS),
            width: Picture::WIDTH,
            height,
            fourcc: self.picture.format.fourcc(),
            usage: self.picture.rutabaga_usage,
        };
        self.library.submit_command(CONTEXT, command.as_mut_bytes(), &[]).unwrap();
        let mut bytes = [0; size_of::<Requirements>()];
        self.page.read(0, &mut bytes).unwrap();
        let requirements = Requirements::read_from_bytes(&bytes).unwrap();
        assert_eq!(requirements.size, self.picture.size_bytes(height));
        requirements
    }

    pub fn create(&mut self, requirements: &Requirements) {
        self.number += 1;
        // Without SHAREABLE, an export would give the handle away instead of a second one.
        let blob = ResourceCreateBlob {
            blob_mem: RUTABAGA_BLOB_MEM_HOST3D,
            blob_flags: RUTABAGA_BLOB_FLAG_USE_MAPPABLE | RUTABAGA_BLOB_FLAG_USE_SHAREABLE,
            blob_id: requirements.blob_id.into(),
            size: requirements.size,
        };
        self.library.resource_create_blob(CONTEXT, self.number, blob, None, None).unwrap();
    }

    /// Another descriptor for the buffer.
    pub fn export(&mut self) -> RutabagaHandle {
        self.library.export_blob(self.number).unwrap()
    }

    pub fn destroy(&mut self) {
        self.library.unref_resource(self.number).unwrap();
    }
}

/// The descriptor in a handle.
pub fn descriptor(handle: &RutabagaHandle) -> BorrowedFd<'_> {
    handle.as_mesa_handle().unwrap().os_handle.as_fd()
}
