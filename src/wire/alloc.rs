//! The allocation protocol, version 1: this documentation is its specification.
//!
//! # Capset
//!
//! A host that speaks the protocol offers a capset, id [`CAPSET_ID`] unless both sides are configured otherwise, version
//! [`VERSION`]. Its content is one [`Capset`] and, behind it, `support_count` entries of `support_bytes` each, which start with a
//! [`SupportEntry`]. The entries of one format stand in the host's order of preference: asked for an image, the host takes the
//! first entry of the format that has all the usages and one of the modifiers, so the guest knows the choice without asking.
//! A guest refuses another magic or version, and ignores bytes behind what it knows.
//!
//! # Commands
//!
//! A submission (SUBMIT_3D, or the `cmd` of RESOURCE_CREATE_BLOB in the guest kernel's interface) holds commands one after the
//! other. Each is a [`Header`] and a body, `size` bytes together, padded to a multiple of 8, at most [`MAX_STREAM_BYTES`] in all.
//! The host walks the headers of the whole submission first: a size that is short, odd or beyond the end, or a reply slot outside
//! the ring, refuses it whole and executes nothing. Then the commands are executed in order, each by itself: one that fails is told
//! in its slot and the next goes on.
//!
//! | opcode | body | what it does |
//! |---|---|---|
//! | INIT | [`Init`] | names the reply ring: a guest blob attached to the context. Stands alone in its submission |
//! | RESOLVE | [`ImageRequest`], modifiers | the layout that ALLOC_IMAGE would give; allocates nothing |
//! | ALLOC_MEMORY | [`Claim`] | plain memory of `blob_size` bytes |
//! | ALLOC_IMAGE | [`Claim`], [`ImageRequest`], modifiers | an image; the host chooses GL, Vulkan or memory |
//! | ALLOC_GL | [`Claim`], [`GlTexture`] | a GL texture |
//! | ALLOC_VK | [`Claim`], [`VkImage`], view formats padded to 8 bytes, modifiers | a Vulkan image |
//! | FREE | [`BlobId`] | drops an object that no blob has claimed |
//! | SET_NAME | [`SetName`], the bytes | names an object (`blob_id`) or, where that is 0, a resource |
//! | IMPORT | [`Import`] | gives a guest blob a layout, so that the host reads it as an image, in place |
//! | DESCRIBE | [`Resource`] | the layout of a resource attached to the context, whoever made it |
//!
//! A modifier is a `u64`; a list has at most [`MAX_MODIFIERS`]. No modifier, or INVALID among them, leaves the choice to the host.
//!
//! # Objects and blobs
//!
//! ALLOC_* makes an object under a blob id that the guest chooses: 64 bits, not 0, unique in its context while unclaimed. An
//! object is the driver's: it may be freed without ever being a blob. RESOURCE_CREATE_BLOB with kind HOST3D and that id claims it,
//! once: the object becomes the resource and its id is free again. `size` and `blob_flags` of the claim must be those of the
//! object; otherwise the claim is refused and the object freed. An image of one plane that can't be mapped ([`SUPPORT_TRANSFERS`]) is
//! claimed with kind HOST3D_GUEST for a CPU usage: the guest maps pages of its own, whose rows lie as in the image's layout, and
//! TRANSFER_TO_HOST_3D and TRANSFER_FROM_HOST_3D move rectangles between both. `blob_size` is the object's size with the padding that the guest
//! kernel adds: at least the layout's size, and less than 64 KiB (the largest guest page) above that size rounded up to
//! `blob_alignment`. A HOST3D blob with id 0 is plain memory without a command, as in other contexts of virtio-gpu.
//!
//! # Replies
//!
//! The reply ring is an array of [`ReplySlot`]s in guest memory. A command names a slot, or [`NO_REPLY`]. The guest clears `status`
//! and submits; the host writes the slot and, last and with release order, `status`. With [`FLAG_REPLY_AT_CLAIM`] a successful
//! ALLOC_* is answered when its object is claimed, so that one look at the slot covers both; a failed one is answered at once.
//! The guest kernel gives RESOURCE_CREATE_BLOB no fence, so the slot is the only word on it. A reply carries the sequence number of
//! its command; `layout` is set by RESOLVE, ALLOC_IMAGE, ALLOC_GL, ALLOC_VK and DESCRIBE.
//! Detaching or destroying the ring's resource ends the ring; another INIT names another.

mod stream;

use crate::wire::virtio_gpu::{numbers, wire_structs};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use stream::{Frame, Stream, StreamError, frames, split_body, split_list};

