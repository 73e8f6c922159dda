//! On the GL that is here; skipped where there is none.

use super::sys::Reason;
use super::*;
use crate::host::resolver::Resolvers;
use crate::host::resolver::memory::MemoryResolver;
use crate::host::test_rig::{Guest, Shelf, gpu_demanded};
use crate::host::{DeviceConfig, Picture};
use crate::sys::memfd;
use crate::wire::alloc::{self as wire, Opcode, Status};
use crate::{Alignment, Format, Modifier, Usage, pixel};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use zerocopy::IntoBytes;

/// The one resolver of these tests, since its proofs take longer than they do; or word that nothing can be tested here.
fn resolver() -> Option<MutexGuard<'static, GlResolver>> {
    static RESOLVER: OnceLock<Result<Mutex<GlResolver>, String>> = OnceLock::new();
    let options = GlOptions { software: !gpu_demanded(), ..GlOptions::default() };
    let open = || GlResolver::new(&options).map(Mutex::new).map_err(|error| error.to_string());
    match RESOLVER.get_or_init(open) {
        Ok(resolver) => Some(resolver.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn request(support: &Support, width: u32, height: u32) -> BufferRequest {
    BufferRequest::new(support.format, width, height, support.usages & (Usage::TEXTURE | Usage::CAMERA_READ))
}

fn allocate(resolver: &GlResolver, request: &BufferRequest) -> Result<Allocation, ResolveError> {
    let table = crate::SupportTable::new(resolver.support().to_vec(), resolver.largest());
    let layout = resolver.layout(request, table.choose(request)?)?;
    resolver.allocate(&Parameters::Image { request, layout: &layout }, layout.size_bytes)
}

fn argb(width: u32, height: u32) -> BufferRequest {
    BufferRequest::new(Format::ARGB8888, width, height, Usage::TEXTURE)
}

#[test]
fn what_works_here_is_told() {
    let Some(resolver) = resolver() else { return };
    let report = resolver.report();
    println!("{}: dma-bufs: {}", report.device, report.dma_bufs);
    for support in report.offered {
        println!("  {} {} in {} planes: {}", support.format, support.modifier, support.plane_count, support.usages);
    }
    for Finding { subject, refused } in report.findings {
        if let Some(why) = refused {
            println!("  not {subject}: {why}");
        }
    }
    assert!(report.offered.iter().any(|support| support.format == Format::ARGB8888));
    assert_eq!(report.objects, 0, "what was tried is gone");
    assert_eq!(resolver.capabilities().contains(Capabilities::DMA_BUF_EXPORT), report.dma_bufs);
}

#[test]
fn every_format_is_made_in_odd_sizes_and_read_and_written() {
    let Some(resolver) = resolver() else { return };
    for support in resolver.support().iter().filter(|support| support.modifier == Modifier::LINEAR) {
        for (width, height) in [(1, 1), (129, 67)] {
            let made = allocate(&resolver, &request(support, width, height)).unwrap();
            let layout = made.layout.unwrap();
            layout.check().unwrap();
            assert_eq!((layout.width, layout.height, layout.planes.len()), (width, height, support.format.planes().len()));
            let size = made.image.size_bytes();
            assert!(size.is_multiple_of(4096) && size == layout.size_bytes);
            let mut bytes = vec![1; size as usize];
            made.image.read(0, &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0), "{}: a new image is zeroed", support.format);
            assert!(made.image.read(size - 1, &mut [0; 2]).is_err() && made.image.write(u64::MAX, &[0]).is_err());
            // The last byte of the last row, which a transfer counts from the other end.
            let last = layout.plane_region(layout.planes.len() - 1, layout.whole()).unwrap();
            let at = last.offset_bytes + (last.rows - 1) * last.stride_bytes + last.row_bytes - last.row_bytes.min(2);
            made.image.write(at, &[0x40]).unwrap();
            let mut byte = [0];
            made.image.read(at, &mut byte).unwrap();
            assert!(byte == [0x40] || support.format.info().unwrap().has(crate::ComponentKind::X), "{}", support.format);
        }
    }
    assert_eq!(resolver.live_objects(), 0);
}

/// A picture of every colour at some place.
fn drawn(layout: &Layout) -> Vec<u8> {
    let mut bytes = vec![0; layout.size_bytes as usize];
    for (x, y) in (0..layout.height).flat_map(|y| (0..layout.width).map(move |x| (x, y))) {
        let part = |value: u32, of: u32| value as f32 / of as f32;
        let colour = [part(x, layout.width), part(y, layout.height), part(x ^ y & 31, 256), 1.0];
        pixel::store(layout, &mut bytes, x, y, colour).unwrap();
    }
    bytes
}

#[test]
fn a_shader_sees_what_was_written() {
    let Some(resolver) = resolver() else { return };
    for support in resolver.support().iter().filter(|support| support.usages.contains(Usage::TEXTURE)) {
        let made = allocate(&resolver, &request(support, 65, 33)).unwrap();
        let layout = made.layout.unwrap();
        let bytes = drawn(&layout);
        made.image.write(0, &bytes).unwrap();
        let meant = Picture::decode(&layout, &bytes).unwrap();
        let seen = made.image.picture(&layout).unwrap().unwrap();
        let worst = seen.rgba.iter().zip(&meant.rgba).map(|(seen, meant)| seen.abs_diff(*meant)).max();
        // Chroma between samples is the driver's to choose.
        let tolerance = if support.plane_count > 1 { 24 } else { 1 };
        assert!(worst <= Some(tolerance), "{}: {worst:?}", support.format);
    }
    assert_eq!(resolver.live_objects(), 0);
}

#[test]
fn a_dma_buf_is_one_or_there_is_none() {
    let Some(resolver) = resolver() else { return };
    let asked = BufferRequest { usage: Usage::TEXTURE | Usage::CPU_WRITE_RARELY, ..argb(64, 64) };
    if !resolver.exports_dma_bufs() {
        let table = crate::SupportTable::new(resolver.support().to_vec(), resolver.largest());
        assert!(table.choose(&asked).unwrap().transfers, "what the CPU does is moved");
        let made = allocate(&resolver, &asked).unwrap();
        assert_eq!(made.image.export().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
        assert_eq!(made.image.show(&Shelf::default(), 0).unwrap_err().kind(), std::io::ErrorKind::Unsupported);
        return;
    }
    let made = allocate(&resolver, &asked).unwrap();
    let export = made.image.export().unwrap();
    let map = crate::sys::mmap::Mmap::shared(export.fd.as_fd(), 0, 4096, None).unwrap();
    made.image.write(0, b"virgbm").unwrap();
    let mut bytes = [0; 6];
    map.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"virgbm");
}

#[test]
fn a_dma_buf_comes_back_as_the_picture_that_left() {
    let Some(resolver) = resolver() else { return };
    if !resolver.exports_dma_bufs() {
        eprintln!("skipped: {} exports no dma-bufs", resolver.report().device);
        return;
    }
    for support in resolver.support() {
        let asked = request(support, 129, 67);
        let made = allocate(&resolver, &asked).unwrap();
        let layout = made.layout.unwrap();
        let bytes = drawn(&layout);
        made.image.write(0, &bytes).unwrap();
        let fd = made.image.export().unwrap().fd;
        let back = Parameters::DmaBuf { fd: fd.as_fd(), request: &asked, layout: &layout };
        let back = resolver.allocate(&back, layout.size_bytes).unwrap();
        assert_eq!(back.image.picture(&layout).unwrap(), made.image.picture(&layout).unwrap(), "{}", support.format);
        let mut seen = vec![0; bytes.len()];
        back.image.read(0, &mut seen).unwrap();
        assert!(seen == bytes, "{}", support.format);
    }
    assert_eq!(resolver.live_objects(), 0);
}

#[test]
fn what_does_not_fit_its_dma_buf_is_not_imported() {
    let Some(resolver) = resolver() else { return };
    let asked = argb(64, 64);
    let layout = Layout::linear(&asked, Alignment { stride_bytes: 256, offset_bytes: 256, size_bytes: 4096 }).unwrap();
    let import = |fd: std::os::fd::BorrowedFd<'_>, layout: &Layout| {
        let asked = BufferRequest { width: layout.width, height: layout.height, ..asked.clone() };
        let refused = resolver.allocate(&Parameters::DmaBuf { fd, request: &asked, layout }, layout.size_bytes).err();
        refused.map_or("imported".to_owned(), |error| error.to_string())
    };
    let memfd = memfd::sealed(layout.size_bytes).unwrap();
    assert!(import(memfd.as_fd(), &layout).contains("no dma-buf"));
    if !resolver.exports_dma_bufs() {
        eprintln!("skipped: {} exports no dma-bufs", resolver.report().device);
        return;
    }
    let made = allocate(&resolver, &asked).unwrap();
    let fd = made.image.export().unwrap().fd;
    assert_eq!(import(fd.as_fd(), &layout), "imported");
    let larger = Layout::linear(&argb(64, 65), Alignment { stride_bytes: 256, offset_bytes: 256, size_bytes: 4096 }).unwrap();
    assert!(import(fd.as_fd(), &larger).contains("for an image of"));
    let tiled = Layout { modifier: Modifier::new(1 << 60), ..layout };
    assert!(import(fd.as_fd(), &tiled).contains("modifiers"));
    let mut inside = layout;
    inside.planes = crate::layout::Planes::new(&[crate::Plane { stride_bytes: 8, ..layout.planes[0] }]).unwrap();
    assert_ne!(import(fd.as_fd(), &inside), "imported", "a stride less than a row");
    drop((made, fd));
    assert_eq!(resolver.live_objects(), 0);
}

