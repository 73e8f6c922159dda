//! The ioctls of the virtio-gpu driver (`virtgpu_drm.h`): one safe function each.

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `DRM_COMMAND_BASE`: where a driver's own ioctls start.
const COMMAND_BASE: u8 = 0x40;

/// Declares an ioctl's structure, its number, and a private function that calls it.
macro_rules! ioctls {
    ($($(#[doc = $doc:literal])* $name:ident, $opcode:ident, $number:literal, $call:ident {
        $($(#[doc = $field_doc:literal])* $field:ident: $type:ty),+ $(,)?
    })+) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, Default)]
            #[repr(C)]
            #[allow(missing_docs)]
            pub struct $name {
                $($(#[doc = $field_doc])* pub $field: $type),+
            }

            const $opcode: Opcode = opcode::read_write::<$name>(b'd', COMMAND_BASE + $number);

            /// # Safety
            /// Every address in `argument` must be that of memory which holds as much as the fields beside it say.
            unsafe fn $call(fd: BorrowedFd<'_>, argument: &mut $name) -> io::Result<()> {
                // SAFETY: the number is that of an ioctl which reads and writes exactly this structure.
                let request = unsafe { Updater::<$opcode, $name>::new(argument) };
                // SAFETY: the structure is valid, and the caller vouches for the memory that its addresses name.
                Ok(unsafe { ioctl(fd, request) }?)
            }
        )+
    };
}

ioctls! {
    /// `drm_virtgpu_map`.
    Map, MAP, 1, call_map { offset: u64, handle: u32, padding: u32 }
    /// `drm_virtgpu_execbuffer`.
    Execbuffer, EXECBUFFER, 2, call_execbuffer {
        flags: u32, size: u32, command: u64, bo_handles: u64, num_bo_handles: u32, fence_fd: i32, ring_idx: u32,
        syncobj_stride: u32, num_in_syncobjs: u32, num_out_syncobjs: u32, in_syncobjs: u64, out_syncobjs: u64,
    }
    /// `drm_virtgpu_getparam`.
    GetParam, GETPARAM, 3, call_getparam { param: u64, value: u64 }
    /// `drm_virtgpu_resource_create`.
    ResourceCreate, RESOURCE_CREATE, 4, call_resource_create {
        target: u32, format: u32, bind: u32, width: u32, height: u32, depth: u32, array_size: u32, last_level: u32,
        nr_samples: u32, flags: u32, bo_handle: u32, res_handle: u32, size: u32, stride: u32,
    }
    /// `drm_virtgpu_resource_info`.
    ResourceInfo, RESOURCE_INFO, 5, call_resource_info { bo_handle: u32, res_handle: u32, size: u32, blob_mem: u32 }
    /// `drm_virtgpu_3d_transfer_from_host`.
    TransferFromHost, TRANSFER_FROM_HOST, 6, call_transfer_from_host {
        bo_handle: u32, x: u32, y: u32, z: u32, w: u32, h: u32, d: u32, level: u32, offset: u32, stride: u32, layer_stride: u32,
    }
    /// `drm_virtgpu_3d_transfer_to_host`.
    TransferToHost, TRANSFER_TO_HOST, 7, call_transfer_to_host {
        bo_handle: u32, x: u32, y: u32, z: u32, w: u32, h: u32, d: u32, level: u32, offset: u32, stride: u32, layer_stride: u32,
    }
    /// `drm_virtgpu_3d_wait`.
    Wait, WAIT, 8, call_wait { handle: u32, flags: u32 }
    /// `drm_virtgpu_get_caps`.
    GetCaps, GET_CAPS, 9, call_get_caps { cap_set_id: u32, cap_set_ver: u32, addr: u64, size: u32, padding: u32 }
    /// `drm_virtgpu_resource_create_blob`.
    ResourceCreateBlob, RESOURCE_CREATE_BLOB, 10, call_resource_create_blob {
        blob_mem: u32, blob_flags: u32, bo_handle: u32, res_handle: u32, size: u64, padding: u32, cmd_size: u32, cmd: u64,
        blob_id: u64,
    }
    /// `drm_virtgpu_context_init`.
    ContextInit, CONTEXT_INIT, 11, call_context_init { num_params: u32, padding: u32, ctx_set_params: u64 }
}

const EXECBUF_FENCE_FD_IN: u32 = 1;
const EXECBUF_FENCE_FD_OUT: u32 = 2;
const EXECBUF_RING_IDX: u32 = 4;

