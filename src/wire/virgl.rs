//! The virgl protocol, as far as it allocates: capsets 1 and 2 of the device protocol.
//!
//! Names, numbers and fields are those of virglrenderer's `virgl_protocol.h` and `virgl_hw.h`; the tests pin them to literals from
//! there. Targets are those of RESOURCE_CREATE_3D ([`TARGET_BUFFER`](super::virtio_gpu::TARGET_BUFFER) and
//! [`TARGET_TEXTURE_2D`](super::virtio_gpu::TARGET_TEXTURE_2D)), bind bits the virgl words of [`Usage`](crate::Usage), and format
//! numbers a column of the format table.
//!
//! A submission is a stream of dwords: a [`CommandHeader`], then as many dwords as it says. PIPE_RESOURCE_CREATE makes a resource
//! under a blob id, which RESOURCE_CREATE_BLOB claims once.

use crate::wire::virtio_gpu::{ResourceCreate3d, numbers, wire_structs};
use thiserror::Error;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The capset that is a [`CapsV1`].
pub const CAPSET_ID_VIRGL: u32 = 1;
/// The capset that is a [`CapsV2`], or more behind it.
pub const CAPSET_ID_VIRGL2: u32 = 2;
/// `CapsV1.max_version` of the first capset, and its version for GET_CAPSET.
pub const VERSION_VIRGL: u32 = 1;
/// The same of the second.
pub const VERSION_VIRGL2: u32 = 2;

/// `bind`: shared with others than its context (`VIRGL_BIND_SHARED`); no [`Usage`](crate::Usage) says that.
pub const BIND_SHARED: u32 = 1 << 20;

/// `bind`: drawn into (`VIRGL_BIND_RENDER_TARGET`).
pub const BIND_RENDER_TARGET: u32 = 2;
/// `bind`: depth and stencil (`VIRGL_BIND_DEPTH_STENCIL`).
pub const BIND_DEPTH_STENCIL: u32 = 1;

/// `PipeResourceCreate.flags`: the first row is the topmost (`VIRGL_RESOURCE_Y_0_TOP`).
pub const RESOURCE_Y_0_TOP: u32 = 1;
/// `PipeResourceCreate.flags`: it stays mapped while the GPU uses it.
pub const RESOURCE_FLAG_MAP_PERSISTENT: u32 = 2;
/// `PipeResourceCreate.flags`: mappings need no flush.
pub const RESOURCE_FLAG_MAP_COHERENT: u32 = 4;

/// Format numbers that a mask has room for.
pub const MASK_FORMATS: u32 = 512;

numbers! {
    /// `CommandHeader.opcode` of the commands that allocate (`VIRGL_CCMD_*`).
    Command {
        PipeResourceCreate = 48,
        PipeResourceSetType = 49,
    }
}

wire_structs! {
    /// Starts every command: one dword, `opcode | object << 8 | length << 16`. `length` counts the dwords behind it.
    CommandHeader, 4 { opcode: u8, object: u8, length: U16 }

    /// Body of PIPE_RESOURCE_CREATE.
    PipeResourceCreate, 44 {
        target: U32, format: U32, bind: U32, width: U32, height: U32, depth: U32, array_size: U32, last_level: U32,
        nr_samples: U32, flags: U32, blob_id: U32,
    }

    /// Body of PIPE_RESOURCE_SET_TYPE, before a [`PlaneLayout`] for each plane.
    PipeResourceSetType, 32 { res_handle: U32, format: U32, bind: U32, width: U32, height: U32, usage: U32, modifier: U64 }

    /// Where a plane lies, in bytes.
    PlaneLayout, 8 { stride: U32, offset: U32 }

    /// A bit for each format number.
    SupportedFormatMask, 64 { bitmask: [U32; 16] }

    /// Capset 1. `limits` are from `glsl_level` to `max_texture_gather_components`.
    CapsV1, 308 {
        max_version: U32, sampler: SupportedFormatMask, render: SupportedFormatMask, depthstencil: SupportedFormatMask,
        vertexbuffer: SupportedFormatMask, bset: U32, limits: [U32; 11],
    }

    /// Capset 2, up to the masks that an allocator reads; hosts append to it. The limits between the named fields are those of
    /// drawing.
    CapsV2, 688 {
        v1: CapsV1, raster_limits: [U32; 21], capability_bits: U32, shader_limits: [U32; 22], max_texture_2d_size: U32,
        other_limits: [U32; 17], host_feature_check_version: U32,
        supported_readback_formats: SupportedFormatMask, scanout: SupportedFormatMask,
    }
}

impl From<ResourceCreate3d> for PipeResourceCreate {
    /// The same texture without a blob.
    fn from(create: ResourceCreate3d) -> Self {
        let ResourceCreate3d { target, format, bind, width, height, depth, array_size, last_level, nr_samples, flags, .. } =
            create;
        let blob_id = 0.into();
        Self { target, format, bind, width, height, depth, array_size, last_level, nr_samples, flags, blob_id }
    }
}

impl SupportedFormatMask {
    /// Adds a format by its number; one above [`MASK_FORMATS`] has no bit.
    pub fn insert(&mut self, format: u32) {
        if let Some(dword) = self.bitmask.get_mut((format / 32) as usize) {
            *dword = (dword.get() | 1 << (format % 32)).into();
        }
    }

    /// Whether a format is in it.
    pub fn contains(&self, format: u32) -> bool {
        self.bitmask.get((format / 32) as usize).is_some_and(|dword| dword.get() & 1 << (format % 32) != 0)
    }
}

