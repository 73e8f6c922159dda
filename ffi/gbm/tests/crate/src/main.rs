//! The crate gbm, unchanged, on our library: what smithay does with buffers.

use gbm::{BufferObjectFlags as Flags, Device, Format, Modifier};
use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;

const SIZE: (u32, u32) = (640, 480);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::var_os("VIRGBM_TEST_NODE").unwrap_or("/dev/null".into());
    let gbm: Device<File> = Device::new(OpenOptions::new().read(true).write(true).open(path)?)?;
    assert_eq!(gbm.backend_name(), "virgbm");
    assert!(gbm.is_format_supported(Format::Xrgb8888, Flags::SCANOUT | Flags::RENDERING));
    assert_eq!(gbm.format_modifier_plane_count(Format::Nv12, Modifier::Linear), Some(2));

    // A scanout, drawn and read back through an import.
    let (width, height) = SIZE;
    let list = [Modifier::Linear, Modifier::Invalid].into_iter();
    let usage = Flags::SCANOUT | Flags::RENDERING;
    let mut bo = gbm.create_buffer_object_with_modifiers2::<&str>(width, height, Format::Xrgb8888, list, usage)?;
    assert_eq!((bo.width(), bo.height(), bo.format()), (width, height, Format::Xrgb8888));
    assert_eq!((bo.modifier(), bo.plane_count(), bo.bpp(), bo.offset(0)), (Modifier::Linear, 1, 32, 0));
    bo.set_userdata("front");
    bo.map_mut(0, 0, width, height, |mapping| mapping.buffer_mut().fill(0x5a))?;
    let fd = bo.fd()?;
    let import = gbm.import_buffer_object_from_dma_buf::<()>(fd.as_fd(), width, height, bo.stride(), Format::Xrgb8888, usage)?;
    assert!(import.map(8, 8, 16, 16, |mapping| mapping.buffer()[..64].iter().all(|byte| *byte == 0x5a))?);
    assert_eq!(bo.userdata(), Some(&"front"));

    // A video frame with its planes.
    let frame = gbm.create_buffer_object::<()>(1279, 719, Format::Nv12, Flags::empty())?;
    let fds = [frame.fd_for_plane(0)?, frame.fd_for_plane(1)?];
    let borrowed = [Some(fds[0].as_fd()), Some(fds[1].as_fd()), None, None];
    let strides = [0, 1, 2, 3].map(|plane| frame.stride_for_plane(plane) as i32);
    let offsets = [0, 1, 2, 3].map(|plane| frame.offset(plane) as i32);
    let modifier = frame.modifier();
    let usage = Flags::empty();
    let import = gbm.import_buffer_object_from_dma_buf_with_modifiers::<()>(
        2, borrowed, 1279, 719, Format::Nv12, usage, strides, offsets, modifier,
    )?;
    assert_eq!((import.plane_count(), import.stride_for_plane(1)), (2, frame.stride_for_plane(1)));

    // A cursor, which Mesa can't export.
    let mut cursor = gbm.create_buffer_object::<()>(64, 64, Format::Argb8888, Flags::CURSOR | Flags::WRITE)?;
    cursor.write(&[0xff; 64 * 64 * 4])?;
    cursor.fd()?;

    // A refusal has its reason, and a surface without an EGL is safe.
    let refused = gbm.create_buffer_object::<()>(0, 0, Format::Xrgb8888, usage).err().and_then(|error| error.raw_os_error());
    assert_eq!(refused, Some(22));
    let surface = gbm.create_surface::<()>(width, height, Format::Xrgb8888, Flags::SCANOUT)?;
    assert!(!surface.has_free_buffers());
    // SAFETY: EGL has swapped no buffers, and the call says so.
    assert!(unsafe { surface.lock_front_buffer() }.is_err());
    Ok(())
}