const CONTEXT_PARAM_CAPSET_ID: u64 = 1;
const CONTEXT_PARAM_NUM_RINGS: u64 = 2;
const CONTEXT_PARAM_DEBUG_NAME: u64 = 4;

/// `drm_virtgpu_context_set_param`.
#[derive(Clone, Copy)]
#[repr(C)]
struct ContextParam {
    param: u64,
    value: u64,
}

fn address_of<T>(items: &[T]) -> u64 {
    items.as_ptr().addr() as u64
}

fn count_of<T>(items: &[T]) -> io::Result<u32> {
    u32::try_from(items.len()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// GETPARAM.
///
/// # Errors
/// The driver's errno.
pub fn get_param(fd: BorrowedFd<'_>, param: u64) -> io::Result<u64> {
    let mut value = 0i32;
    let mut argument = GetParam { param, value: std::ptr::from_mut(&mut value).expose_provenance() as u64 };
    // SAFETY: `value` is the int that the driver writes, alive until the call returns.
    unsafe { call_getparam(fd, &mut argument) }?;
    Ok(u64::from(value as u32))
}

/// GET_CAPS.
///
/// # Errors
/// The driver's errno.
pub fn get_caps(fd: BorrowedFd<'_>, id: u32, version: u32, buffer: &mut [u8]) -> io::Result<()> {
    let (size, addr) = (count_of(buffer)?, buffer.as_mut_ptr().expose_provenance() as u64);
    let mut argument = GetCaps { cap_set_id: id, cap_set_ver: version, addr, size, padding: 0 };
    // SAFETY: `addr` and `size` are those of `buffer`, which is exclusive until the call returns.
    unsafe { call_get_caps(fd, &mut argument) }
}

/// CONTEXT_INIT with a capset, rings and a name, which needs EXPLICIT_DEBUG_NAME.
///
/// # Errors
/// The driver's errno; EINVAL for a name with a NUL.
pub fn context_init(fd: BorrowedFd<'_>, capset_id: u32, num_rings: u32, debug_name: Option<&str>) -> io::Result<()> {
    let name = debug_name.map(std::ffi::CString::new).transpose().map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut params = vec![
        ContextParam { param: CONTEXT_PARAM_CAPSET_ID, value: capset_id.into() },
        ContextParam { param: CONTEXT_PARAM_NUM_RINGS, value: num_rings.into() },
    ];
    if let Some(name) = &name {
        let value = name.as_ptr().expose_provenance() as u64;
        params.push(ContextParam { param: CONTEXT_PARAM_DEBUG_NAME, value });
    }
    let mut argument = ContextInit { num_params: count_of(&params)?, padding: 0, ctx_set_params: address_of(&params) };
    // SAFETY: `params` and the NUL-terminated `name` that it points to live until the call returns; the driver only reads them.
    unsafe { call_context_init(fd, &mut argument) }
}

/// What EXECBUFFER takes and gives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Submission<'a> {
    /// The commands.
    pub command: &'a [u8],
    /// The buffers that get its fence.
    pub bo_handles: &'a [u32],
    /// The ring, where the context has rings.
    pub ring_idx: Option<u32>,
    /// A sync_file to wait for before the commands are sent.
    pub in_fence: Option<BorrowedFd<'a>>,
    /// Whether a sync_file of its fence is wanted.
    pub out_fence: bool,
    /// To wait for before the commands are sent.
    pub in_syncobjs: &'a [Syncobj],
    /// That get its fence.
    pub out_syncobjs: &'a [Syncobj],
}

/// `drm_virtgpu_execbuffer_syncobj`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Syncobj {
    /// Its handle in the open file.
    pub handle: u32,
    /// `VIRTGPU_EXECBUF_SYNCOBJ_RESET` (1): it is reset after it was waited for.
    pub flags: u32,
    /// The point of a timeline, 0 for a binary one.
    pub point: u64,
}