/// The capset's id, unless configured otherwise. Nobody owns the number; kernels up to 6.12 need it below 32.
pub const CAPSET_ID: u32 = 20;
/// The version of this specification.
pub const VERSION: u32 = 1;
/// `Capset.magic`: "VGBM".
pub const MAGIC: u32 = u32::from_le_bytes(*b"VGBM");
/// A submission's commands, in bytes, at most.
pub const MAX_STREAM_BYTES: usize = 64 * 1024;
/// The modifiers of one command, at most.
pub const MAX_MODIFIERS: u32 = 256;
/// The view formats of one ALLOC_VK, at most.
pub const MAX_VIEW_FORMATS: u32 = 64;
/// The bytes of a name, at most.
pub const MAX_NAME_BYTES: u32 = 64;
/// The slots of a reply ring, at most.
pub const MAX_SLOTS: u32 = 4096;
/// `Header.reply_slot` of a command that wants no reply.
pub const NO_REPLY: u32 = u32::MAX;
/// `Header.flags`: answer a successful ALLOC_* when its object is claimed.
pub const FLAG_REPLY_AT_CLAIM: u16 = 1;
/// `SupportEntry.flags`: the packed linear layout with the entry's alignments is exactly the host's.
pub const SUPPORT_GUEST_LAYOUT: u32 = 1;
/// `SupportEntry.flags`: what the CPU does goes by transfers, since the image can't be mapped.
pub const SUPPORT_TRANSFERS: u32 = 2;
/// `ReplySlot.status` before the host has answered.
pub const STATUS_PENDING: u32 = 0;

bitflags::bitflags! {
    /// `Capset.flags`: what the host can do. A host sets only what it has seen work.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Capabilities: u32 {
        /// Blobs leave the host as dma-bufs.
        const DMA_BUF_EXPORT = 1;
        /// Blobs can be mapped into the guest's host-visible window.
        const HOST_VISIBLE = 1 << 1;
        /// IMPORT works.
        const GUEST_MEMORY_IMPORT = 1 << 2;
        /// ALLOC_GL works.
        const GL = 1 << 3;
        /// ALLOC_VK works.
        const VULKAN = 1 << 4;
        /// There is protected memory.
        const PROTECTED = 1 << 5;
        /// Contexts of virgl draw on this device, into dma-bufs and into resources of their own.
        const VIRGL_DRAWS = 1 << 6;
    }
}

numbers! {
    /// `Header.opcode`.
    Opcode {
        Init = 1,
        Resolve = 2,
        AllocMemory = 3,
        AllocImage = 4,
        AllocGl = 5,
        AllocVk = 6,
        Free = 7,
        SetName = 8,
        Import = 9,
        Describe = 10,
    }
}

numbers! {
    /// `ReplySlot.status` once the host has answered.
    Status {
        Ok = 1,
        Malformed = 2,
        UnknownOpcode = 3,
        Format = 4,
        Usage = 5,
        NoCommonModifier = 6,
        Extent = 7,
        Quota = 8,
        OutOfMemory = 9,
        IdInUse = 10,
        UnknownId = 11,
        SizeMismatch = 12,
        FlagsMismatch = 13,
        NotPermitted = 14,
        NoResolver = 15,
        Host = 16,
    }
}

impl Status {
    /// What the status means, for people.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Malformed => "the command's body is malformed",
            Self::UnknownOpcode => "the host does not know the command",
            Self::Format => "the host does not offer the format",
            Self::Usage => "the host does not offer the format for that usage",
            Self::NoCommonModifier => "none of the listed modifiers is offered",
            Self::Extent => "the picture is larger than the host takes",
            Self::Quota => "the quota is used up: free other buffers, or raise the host's quota",
            Self::OutOfMemory => "the host has no memory left",
            Self::IdInUse => "the blob id is in use",
            Self::UnknownId => "no such object or resource in this context",
            Self::SizeMismatch => "the blob's size is not the object's",
            Self::FlagsMismatch => "the blob's flags are not the object's",
            Self::NotPermitted => "the resource is not attached to this context, or not of the right kind",
            Self::NoResolver => "the host has no driver of that class",
            Self::Host => "the host failed; its log says why",
        }
    }
}

numbers! {
    /// `ReplySlot.backing`: what the image is made of.
    Backing {
        Memory = 1,
        Gl = 2,
        Vulkan = 3,
        Guest = 4,
        Gbm = 5,
        Renderer = 6,
    }
}

