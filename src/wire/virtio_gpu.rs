//! The virtio-gpu device protocol: control-queue commands and their replies.
//!
//! Names, numbers and fields are those of section 5.7 of the VIRTIO 1.2 specification and of Linux's `virtio_gpu.h`; the tests pin
//! them to literals from there.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Feature bit numbers.
pub mod feature {
    #![allow(missing_docs)]
    pub const VIRGL: u32 = 0;
    pub const EDID: u32 = 1;
    pub const RESOURCE_UUID: u32 = 2;
    pub const RESOURCE_BLOB: u32 = 3;
    pub const CONTEXT_INIT: u32 = 4;
    pub const BLOB_ALIGNMENT: u32 = 5;
}

/// The shared-memory region in which the host makes blobs visible.
pub const SHM_ID_HOST_VISIBLE: u8 = 1;

/// `ctrl_hdr.flags`: answer when the command is complete, and carry the fence id back.
pub const FLAG_FENCE: u32 = 1;
/// `ctrl_hdr.flags`: `ring_idx` names the timeline of the fence.
pub const FLAG_INFO_RING_IDX: u32 = 2;
/// Rings of a context: `ring_idx` is below this.
pub const MAX_RINGS: u8 = 64;

/// The bits of `context_init` that carry the capset's id.
pub const CONTEXT_INIT_CAPSET_ID_MASK: u32 = 255;

/// `blob_mem`: pages of the guest.
pub const BLOB_MEM_GUEST: u32 = 1;
/// `blob_mem`: memory of the host.
pub const BLOB_MEM_HOST3D: u32 = 2;
/// `blob_mem`: memory of the host with pages of the guest behind it.
pub const BLOB_MEM_HOST3D_GUEST: u32 = 3;

/// `blob_flags`: the guest maps it.
pub const BLOB_FLAG_USE_MAPPABLE: u32 = 1;
/// `blob_flags`: shared between contexts.
pub const BLOB_FLAG_USE_SHAREABLE: u32 = 2;
/// `blob_flags`: shared with other virtio devices.
pub const BLOB_FLAG_USE_CROSS_DEVICE: u32 = 4;

/// `map_info`: the bits that say how the guest caches the mapping.
pub const MAP_CACHE_MASK: u32 = 0x0f;
/// `map_info`: ordinary cached memory.
pub const MAP_CACHE_CACHED: u32 = 1;
/// `map_info`: uncached.
pub const MAP_CACHE_UNCACHED: u32 = 2;
/// `map_info`: write-combined.
pub const MAP_CACHE_WC: u32 = 3;

/// `RESOURCE_CREATE_3D.target` of a plain buffer (`PIPE_BUFFER`).
pub const TARGET_BUFFER: u32 = 0;
/// `RESOURCE_CREATE_3D.target` of a 2D image (`PIPE_TEXTURE_2D`).
pub const TARGET_TEXTURE_2D: u32 = 2;

macro_rules! numbers {
    ($(#[doc = $doc:literal])+ $name:ident { $($variant:ident = $value:literal),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum $name {
            $($variant = $value),+
        }

        impl $name {
            /// The variant with this number, `None` for an unknown one.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The number on the wire.
            pub const fn number(self) -> u32 {
                self as u32
            }
        }
    };
}
pub(crate) use numbers;

numbers! {
    /// `ctrl_hdr.type` of a command.
    Command {
        GetDisplayInfo = 0x100,
        ResourceCreate2d = 0x101,
        ResourceUnref = 0x102,
        SetScanout = 0x103,
        ResourceFlush = 0x104,
        TransferToHost2d = 0x105,
        ResourceAttachBacking = 0x106,
        ResourceDetachBacking = 0x107,
        GetCapsetInfo = 0x108,
        GetCapset = 0x109,
        GetEdid = 0x10a,
        ResourceAssignUuid = 0x10b,
        ResourceCreateBlob = 0x10c,
        SetScanoutBlob = 0x10d,
        CtxCreate = 0x200,
        CtxDestroy = 0x201,
        CtxAttachResource = 0x202,
        CtxDetachResource = 0x203,
        ResourceCreate3d = 0x204,
        TransferToHost3d = 0x205,
        TransferFromHost3d = 0x206,
        Submit3d = 0x207,
        ResourceMapBlob = 0x208,
        ResourceUnmapBlob = 0x209,
        UpdateCursor = 0x300,
        MoveCursor = 0x301,
    }
}