/// EXECBUFFER; the sync_file of its fence, where one is wanted.
///
/// # Errors
/// The driver's errno.
pub fn execbuffer(fd: BorrowedFd<'_>, submission: &Submission<'_>) -> io::Result<Option<OwnedFd>> {
    let Submission { command, bo_handles, ring_idx, in_fence, out_fence, in_syncobjs, out_syncobjs } = *submission;
    let flag = |wanted, flag| if wanted { flag } else { 0 };
    let mut argument = Execbuffer {
        flags: flag(in_fence.is_some(), EXECBUF_FENCE_FD_IN)
            | flag(out_fence, EXECBUF_FENCE_FD_OUT)
            | flag(ring_idx.is_some(), EXECBUF_RING_IDX),
        size: count_of(command)?,
        command: address_of(command),
        bo_handles: address_of(bo_handles),
        num_bo_handles: count_of(bo_handles)?,
        fence_fd: in_fence.map_or(-1, |fence| fence.as_raw_fd()),
        ring_idx: ring_idx.unwrap_or(0),
        syncobj_stride: size_of::<Syncobj>() as u32,
        num_in_syncobjs: count_of(in_syncobjs)?,
        num_out_syncobjs: count_of(out_syncobjs)?,
        in_syncobjs: address_of(in_syncobjs),
        out_syncobjs: address_of(out_syncobjs),
    };
    // SAFETY: the slices live until the call returns, with the lengths given; the driver only reads them.
    unsafe { call_execbuffer(fd, &mut argument) }?;
    if !out_fence || argument.fence_fd < 0 {
        return Ok(None);
    }
    // SAFETY: with FENCE_FD_OUT a call that works leaves a new descriptor here, which nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(argument.fence_fd) }))
}

/// RESOURCE_CREATE_BLOB with a command; fills in the two handles.
///
/// # Errors
/// The driver's errno.
pub fn resource_create_blob(fd: BorrowedFd<'_>, blob: &mut ResourceCreateBlob, command: &[u8]) -> io::Result<()> {
    blob.cmd_size = count_of(command)?;
    blob.cmd = if command.is_empty() { 0 } else { address_of(command) };
    // SAFETY: `cmd` and `cmd_size` are those of `command`, which lives until the call returns; the driver only reads it.
    unsafe { call_resource_create_blob(fd, blob) }
}

/// Calls whose structures hold no address.
macro_rules! plain {
    ($($(#[doc = $doc:literal])* $name:ident($type:ty) = $call:ident;)+) => {
        $(
            $(#[doc = $doc])*
            ///
            /// # Errors
            /// The driver's errno.
            pub fn $name(fd: BorrowedFd<'_>, argument: &mut $type) -> io::Result<()> {
                // SAFETY: the structure holds no address.
                unsafe { $call(fd, argument) }
            }
        )+
    };
}

plain! {
    /// MAP.
    map(Map) = call_map;
    /// RESOURCE_CREATE.
    resource_create(ResourceCreate) = call_resource_create;
    /// RESOURCE_INFO.
    resource_info(ResourceInfo) = call_resource_info;
    /// TRANSFER_FROM_HOST.
    transfer_from_host(TransferFromHost) = call_transfer_from_host;
    /// TRANSFER_TO_HOST.
    transfer_to_host(TransferToHost) = call_transfer_to_host;
    /// WAIT.
    wait(Wait) = call_wait;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn numbers_and_sizes_are_those_of_the_header() {
        let opcodes = [
            (MAP, 0xc010_6441),
            (EXECBUFFER, 0xc040_6442),
            (GETPARAM, 0xc010_6443),
            (RESOURCE_CREATE, 0xc038_6444),
            (RESOURCE_INFO, 0xc010_6445),
            (TRANSFER_FROM_HOST, 0xc02c_6446),
            (TRANSFER_TO_HOST, 0xc02c_6447),
            (WAIT, 0xc008_6448),
            (GET_CAPS, 0xc018_6449),
            (RESOURCE_CREATE_BLOB, 0xc030_644a),
            (CONTEXT_INIT, 0xc010_644b),
        ];
        for (ours, header) in opcodes {
            assert_eq!(ours, header);
        }
        assert_eq!((size_of::<ContextParam>(), size_of::<Syncobj>()), (16, 16));
    }

    #[test]
    fn another_kind_of_file_answers_enotty() {
        let file = tempfile::tempfile().unwrap();
        let fd = file.as_fd();
        let refused = [
            get_param(fd, 1).err(),
            get_caps(fd, 20, 1, &mut [0; 64]).err(),
            context_init(fd, 20, 1, Some("test")).err(),
            execbuffer(fd, &Submission { command: &[0; 8], bo_handles: &[1], ..Submission::default() }).err(),
            resource_create_blob(fd, &mut ResourceCreateBlob::default(), &[]).err(),
            map(fd, &mut Map::default()).err(),
            wait(fd, &mut Wait::default()).err(),
        ];
        for error in refused {
            assert_eq!(error.unwrap().raw_os_error(), Some(rustix::io::Errno::NOTTY.raw_os_error()));
        }
    }
}
