//! The cross-domain protocol, as far as it allocates: capset 5 of the device protocol.
//!
//! Names, numbers and fields are those of rutabaga_gfx's `cross_domain_protocol.rs`, which minigbm's
//! `virtgpu_cross_domain_protocol.h` repeats; the tests pin them to literals from there.
//!
//! A submission holds commands one after the other, each with its [`Header`]. INIT names the query ring, a blob of guest memory;
//! GET_IMAGE_REQUIREMENTS writes an [`ImageRequirements`] at its start; RESOURCE_CREATE_BLOB with that `blob_id` and exactly that
//! `size` allocates, as often as it is sent: minigbm caches the answer for its whole life. There is no status: whoever asks
//! clears the slot first.

use crate::wire::virtio_gpu::{numbers, wire_structs};
use zerocopy::little_endian::{I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The capset's id.
pub const CAPSET_ID: u32 = 5;
/// `Capabilities.version`: every command up to WRITE.
pub const VERSION: u32 = 1;

/// `channel_type`: no channel.
pub const CHANNEL_TYPE_NONE: u32 = 0;
/// `channel_type`: the host's Wayland compositor.
pub const CHANNEL_TYPE_WAYLAND: u32 = 1;
/// `channel_type`: the host's camera service.
pub const CHANNEL_TYPE_CAMERA: u32 = 2;

/// `ring_idx` of a command that fences a query.
pub const QUERY_RING: u8 = 0;
/// `ring_idx` of a command that fences the channel.
pub const CHANNEL_RING: u8 = 1;

/// `memory_idx` and `physical_device_idx` where there is no Vulkan memory behind the image.
pub const INDEX_NONE: i32 = -1;

numbers! {
    /// `Header.cmd`.
    Command {
        Init = 1,
        GetImageRequirements = 2,
        Poll = 3,
        Send = 4,
        Receive = 5,
        Read = 6,
        Write = 7,
    }
}

wire_structs! {
    /// The capset.
    Capabilities, 16 { version: U32, supported_channels: U32, supports_dmabuf: U32, supports_external_gpu_memory: U32 }

    /// Starts every command. `cmd_size` counts the header too.
    Header, 8 { cmd: u8, ring_idx: u8, cmd_size: U16, pad: U32 }

    /// INIT as it is today.
    Init, 36 { header: Header, query_ring_id: U32, channel_ring_id: U32, channel_type: U32, internal_socket_uuid: [u8; 16] }

    /// INIT before there were internal sockets.
    InitV1, 20 { header: Header, query_ring_id: U32, channel_ring_id: U32, channel_type: U32 }

    /// INIT as ChromeOS first had it: one ring for both.
    InitLegacy, 16 { header: Header, query_ring_id: U32, channel_type: U32 }

    /// GET_IMAGE_REQUIREMENTS. `flags` are the lower half of minigbm's `BO_USE_*`.
    GetImageRequirements, 24 { header: Header, width: U32, height: U32, drm_format: U32, flags: U32 }

    /// Its answer, at the start of the query ring. `map_info` is the device protocol's `MAP_CACHE_*`.
    ImageRequirements, 64 {
        strides: [U32; 4], offsets: [U32; 4], modifier: U64, size: U64, blob_id: U32, map_info: U32, memory_idx: I32,
        physical_device_idx: I32,
    }
}

impl Header {
    /// The header of a command that is `T`.
    pub fn of<T>(command: Command) -> Self {
        Self { cmd: command.number() as u8, cmd_size: (size_of::<T>() as u16).into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_header() {
        assert_eq!((CAPSET_ID, VERSION, CHANNEL_TYPE_WAYLAND, CHANNEL_TYPE_CAMERA, INDEX_NONE), (5, 1, 1, 2, -1));
        let commands = [
            (Command::Init, 1),
            (Command::GetImageRequirements, 2),
            (Command::Poll, 3),
            (Command::Send, 4),
            (Command::Receive, 5),
            (Command::Read, 6),
            (Command::Write, 7),
        ];
        for (command, number) in commands {
            assert_eq!((command.number(), Command::from_number(number)), (number, Some(command)));
        }
        assert_eq!((Command::from_number(0), Command::from_number(8)), (None, None));
    }

    #[test]
    fn structures_are_as_long_as_the_header_says() {
        let sizes = [
            (size_of::<Capabilities>(), 16),
            (size_of::<Header>(), 8),
            (size_of::<Init>(), 36),
            (size_of::<InitV1>(), 20),
            (size_of::<InitLegacy>(), 16),
            (size_of::<GetImageRequirements>(), 24),
            (size_of::<ImageRequirements>(), 64),
        ];
        for (index, (ours, theirs)) in sizes.into_iter().enumerate() {
            assert_eq!(ours, theirs, "row {index}");
        }
    }

    #[test]
    fn a_query_lies_on_the_wire_as_minigbm_sends_it() {
        let query = GetImageRequirements {
            header: Header::of::<GetImageRequirements>(Command::GetImageRequirements),
            width: 0x102.into(),
            height: 3.into(),
            drm_format: u32::from_le_bytes(*b"NV12").into(),
            flags: 0x20.into(),
        };
        let bytes = [2, 0, 24, 0, 0, 0, 0, 0, 2, 1, 0, 0, 3, 0, 0, 0, b'N', b'V', b'1', b'2', 0x20, 0, 0, 0];
        assert_eq!(query.as_bytes(), bytes);
    }

    #[test]
    fn the_fields_of_an_answer_lie_where_minigbm_reads_them() {
        let mut bytes = [0u8; 64];
        for (index, dword) in bytes.chunks_exact_mut(4).enumerate() {
            dword[0] = index as u8 + 1;
        }
        let answer = ImageRequirements::read_from_bytes(&bytes).unwrap();
        assert_eq!((answer.strides[0].get(), answer.offsets[0].get(), answer.offsets[3].get()), (1, 5, 8));
        assert_eq!((answer.modifier.get(), answer.size.get()), (10 << 32 | 9, 12 << 32 | 11));
        assert_eq!((answer.blob_id.get(), answer.map_info.get()), (13, 14));
        assert_eq!((answer.memory_idx.get(), answer.physical_device_idx.get()), (15, 16));
    }
}