numbers! {
    /// `ctrl_hdr.type` of a reply.
    Reply {
        OkNoData = 0x1100,
        OkDisplayInfo = 0x1101,
        OkCapsetInfo = 0x1102,
        OkCapset = 0x1103,
        OkEdid = 0x1104,
        OkResourceUuid = 0x1105,
        OkMapInfo = 0x1106,
        ErrUnspec = 0x1200,
        ErrOutOfMemory = 0x1201,
        ErrInvalidScanoutId = 0x1202,
        ErrInvalidResourceId = 0x1203,
        ErrInvalidContextId = 0x1204,
        ErrInvalidParameter = 0x1205,
    }
}

/// Declares wire structures and their sizes in bytes, which the specification gives.
macro_rules! wire_structs {
    ($($(#[doc = $doc:literal])+ $name:ident, $bytes:literal { $($field:ident: $type:ty),+ $(,)? })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            #[allow(missing_docs)]
            pub struct $name {
                $(pub $field: $type),+
            }
            const _: () = assert!(size_of::<$name>() == $bytes);

            impl Default for $name {
                fn default() -> Self {
                    zerocopy::FromZeros::new_zeroed()
                }
            }
        )+
    };
}
pub(crate) use wire_structs;

wire_structs! {
    /// Starts every command and reply. `ctype` is the field `type`.
    CtrlHdr, 24 { ctype: U32, flags: U32, fence_id: U64, ctx_id: U32, ring_idx: u8, padding: [u8; 3] }

    /// A rectangle in pixels.
    Rect, 16 { x: U32, y: U32, width: U32, height: U32 }

    /// A box in texels; `w`, `h`, `d` are sizes.
    Box3d, 24 { x: U32, y: U32, z: U32, w: U32, h: U32, d: U32 }

    /// Device configuration space; the last field belongs to BLOB_ALIGNMENT.
    Config, 20 { events_read: U32, events_clear: U32, num_scanouts: U32, num_capsets: U32, blob_alignment: U32 }

    /// Body of RESOURCE_CREATE_2D.
    ResourceCreate2d, 16 { resource_id: U32, format: U32, width: U32, height: U32 }

    /// Body of RESOURCE_UNREF, DETACH_BACKING, ASSIGN_UUID, CTX_ATTACH_RESOURCE, CTX_DETACH_RESOURCE and UNMAP_BLOB.
    ResourceId, 8 { resource_id: U32, padding: U32 }

    /// Body of TRANSFER_TO_HOST_2D.
    TransferToHost2d, 32 { rect: Rect, offset: U64, resource_id: U32, padding: U32 }

    /// Body of ATTACH_BACKING, before its entries.
    AttachBacking, 8 { resource_id: U32, nr_entries: U32 }

    /// One run of guest pages.
    MemEntry, 16 { addr: U64, length: U32, padding: U32 }

    /// Body of GET_CAPSET_INFO.
    GetCapsetInfo, 8 { capset_index: U32, padding: U32 }

    /// Body of its reply.
    CapsetInfo, 16 { capset_id: U32, max_version: U32, max_size: U32, padding: U32 }

    /// Body of GET_CAPSET; the reply carries the capset.
    GetCapset, 8 { capset_id: U32, version: U32 }

    /// Body of the reply to ASSIGN_UUID.
    ResourceUuid, 16 { uuid: [u8; 16] }

    /// Body of RESOURCE_CREATE_BLOB, before its entries.
    ResourceCreateBlob, 32 { resource_id: U32, blob_mem: U32, blob_flags: U32, nr_entries: U32, blob_id: U64, size: U64 }

    /// Body of CTX_CREATE.
    CtxCreate, 72 { nlen: U32, context_init: U32, debug_name: [u8; 64] }

    /// Body of RESOURCE_CREATE_3D.
    ResourceCreate3d, 48 {
        resource_id: U32, target: U32, format: U32, bind: U32, width: U32, height: U32, depth: U32, array_size: U32,
        last_level: U32, nr_samples: U32, flags: U32, padding: U32,
    }

    /// Body of TRANSFER_TO_HOST_3D and TRANSFER_FROM_HOST_3D.
    TransferHost3d, 48 { area: Box3d, offset: U64, resource_id: U32, level: U32, stride: U32, layer_stride: U32 }

    /// Body of SUBMIT_3D, before the commands.
    Submit3d, 8 { size: U32, padding: U32 }

    /// Body of RESOURCE_MAP_BLOB.
    MapBlob, 16 { resource_id: U32, padding: U32, offset: U64 }

    /// Body of its reply.
    MapInfo, 8 { map_info: U32, padding: U32 }

    /// One screen in the reply to GET_DISPLAY_INFO.
    DisplayMode, 24 { rect: Rect, enabled: U32, flags: U32 }

    /// Body of the reply to GET_DISPLAY_INFO: 16 screens.
    DisplayInfo, 384 { modes: [DisplayMode; 16] }

    /// Body of GET_EDID.
    GetEdid, 8 { scanout: U32, padding: U32 }

    /// Body of its reply: `size` bytes of EDID are there.
    Edid, 1032 { size: U32, padding: U32, edid: [u8; 1024] }

    /// Body of SET_SCANOUT.
    SetScanout, 24 { rect: Rect, scanout_id: U32, resource_id: U32 }

    /// Body of SET_SCANOUT_BLOB.
    SetScanoutBlob, 72 {
        rect: Rect, scanout_id: U32, resource_id: U32, width: U32, height: U32, format: U32, padding: U32,
        strides: [U32; 4], offsets: [U32; 4],
    }

    /// Body of RESOURCE_FLUSH.
    ResourceFlush, 24 { rect: Rect, resource_id: U32, padding: U32 }

    /// Body of UPDATE_CURSOR and MOVE_CURSOR.
    Cursor, 32 { scanout_id: U32, x: U32, y: U32, padding: U32, resource_id: U32, hot_x: U32, hot_y: U32, padding2: U32 }
}

impl CtrlHdr {
    /// A header for a command of a context, 0 for none, without a fence.
    pub fn command(command: Command, ctx_id: u32) -> Self {
        Self { ctype: command.number().into(), ctx_id: ctx_id.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_as_long_as_the_specification_says() {
        let header = size_of::<CtrlHdr>();
        let sizes = [
            (header, 24),
            (header + size_of::<ResourceCreate2d>(), 40),
            (header + size_of::<ResourceId>(), 32),
            (header + size_of::<GetEdid>(), 32),
            (header + size_of::<Edid>(), 1056),
            (header + size_of::<SetScanout>(), 48),
            (header + size_of::<ResourceFlush>(), 48),
            (header + size_of::<TransferToHost2d>(), 56),
            (header + size_of::<AttachBacking>(), 32),
            (header + size_of::<GetCapsetInfo>(), 32),
            (header + size_of::<CapsetInfo>(), 40),
            (header + size_of::<GetCapset>(), 32),
            (header + size_of::<ResourceUuid>(), 40),
            (header + size_of::<ResourceCreateBlob>(), 56),
            (header + size_of::<SetScanoutBlob>(), 96),
            (header + size_of::<CtxCreate>(), 96),
            (header + size_of::<ResourceCreate3d>(), 72),
            (header + size_of::<TransferHost3d>(), 72),
            (header + size_of::<Submit3d>(), 32),
            (header + size_of::<MapBlob>(), 40),
            (header + size_of::<MapInfo>(), 32),
            (header + size_of::<Cursor>(), 56),
            (size_of::<MemEntry>(), 16),
            (size_of::<Config>(), 20),
        ];
        for (index, (ours, specified)) in sizes.into_iter().enumerate() {
            assert_eq!(ours, specified, "row {index}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_specification() {
        let commands = [
            (Command::GetDisplayInfo, 0x0100),
            (Command::ResourceCreate2d, 0x0101),
            (Command::ResourceAttachBacking, 0x0106),
            (Command::GetCapset, 0x0109),
            (Command::GetEdid, 0x010a),
            (Command::ResourceCreateBlob, 0x010c),
            (Command::SetScanoutBlob, 0x010d),
            (Command::CtxCreate, 0x0200),
            (Command::ResourceCreate3d, 0x0204),
            (Command::Submit3d, 0x0207),
            (Command::ResourceMapBlob, 0x0208),
            (Command::ResourceUnmapBlob, 0x0209),
            (Command::MoveCursor, 0x0301),
        ];
        for (command, number) in commands {
            assert_eq!(command.number(), number);
            assert_eq!(Command::from_number(number), Some(command));
        }
        assert_eq!(Command::from_number(0x10e), None);
        assert_eq!((Reply::OkNoData.number(), Reply::OkMapInfo.number()), (0x1100, 0x1106));
        assert_eq!(Reply::OkEdid.number(), 0x1104);
        assert_eq!((Reply::ErrUnspec.number(), Reply::ErrInvalidParameter.number()), (0x1200, 0x1205));
    }

    #[test]
    fn the_capset_mask_of_context_init_covers_eight_bits() {
        assert_eq!(0x0000_1314 & CONTEXT_INIT_CAPSET_ID_MASK, 0x14);
    }

    #[test]
    fn a_header_lies_on_the_wire_as_specified() {
        let header = CtrlHdr {
            ctype: 0x207.into(),
            flags: (FLAG_FENCE | FLAG_INFO_RING_IDX).into(),
            fence_id: 0x1122.into(),
            ctx_id: 7.into(),
            ring_idx: 3,
            padding: [0; 3],
        };
        let bytes = [7, 2, 0, 0, 3, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0];
        assert_eq!(header.as_bytes(), bytes);
    }
}