#[test]
fn whatever_call_fails_nothing_is_left_and_the_guest_is_told() {
    let Some(resolver) = resolver() else { return };
    let gl = &resolver.0.maker.gl;
    for format in [Format::ARGB8888, Format::NV12] {
        let Some(support) = resolver.support().iter().find(|support| support.format == format) else { continue };
        let asked = request(support, 64, 64);
        let layout = resolver.layout(&asked, support).unwrap();
        let parameters = Parameters::Image { request: &asked, layout: &layout };
        let mut steps = 0;
        loop {
            gl.fail_after(steps, Reason::OutOfMemory);
            let made = resolver.allocate(&parameters, layout.size_bytes);
            if gl.forgive() {
                made.unwrap();
                break;
            }
            assert!(matches!(made, Err(ResolveError::Memory(_))), "step {steps}");
            assert_eq!(gl.live(), 0, "step {steps}");
            steps += 1;
        }
        assert!(steps >= 4, "a name, its storage, its parameters and the clear can fail");
        gl.fail_after(1, Reason::Gl(glow::INVALID_VALUE));
        assert!(matches!(resolver.allocate(&parameters, layout.size_bytes), Err(ResolveError::Driver(_))));
    }
    assert_eq!(gl.live(), 0);
}

#[test]
fn a_lost_context_takes_its_textures_along_and_another_makes_new_ones() {
    let Some(resolver) = resolver() else { return };
    let gl = &resolver.0.maker.gl;
    let before = allocate(&resolver, &argb(64, 64)).unwrap();
    gl.fail_after(1, Reason::Lost);
    let refused = allocate(&resolver, &argb(64, 64)).err().unwrap();
    assert!(refused.to_string().contains("lost"), "{refused}");
    let after = allocate(&resolver, &argb(64, 64)).unwrap();
    after.image.write(0, &[1, 2, 3, 4]).unwrap();
    assert_eq!(after.image.picture(&after.layout.unwrap()).unwrap().unwrap().rgba[..4], [3, 2, 1, 4]);
    let gone = before.image.picture(&before.layout.unwrap()).unwrap_err();
    assert!(gone.to_string().contains("lost"), "{gone}");
    // What has left as a dma-buf is memory that needs no context.
    assert_eq!(before.image.read(0, &mut [0]).is_ok(), resolver.exports_dma_bufs());
    drop((before, after));
    assert_eq!(gl.live(), 0);
}