impl CommandHeader {
    /// The header of a command without an object type, whose body is this many bytes: whole dwords, at most 65,535 of them.
    pub fn new(command: Command, body_bytes: usize) -> Self {
        Self { opcode: command.number() as u8, object: 0, length: ((body_bytes / 4) as u16).into() }
    }
}

/// One command of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: CommandHeader,
    /// Its body, as long as the header says.
    pub body: &'a [u8],
}

/// A stream whose next command is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the virgl command at byte {at} needs {needed} bytes, {left} are left")]
pub struct CutShort {
    /// Where it starts.
    pub at: usize,
    /// How long it is, with its header.
    pub needed: usize,
    /// What is there.
    pub left: usize,
}

/// The commands of a stream; it ends with the first that is not whole.
pub fn frames(stream: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, CutShort>> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (at, left) = (stream.len() - rest.len(), rest.len());
        let whole = CommandHeader::read_from_prefix(rest).map_err(|_| size_of::<CommandHeader>()).and_then(|(header, behind)| {
            let length = usize::from(header.length.get()) * 4;
            behind.split_at_checked(length).map(|(body, next)| (header, body, next)).ok_or(size_of::<CommandHeader>() + length)
        });
        match whole {
            Ok((header, body, next)) => {
                rest = next;
                Some(Ok(Frame { header, body }))
            }
            Err(needed) => {
                rest = &[];
                Some(Err(CutShort { at, needed, left }))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn numbers_are_those_of_the_headers() {
        assert_eq!((CAPSET_ID_VIRGL, CAPSET_ID_VIRGL2), (1, 2));
        assert_eq!((Command::PipeResourceCreate.number(), Command::PipeResourceSetType.number()), (48, 49));
        assert_eq!((BIND_SHARED, BIND_DEPTH_STENCIL), (0x0010_0000, 1));
        assert_eq!((RESOURCE_Y_0_TOP, RESOURCE_FLAG_MAP_PERSISTENT, RESOURCE_FLAG_MAP_COHERENT), (1, 2, 4));
    }

    #[test]
    fn bodies_have_the_dwords_of_the_header() {
        assert_eq!(size_of::<PipeResourceCreate>() / 4, 11);
        assert_eq!((size_of::<PipeResourceSetType>() + size_of::<PlaneLayout>()) / 4, 8 + 2);
        // One less than the dword's index in the header, which counts the command's own.
        assert_eq!(offset_of!(PipeResourceCreate, blob_id) / 4, 11 - 1);
        assert_eq!(offset_of!(PipeResourceSetType, modifier) / 4, 7 - 1);
    }

    #[test]
    fn the_masks_of_the_capsets_lie_where_the_header_has_them() {
        let v1 = [
            (offset_of!(CapsV1, sampler), 4),
            (offset_of!(CapsV1, render), 68),
            (offset_of!(CapsV1, depthstencil), 132),
            (offset_of!(CapsV1, vertexbuffer), 196),
            (offset_of!(CapsV1, bset), 260),
            (size_of::<CapsV1>(), 308),
        ];
        let v2 = [
            (offset_of!(CapsV2, capability_bits), 392),
            (offset_of!(CapsV2, max_texture_2d_size), 484),
            (offset_of!(CapsV2, host_feature_check_version), 556),
            (offset_of!(CapsV2, supported_readback_formats), 560),
            (offset_of!(CapsV2, scanout), 624),
            (size_of::<CapsV2>(), 688),
        ];
        for (index, (ours, theirs)) in v1.into_iter().chain(v2).enumerate() {
            assert_eq!(ours, theirs, "row {index}");
        }
    }

    #[test]
    fn a_mask_has_a_bit_for_each_number_and_none_beyond() {
        let mut mask = SupportedFormatMask::default();
        for format in [1, 67, 314, 511, 512, u32::MAX] {
            mask.insert(format);
        }
        let bytes = mask.as_bytes();
        assert_eq!((bytes[0], bytes[8], bytes[39], bytes[63]), (2, 8, 4, 0x80));
        assert_eq!(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>(), 4);
        assert!(mask.contains(314) && !mask.contains(313) && !mask.contains(512) && !mask.contains(u32::MAX));
    }

    #[test]
    fn a_create_starts_with_the_dword_that_minigbm_sends() {
        let header = CommandHeader::new(Command::PipeResourceCreate, size_of::<PipeResourceCreate>());
        assert_eq!(u32::from_le_bytes(header.as_bytes().try_into().unwrap()), 0x000b_0030);
    }

    #[test]
    fn a_stream_is_walked_by_the_lengths_and_ends_where_one_is_cut() {
        let stream = [7, 1, 1, 0, 9, 9, 9, 9, 0, 0, 0, 0, 48, 0, 2, 0, 1, 2, 3, 4];
        let found: Vec<_> = frames(&stream).collect();
        let first = found[0].unwrap();
        assert_eq!((first.header.opcode, first.header.object, first.body), (7, 1, &[9; 4][..]));
        assert_eq!((found[1].unwrap().header.opcode, found[1].unwrap().body.len()), (0, 0));
        assert_eq!(found[2].unwrap_err(), CutShort { at: 12, needed: 12, left: 8 });
        assert_eq!(found.len(), 3);
        assert_eq!(frames(&stream[..2]).last().unwrap().unwrap_err(), CutShort { at: 0, needed: 4, left: 2 });
        assert_eq!(frames(&[]).count(), 0);
    }
}
