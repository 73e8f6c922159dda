//! A guest on a host whose GL goes before plain memory, and images that Vulkan and GL share; skipped where there is no GL.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{Counted, Node};
use virgbm::guest::{Access, BufferObject, Device};
use virgbm::host::test_rig::gpu_demanded;
use virgbm::host::{Allocation, Amount, GlOptions, GlResolver, MemoryResolver, Parameters, Picture};
use virgbm::host::{ResolveError, Resolver, VulkanOptions, VulkanResolver};
use virgbm::layout::Region;
use virgbm::wire::alloc::Backing;
use virgbm::{BufferRequest, Format, Layout, Modifier, Usage, pixel};

/// GL of a GPU, or where none is demanded of what is here.
fn gl_options() -> GlOptions {
    GlOptions { software: !gpu_demanded(), ..GlOptions::default() }
}

/// A device whose host has GL before plain memory, and that GL; or word that it can't be tested here.
fn open() -> Option<(Device, Loopback, GlResolver)> {
    let gl = match GlResolver::new(&gl_options()) {
        Ok(gl) => gl,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let resolvers: Vec<Box<dyn Resolver>> = vec![Box::new(gl.clone()), Box::new(MemoryResolver::new())];
    let node = Loopback::with_options(LoopbackOptions { resolvers, ..LoopbackOptions::default() }).unwrap();
    Some((Device::open(node.open_again()).unwrap(), node, gl))
}

/// A picture of every colour at some place.
fn drawn(layout: &Layout) -> Vec<u8> {
    let mut bytes = vec![0; layout.size_bytes as usize];
    for (x, y) in (0..layout.height).flat_map(|y| (0..layout.width).map(move |x| (x, y))) {
        let part = |value: u32, of: u32| value as f32 / of as f32;
        let colour = [part(x, layout.width), part(y, layout.height), part((x ^ y) & 31, 31), 1.0];
        pixel::store(layout, &mut bytes, x, y, colour).unwrap();
    }
    bytes
}

/// Draws through a mapping.
fn draw(buffer: &BufferObject, bytes: &[u8]) {
    let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
    for plane in 0..buffer.layout().planes.len() {
        let rows = mapping.plane(plane).unwrap();
        for row in 0..rows.rows {
            let at = (rows.offset_bytes + row * rows.stride_bytes) as usize;
            mapping.write_row(plane, row, &bytes[at..at + rows.row_bytes as usize]).unwrap();
        }
    }
    mapping.finish().unwrap();
}

#[test]
fn what_the_cpu_draws_is_what_a_shader_of_the_host_sees() {
    let Some((device, node, gl)) = open() else { return };
    for support in gl.report().offered.iter().filter(|support| support.usages.contains(Usage::TEXTURE | Usage::CPU)) {
        let usage = Usage::TEXTURE | Usage::CPU_WRITE_OFTEN | Usage::CPU_READ_OFTEN;
        let buffer = device.create(&BufferRequest::new(support.format, 129, 67, usage)).unwrap();
        assert_eq!(buffer.made_of(), Some(Backing::Gl));
        let bytes = drawn(buffer.layout());
        draw(&buffer, &bytes);
        buffer.wait().unwrap();
        let (seen, meant) =
            (node.host().picture(buffer.resource_id()).unwrap(), Picture::decode(buffer.layout(), &bytes).unwrap());
        let worst = seen.rgba.iter().zip(&meant.rgba).map(|(seen, meant)| seen.abs_diff(*meant)).max();
        let tolerance = if support.plane_count > 1 { 24 } else { 1 };
        assert!(worst <= Some(tolerance), "{}: {worst:?}", support.format);
    }
}

#[test]
fn a_rectangle_costs_one_transfer_and_no_pixel_beside_it() {
    let Some((_, node, gl)) = open() else { return };
    if gl.exports_dma_bufs() {
        eprintln!("skipped: {} exports dma-bufs, which are mapped", gl.report().device);
        return;
    }
    let counted = Arc::new(Counted::new(Arc::new(node.open_again()) as Arc<dyn Node>));
    let device = Device::open(counted.clone()).unwrap();
    let usage = Usage::TEXTURE | Usage::CPU_WRITE_OFTEN | Usage::CPU_READ_OFTEN;
    let buffer = device.create(&BufferRequest::new(Format::ARGB8888, 64, 64, usage)).unwrap();
    draw(&buffer, &vec![0x11; buffer.layout().size_bytes as usize]);
    buffer.wait().unwrap();
    let before = counted.calls().total();
    let mapping = buffer.map(Region { x: 8, y: 9, width: 16, height: 2 }, Access::WRITE).unwrap();
    mapping.write_row(0, 1, &[0x33; 64]).unwrap();
    mapping.finish().unwrap();
    buffer.wait().unwrap();
    assert_eq!(counted.calls().total() - before, 2, "one transfer, and the wait");
    let picture = node.host().picture(buffer.resource_id()).unwrap();
    let at = |x: usize, y: usize| picture.rgba[(y * 64 + x) * 4];
    assert_eq!((at(0, 0), at(8, 9), at(8, 10), at(24, 10)), (0x11, 0x11, 0x33, 0x11));
    let before = counted.calls().total();
    let mapping = buffer.map(buffer.layout().whole(), Access::READ).unwrap();
    assert_eq!(counted.calls().total() - before, 2, "one transfer, and the wait");
    let mut row = [0; 4];
    mapping.read_row(0, 10, &mut row).unwrap();
    assert_eq!(row, [0x11; 4]);
}

#[test]
fn another_file_of_the_guest_sees_the_same_texture() {
    let Some((device, node, _)) = open() else { return };
    let usage = Usage::TEXTURE | Usage::RENDER | Usage::CPU_WRITE_OFTEN | Usage::CPU_READ_OFTEN;
    let buffer = device.create(&BufferRequest::new(Format::XRGB8888, 65, 33, usage)).unwrap();
    draw(&buffer, &drawn(buffer.layout()));
    let other = Device::open(node.open_again()).unwrap();
    let imported = other.import(buffer.export().unwrap().as_fd()).unwrap();
    assert_eq!(imported.layout(), buffer.layout());
    let mapping = imported.map(imported.layout().whole(), Access::READ).unwrap();
    let mut row = vec![0; 65 * 4];
    mapping.read_row(0, 32, &mut row).unwrap();
    let at = 32 * buffer.layout().planes[0].stride_bytes as usize;
    assert_eq!(row, drawn(buffer.layout())[at..at + 65 * 4]);
}

#[test]
fn nothing_of_gl_outlives_its_buffers() {
    let Some((device, node, gl)) = open() else { return };
    let asked = BufferRequest::new(Format::ARGB8888, 64, 64, Usage::RENDER | Usage::CPU_WRITE_OFTEN);
    let buffers = device.create_many(&asked, 50).unwrap();
    assert_eq!(gl.live_objects(), 50);
    let protected = device.create(&BufferRequest { usage: Usage::RENDER | Usage::PROTECTED, ..asked }).unwrap_err();
    assert!(protected.to_string().contains("PROTECTED"), "{protected}");
    drop((buffers, device));
    node.host().reset();
    assert_eq!((node.host().stats().held, gl.live_objects()), (Amount::default(), 0));
}

/// Vulkan and GL where both give dma-bufs; or word that they don't.
fn both() -> Option<(VulkanResolver, GlResolver)> {
    let (vulkan, gl) = (
        VulkanResolver::new(&VulkanOptions { software: !gpu_demanded(), ..VulkanOptions::default() }),
        GlResolver::new(&gl_options()),
    );
    match (vulkan, gl) {
        (Ok(vulkan), Ok(gl)) if vulkan.exports_dma_bufs() && gl.exports_dma_bufs() => Some((vulkan, gl)),
        (Ok(_), Ok(_)) => {
            eprintln!("skipped: Vulkan and GL do not both give dma-bufs here");
            None
        }
        (vulkan, gl) => {
            let why = [vulkan.err().map(|error| error.to_string()), gl.err().map(|error| error.to_string())];
            eprintln!("skipped: {}", why.into_iter().flatten().collect::<Vec<_>>().join("; "));
            None
        }
    }
}

fn offers(resolver: &dyn Resolver, format: Format) -> bool {
    resolver.support().iter().any(|support| support.format == format && support.modifier == Modifier::LINEAR)
}

fn allocate(resolver: &dyn Resolver, format: Format, width: u32, height: u32) -> Allocation {
    let support = resolver.support().iter().find(|support| support.format == format && support.modifier == Modifier::LINEAR);
    let support = support.unwrap();
    let usage = support.usages & (Usage::TEXTURE | Usage::CPU | Usage::CAMERA_READ) | Usage::LINEAR;
    let request = BufferRequest::new(format, width, height, usage);
    let layout = resolver.layout(&request, support).unwrap();
    resolver.allocate(&Parameters::Image { request: &request, layout: &layout }, layout.size_bytes).unwrap()
}

fn import(resolver: &dyn Resolver, fd: BorrowedFd<'_>, layout: &Layout) -> Result<Allocation, ResolveError> {
    let usage = resolver
        .support()
        .iter()
        .find(|support| support.format == layout.format)
        .map_or(Usage::TEXTURE, |support| support.usages & (Usage::TEXTURE | Usage::CAMERA_READ));
    let request = BufferRequest::new(layout.format, layout.width, layout.height, usage | Usage::LINEAR);
    resolver.allocate(&Parameters::DmaBuf { fd, request: &request, layout }, layout.size_bytes)
}

/// The luma's samples that hold the planes of a picture one below the other, as a picture of its own: for drivers that have no image
/// of several planes.
fn samples(layout: &Layout) -> Layout {
    let (first, last) = (layout.planes[0], layout.planes.len() - 1);
    let format = if layout.format.planes()[0].block_bytes == 1 { Format::R8 } else { Format::R16 };
    let rows =
        layout.planes[last].offset_bytes / u64::from(first.stride_bytes) + layout.format.planes()[last].rows(layout.height);
    let size = (first.stride_bytes / u32::from(format.planes()[0].block_bytes), rows as u32);
    Layout::reported(format, size, Modifier::LINEAR, &[(first.stride_bytes, 0)], layout.size_bytes).unwrap()
}

/// The picture of a layout in samples that a driver has made for it.
fn stacked(format: Format, width: u32, height: u32, samples: &Layout) -> Layout {
    let stride = samples.planes[0].stride_bytes;
    let mut next = 0;
    let places = format.planes().iter().map(|plane| {
        let place = (stride, next);
        next += plane.rows(height) * u64::from(stride);
        place
    });
    let places: Vec<_> = places.collect();
    Layout::reported(format, (width, height), Modifier::LINEAR, &places, samples.size_bytes).unwrap()
}

/// Draws on one driver's image and compares what the other driver sees in its dma-buf; says whether it was by samples.
fn exchange(from: &dyn Resolver, to: &dyn Resolver, format: Format, width: u32, height: u32) -> &'static str {
    let (made, layout) = if offers(from, format) {
        let made = allocate(from, format, width, height);
        let layout = made.layout.unwrap();
        (made, layout)
    } else {
        let luma = if format.planes()[0].block_bytes == 1 { Format::R8 } else { Format::R16 };
        let across = format.planes().iter().map(|plane| plane.row_bytes(width)).max().unwrap();
        let across = across.div_ceil(luma.planes()[0].block_bytes.into()) as u32;
        let rows = format.planes().iter().map(|plane| plane.rows(height)).sum::<u64>() as u32;
        let made = allocate(from, luma, across, rows);
        let layout = stacked(format, width, height, &made.layout.unwrap());
        (made, layout)
    };
    let bytes = drawn(&layout);
    made.image.write(0, &bytes).unwrap();
    let export = made.image.export().unwrap();
    assert_eq!(export.kind.name(), "dma-buf");
    let several = format.planes().len() > 1;
    let taken = if several && !offers(to, format) { samples(&layout) } else { layout };
    let imported = import(to, export.fd.as_fd(), &taken).unwrap_or_else(|error| panic!("{format} to {}: {error}", to.name()));
    let (seen, meant) = (imported.image.picture(&taken).unwrap().unwrap(), Picture::decode(&taken, &bytes).unwrap());
    let worst = seen.rgba.iter().zip(&meant.rgba).map(|(seen, meant)| seen.abs_diff(*meant)).max();
    let tolerance = if several && taken == layout { 24 } else { 1 };
    assert!(worst <= Some(tolerance), "{format} {width}x{height} from {} to {}: {worst:?}", from.name(), to.name());
    if several && (taken != layout || !offers(from, format)) { "by its samples" } else { "as an image" }
}