#[test]
fn many_threads_share_the_context() {
    let Some(resolver) = resolver() else { return };
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let resolver = &*resolver;
            scope.spawn(move || {
                for round in 0..25 {
                    let made = allocate(resolver, &argb(16, 16)).unwrap();
                    made.image.write(0, &[thread, round, 1, 255]).unwrap();
                    let seen = made.image.picture(&made.layout.unwrap()).unwrap().unwrap();
                    assert_eq!(seen.rgba[..4], [1, round, thread, 255]);
                }
            });
        }
    });
    assert_eq!(resolver.live_objects(), 0);
}

fn texture(target: u32, internal_format: u32) -> GlTexture {
    GlTexture {
        target: target.into(),
        internal_format: internal_format.into(),
        bind: 8.into(),
        width: 64.into(),
        height: 64.into(),
        depth: 1.into(),
        array_size: 1.into(),
        levels: 1.into(),
        samples: 1.into(),
        flags: 0.into(),
    }
}

#[test]
fn textures_are_made_as_the_guest_describes_them() {
    let Some(resolver) = resolver() else { return };
    let make = |texture: GlTexture| resolver.allocate(&Parameters::Gl(&texture), 1 << 20);
    let size = allocate(&resolver, &argb(64, 64)).unwrap().image.size_bytes();
    let flat = resolver.allocate(&Parameters::Gl(&texture(glow::TEXTURE_2D, 0x93a1)), size).unwrap();
    assert_eq!(flat.layout.map(|layout| layout.format), Some(Format::ARGB8888));
    let depth = GlTexture { bind: 1.into(), ..texture(glow::TEXTURE_2D, glow::DEPTH24_STENCIL8) };
    let hidden = [
        GlTexture { levels: 7.into(), ..texture(glow::TEXTURE_2D, glow::RGBA8) },
        GlTexture { depth: 8.into(), ..texture(glow::TEXTURE_3D, glow::RGBA8) },
        GlTexture { array_size: 5.into(), ..texture(glow::TEXTURE_2D_ARRAY, glow::RGBA16F) },
        GlTexture { array_size: 6.into(), ..texture(glow::TEXTURE_CUBE_MAP, glow::SRGB8_ALPHA8) },
        GlTexture { samples: 4.into(), ..texture(glow::TEXTURE_2D_MULTISAMPLE, glow::RGBA8) },
        depth,
    ];
    for texture in hidden {
        let made = make(texture).unwrap_or_else(|error| panic!("{texture:?}: {error}"));
        assert_eq!((made.layout, made.image.size_bytes()), (None, 1 << 20));
        assert_eq!(made.image.read(0, &mut [0]).unwrap_err().kind(), std::io::ErrorKind::Unsupported);
        assert_eq!(made.image.export().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    }
    assert_eq!(resolver.live_objects(), 1, "the flat one");
}

#[test]
fn the_guest_is_told_each_refusal_by_its_status() {
    let Some(resolver) = resolver() else { return };
    let gl = resolver.0.maker.gl.clone();
    let resolvers: Vec<Box<dyn Resolver>> = vec![Box::new(resolver.clone()), Box::new(MemoryResolver::without_udmabuf())];
    let guest = Guest::with_resolvers(DeviceConfig::default(), resolvers);
    let run = |id: u64, bytes: u64, texture: GlTexture| {
        let claim = wire::Claim { blob_id: id.into(), blob_size: bytes.into(), ..wire::Claim::default() };
        Status::from_number(guest.run(Opcode::AllocGl, 0, &[claim.as_bytes(), texture.as_bytes()])).unwrap()
    };
    let (flat, bytes) = (texture(glow::TEXTURE_2D, glow::RGBA8), 64 * 64 * 4);
    assert_eq!(run(1, bytes, flat), Status::Ok);
    let told = guest.slot(0);
    assert_eq!((told.backing.get(), told.layout.fourcc.get()), (Backing::Gl.number(), Format::ABGR8888.fourcc()));
    assert_eq!(run(1, bytes, flat), Status::IdInUse);
    assert_eq!(run(2, 4096, flat), Status::SizeMismatch);
    assert_eq!(run(2, bytes, GlTexture { internal_format: 1.into(), ..flat }), Status::Format);
    assert_eq!(run(2, bytes, GlTexture { bind: 0.into(), ..flat }), Status::Usage);
    assert_eq!(run(2, bytes, GlTexture { width: (1 << 20).into(), ..flat }), Status::Extent);
    assert_eq!(run(2, bytes, GlTexture { samples: 3.into(), ..flat }), Status::Malformed);
    gl.fail_after(1, Reason::OutOfMemory);
    assert_eq!(run(2, bytes, flat), Status::OutOfMemory);
    gl.fail_after(0, Reason::Lost);
    assert_eq!((run(2, bytes, flat), run(3, bytes, flat)), (Status::Host, Status::Ok));
    assert_eq!(guest.device.stats().objects, 2);
    guest.destroy_context(1);
    assert_eq!(gl.live(), 0);
}

#[test]
fn what_gl_does_not_make_goes_to_plain_memory() {
    let Some(gl) = resolver() else { return };
    let resolvers = Resolvers::new(vec![Box::new(gl.clone()), Box::new(MemoryResolver::without_udmabuf())]);
    let name = |request| resolvers.resolve(&request).map(|(resolver, _)| resolver.name()).unwrap();
    assert_eq!(name(argb(64, 64)), "gl");
    assert_eq!(name(argb(1 << 20, 1)), "memory");
    assert_eq!(name(argb(64, 64).with_layers(2)), "memory");
    assert_eq!(name(BufferRequest { format: Format::RAW10, usage: Usage::CAMERA_READ, ..argb(64, 64) }), "memory");
}

#[test]
fn a_gpu_that_is_not_there_is_told() {
    let Some(first) = resolver() else { return };
    let hardware = GlResolver::new(&GlOptions { software: false, ..GlOptions::default() });
    assert!(hardware.is_err() || !first.is_software());
    let nowhere = GlResolver::new(&GlOptions { node: Some("/dev/null".into()), ..GlOptions::default() }).err().unwrap();
    assert!(nowhere.to_string().contains("/dev/null"), "{nowhere}");
}