wire_structs! {
    /// Starts the capset.
    Capset, 64 {
        magic: U32, version: U32, size: U32, flags: U32,
        max_width: U32, max_height: U32, max_layers: U32, max_levels: U32,
        blob_alignment: U32, support_count: U32, support_bytes: U32, max_slots: U32,
        context_bytes: U64, context_objects: U32, padding: U32,
    }

    /// One format and modifier that the host offers; usages are the bits of [`Usage`](crate::Usage).
    SupportEntry, 48 {
        fourcc: U32, plane_count: U32, modifier: U64, usages: U64,
        stride_alignment: U32, offset_alignment: U32, size_alignment: U32, flags: U32, reserved: U64,
    }

    /// Starts every command. `size` counts the header too.
    Header, 16 { opcode: U16, flags: U16, size: U32, sequence: U32, reply_slot: U32 }

    /// Body of INIT: the ring is `slot_count` slots from byte `offset` of the resource, a multiple of a slot's size.
    Init, 16 { resource_id: U32, slot_count: U32, offset: U64 }

    /// The blob that will claim the object.
    Claim, 24 { blob_id: U64, blob_size: U64, blob_flags: U32, padding: U32 }

    /// What is asked of an image, before its `modifier_count` modifiers.
    ImageRequest, 32 { fourcc: U32, width: U32, height: U32, layers: U32, usage: U64, modifier_count: U32, padding: U32 }

    /// The creation parameters of a GL texture, GL's own numbers.
    GlTexture, 40 {
        target: U32, internal_format: U32, bind: U32, width: U32, height: U32, depth: U32,
        array_size: U32, levels: U32, samples: U32, flags: U32,
    }

    /// The creation parameters of a Vulkan image, Vulkan's own numbers, before its lists.
    VkImage, 56 {
        flags: U32, image_type: U32, format: U32, width: U32, height: U32, depth: U32, levels: U32, layers: U32,
        samples: U32, tiling: U32, usage: U32, view_format_count: U32, modifier_count: U32, padding: U32,
    }

    /// Body of FREE.
    BlobId, 8 { blob_id: U64 }

    /// Body of SET_NAME, before the `length` bytes of the name.
    SetName, 16 { blob_id: U64, resource_id: U32, length: U32 }

    /// Body of DESCRIBE.
    Resource, 8 { resource_id: U32, padding: U32 }

    /// Body of IMPORT.
    Import, 152 { resource_id: U32, padding: U32, layout: LayoutBody }

    /// A plane, in bytes.
    PlaneBody, 24 { stride: U32, padding: U32, offset: U64, size: U64 }

    /// A layout.
    LayoutBody, 144 {
        fourcc: U32, width: U32, height: U32, layers: U32, plane_count: U32, padding: U32,
        modifier: U64, layer_stride: U64, size: U64, planes: [PlaneBody; 4],
    }

    /// A reply. `detail` is the host's errno where there is one, `map_info` how a mapping is cached (`virtio_gpu::MAP_CACHE_*`).
    Reply, 168 { status: U32, sequence: U32, detail: U32, backing: U32, map_info: U32, padding: U32, layout: LayoutBody }

    /// A reply in its slot, which never crosses a page.
    ReplySlot, 256 { reply: Reply, reserved: [U64; 11] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_specification() {
        assert_eq!((CAPSET_ID, VERSION, MAGIC), (20, 1, 0x4d42_4756));
        assert_eq!((Opcode::Init.number(), Opcode::AllocImage.number(), Opcode::Describe.number()), (1, 4, 10));
        assert_eq!((Status::Ok.number(), Status::Quota.number(), Status::Host.number()), (1, 8, 16));
        assert_eq!(Status::from_number(STATUS_PENDING), None);
        assert_eq!(Capabilities::all().bits(), 0x7f);
    }

    #[test]
    fn a_command_lies_on_the_wire_as_specified() {
        let mut stream = Stream::new();
        let free = BlobId { blob_id: 0x0102.into() };
        stream.push(Opcode::Free, 0, 7, NO_REPLY, &[free.as_bytes()]);
        let bytes = [7, 0, 0, 0, 24, 0, 0, 0, 7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 2, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(stream.as_bytes(), bytes);
    }

    #[test]
    fn a_slot_has_its_status_first_and_divides_a_page() {
        let slot = ReplySlot { reply: Reply { status: 5.into(), ..Reply::default() }, ..ReplySlot::default() };
        assert_eq!(slot.as_bytes()[..4], [5, 0, 0, 0]);
        assert_eq!(4096 % size_of::<ReplySlot>(), 0);
    }
}