#[test]
fn what_one_driver_draws_the_other_sees() {
    let Some((vulkan, gl)) = both() else { return };
    let rgb = [
        Format::XRGB8888,
        Format::ARGB8888,
        Format::RGB565,
        Format::ABGR16161616F,
        Format::XBGR2101010,
        Format::R8,
        Format::GR88,
    ];
    for format in rgb.into_iter().chain([Format::NV12, Format::P010]) {
        let mut ways = Vec::new();
        for (width, height) in [(64, 64), (129, 67), (1279, 719)] {
            ways.push(exchange(&vulkan, &gl, format, width, height));
            ways.push(exchange(&gl, &vulkan, format, width, height));
        }
        println!("{format}: from Vulkan to GL {}, from GL to Vulkan {}", ways[0], ways[1]);
        assert!(!rgb.contains(&format) || ways.iter().all(|way| *way == "as an image"));
    }
    assert_eq!((vulkan.live_objects(), gl.live_objects()), (0, 0));
}

/// Descriptors of this process, and its resident memory in bytes.
fn held() -> (usize, u64) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    (descriptors, pages * 4096)
}

#[test]
fn a_thousand_rounds_between_the_drivers_leave_nothing() {
    let Some((vulkan, gl)) = both() else { return };
    let mark = [1, 2, 3, 255];
    let exchange = |from: &dyn Resolver, to: &dyn Resolver| {
        let made = allocate(from, Format::ARGB8888, 128, 128);
        let layout = made.layout.unwrap();
        made.image.write(0, &mark).unwrap();
        let imported = import(to, made.image.export().unwrap().fd.as_fd(), &layout).unwrap();
        assert_eq!(imported.image.picture(&layout).unwrap().unwrap().rgba[..4], [3, 2, 1, 255]);
    };
    let rounds = |count: usize| {
        for round in 0..count {
            if round % 2 == 0 { exchange(&vulkan, &gl) } else { exchange(&gl, &vulkan) }
        }
    };
    rounds(20);
    let (descriptors, bytes) = held();
    rounds(1000);
    let (descriptors_after, bytes_after) = held();
    println!("{descriptors} descriptors and {} KiB before, {descriptors_after} and {} KiB after", bytes >> 10, bytes_after >> 10);
    assert_eq!((descriptors_after, vulkan.live_objects(), gl.live_objects()), (descriptors, 0, 0));
    // A thousand images are 64 MiB; allocators and drivers keep a little of their own.
    assert!(bytes_after < bytes + (32 << 20));
}
