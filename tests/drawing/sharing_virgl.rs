//! Images of ours in contexts of virgl.

use crate::held::{resident_kib, settled_descriptors};
use crate::images::{
    COLOUR, COLOUR_BYTES, HEIGHT, WIDTH, assert_is_drawn, assert_is_drawn_for, assert_picture, image, image_of_height, import,
    is_all, vulkan,
};
use crate::virgl::{Virgl, number, read_back, set_type, texture, texture_blob};
use crate::{GUEST_BLOB, stream, turn};
use std::os::fd::AsFd;
use virgbm::guest::node::loopback::Loopback;
use virgbm::guest::node::{BlobCreate, Handles, Node};
use virgbm::guest::{Access, BackendKind, Device, DeviceOptions};
use virgbm::host::{Amount, ExportKind, Picture};
use virgbm::wire::alloc::Backing;
use virgbm::wire::virtio_gpu::Reply;
use virgbm::{Alignment, BufferRequest, Format, Layout, Modifier, Usage};
use zerocopy::IntoBytes;

#[test]
fn what_virgl_draws_into_our_memory_is_there_for_mappings_the_host_and_vulkan() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some((_device, buffer)) = image(&node, Format::XRGB8888, Usage::RENDER | Usage::TEXTURE) else { return };
    let mut virgl = Virgl::open(&node);
    let imported = virgl.import(&buffer);
    virgl.clear(imported, Format::XRGB8888, COLOUR);
    assert_is_drawn(&node, &buffer);
    let Some(vulkan) = vulkan() else { return };
    assert_is_drawn_for(&vulkan, &buffer);
    println!("our memory, drawn by virgl, read through {}", vulkan.device_name());
}

#[test]
fn what_virgl_draws_into_our_vulkan_image_is_there_for_vulkan() {
    let Some(turn) = turn() else { return };
    let Some(vulkan) = vulkan() else { return };
    let node = turn.node(Some(Box::new(vulkan)));
    let Some((_device, buffer)) = image(&node, Format::XRGB8888, Usage::RENDER | Usage::TEXTURE) else { return };
    assert_eq!(buffer.made_of(), Some(Backing::Vulkan));
    let mut virgl = Virgl::open(&node);
    let imported = virgl.import(&buffer);
    virgl.clear(imported, Format::XRGB8888, COLOUR);
    assert_is_drawn(&node, &buffer);
}

#[test]
fn virgl_samples_what_the_cpu_writes() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some((_device, buffer)) = image(&node, Format::XRGB8888, Usage::TEXTURE) else { return };
    let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
    let rows: Vec<Vec<u8>> =
        (0..HEIGHT).map(|y| (0..WIDTH).flat_map(|x| [x as u8, y as u8, (x ^ y) as u8, 255]).collect()).collect();
    for (row, bytes) in rows.iter().enumerate() {
        mapping.write_row(0, row as u64, bytes).unwrap();
    }
    mapping.finish().unwrap();
    let virgl = Virgl::open(&node);
    let seen = virgl.sample(virgl.import(&buffer), Format::XRGB8888, WIDTH, HEIGHT);
    let without_alpha = |bytes: &[u8]| bytes.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect::<Vec<_>>();
    assert_eq!(without_alpha(&seen), without_alpha(&rows.concat()));
}

#[test]
fn virgl_samples_our_yuv_as_yuv() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some((_device, buffer)) = image(&node, Format::NV12, Usage::TEXTURE) else { return };
    let virgl = Virgl::open(&node);
    if !virgl.samples(Format::NV12) {
        eprintln!("skipped: virglrenderer samples no NV12 on this host's GL");
        return;
    }
    // Red, in BT.601 of limited range.
    let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
    for row in 0..u64::from(HEIGHT) {
        mapping.write_row(0, row, &[81; WIDTH as usize]).unwrap();
    }
    for row in 0..u64::from(HEIGHT.div_ceil(2)) {
        mapping.write_row(1, row, &[90, 240].repeat(WIDTH.div_ceil(2) as usize)).unwrap();
    }
    mapping.finish().unwrap();
    let seen = virgl.sample(virgl.import(&buffer), Format::NV12, WIDTH, HEIGHT);
    let (blue, green, red) = (seen[0], seen[1], seen[2]);
    assert!(red > 240 && green < 16 && blue < 16, "red {red}, green {green}, blue {blue}");
}

#[test]
fn virgl_samples_the_samples_of_our_yuv() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    // What a shader needs that makes the colours itself: one texture of the bytes of both planes.
    for (format, sample_bytes) in [(Format::NV12, 1), (Format::P010, 2)] {
        let Some((_device, buffer)) = image(&node, format, Usage::TEXTURE) else { return };
        let layout = buffer.layout();
        let [luma, chroma] = layout.planes[..] else { panic!("{format} has two planes") };
        let stride = luma.stride_bytes;
        let (width, height) = (stride, ((chroma.offset_bytes + chroma.size_bytes) / u64::from(stride)) as u32);
        let planes = [(stride, luma.offset_bytes)];
        let layout = Layout::reported(Format::R8, (width, height), layout.modifier, &planes, layout.size_bytes).unwrap();
        let mut written = Vec::new();
        let mapping = buffer.map(buffer.layout().whole(), Access::WRITE).unwrap();
        for (plane, rows, offset) in [(0, HEIGHT, luma.offset_bytes), (1, HEIGHT.div_ceil(2), chroma.offset_bytes)] {
            for row in 0..u64::from(rows) {
                let byte = |at: u32| (plane as u32 * 100 + row as u32 * 3 + at * 7) as u8;
                let bytes: Vec<u8> = (0..WIDTH * sample_bytes).map(byte).collect();
                mapping.write_row(plane, row, &bytes).unwrap();
                written.push((offset + row * u64::from(stride), bytes));
            }
        }
        mapping.finish().unwrap();
        let virgl = Virgl::open(&node);
        let seen = virgl.sample(virgl.import_as(&buffer, &layout), Format::R8, width, height);
        // Red, which is behind blue and green.
        let memory: Vec<u8> = seen.chunks_exact(4).map(|pixel| pixel[2]).collect();
        for (offset, bytes) in written {
            assert_eq!(memory[offset as usize..][..bytes.len()], bytes, "{format} at {offset}");
        }
        println!("{format}, {WIDTH}x{HEIGHT}: virgl samples the bytes of both planes");
    }
}

#[test]
fn what_virgl_draws_into_the_guests_pages_is_there() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let request = BufferRequest::new(Format::XRGB8888, WIDTH, HEIGHT, Usage::RENDER);
    let packed = Layout::linear(&request, Alignment { stride_bytes: 256, ..Alignment::PACKED }).unwrap();
    let size = packed.size_bytes.next_multiple_of(4096);
    let mut virgl = Virgl::open(&node);
    let Handles { bo_handle, resource_id } = virgl.node.resource_create_blob(&BlobCreate { size, ..GUEST_BLOB }).unwrap();
    if node.host().stats().attachments == 0 {
        eprintln!("skipped: guest pages are no dma-bufs here");
        return;
    }
    let ctx_id = newest_context(&node);
    assert_eq!(stream(&node, ctx_id, set_type(resource_id, &packed).as_bytes()), Reply::OkNoData);
    virgl.clear((bo_handle, resource_id), Format::XRGB8888, COLOUR);
    let pages = virgl.node.mmap(virgl.node.map(bo_handle).unwrap(), size).unwrap();
    let mut row = [0; WIDTH as usize * 4];
    for y in 0..HEIGHT {
        pages.read((y * packed.planes[0].stride_bytes) as usize, &mut row).unwrap();
        assert!(row.chunks_exact(4).all(|pixel| pixel[..3] == COLOUR_BYTES));
    }
}

/// The context that was made last.
fn newest_context(node: &Loopback) -> u32 {
    node.host().contexts().iter().map(|context| context.id).max().unwrap()
}

#[test]
fn what_another_context_has_made_a_texture_of_leaves_the_context_whole() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let Some((_device, buffer)) = image(&node, Format::XRGB8888, Usage::RENDER) else { return };
    let set = set_type(buffer.resource_id(), buffer.layout());
    // One that goes on, and one that has ended.
    for ended in [false, true] {
        let other = Virgl::open(&node);
        let ctx_id = newest_context(&node);
        let (handle, _) = import(&other.node, &buffer);
        if ended {
            assert_eq!(stream(&node, ctx_id, set_type(4711, buffer.layout()).as_bytes()), Reply::ErrInvalidParameter);
        }
        let mut virgl = Virgl::open(&node);
        let imported = virgl.import(&buffer);
        other.node.gem_close(handle).unwrap();
        assert_eq!(stream(&node, ctx_id, set.as_bytes()), Reply::ErrInvalidParameter, "it has left that context");
        virgl.clear(imported, Format::XRGB8888, COLOUR);
        assert_is_drawn(&node, &buffer);
    }
}

#[test]
fn a_blob_of_virgl_is_described_with_the_stride_by_which_it_leaves() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let mut virgl = Virgl::open(&node);
    // With room for the padding of a row.
    let size = (u64::from(HEIGHT) * 512).next_multiple_of(4096);
    let Handles { bo_handle, resource_id } = texture_blob(&virgl.node, number(Format::XRGB8888), WIDTH, HEIGHT, size);
    virgl.clear((bo_handle, resource_id), Format::XRGB8888, COLOUR);
    let exported = node.host().export(resource_id);
    if exported.as_ref().map(|exported| &exported.kind) != Ok(&ExportKind::DmaBuf) {
        eprintln!("skipped: virglrenderer's textures leave as no dma-bufs here: {exported:?}");
        return;
    }
    let device = Device::open(node.open_again()).unwrap();
    let ours = device.import(virgl.node.prime_handle_to_fd(bo_handle).unwrap().as_fd()).unwrap();
    let layout = *ours.layout();
    assert_eq!((layout.width, layout.height, ours.resource_id()), (WIDTH, HEIGHT, resource_id));
    assert_picture(&node.host().picture(resource_id).unwrap());
    // The memory, read as the layout says, has the same picture.
    if layout.modifier == Modifier::LINEAR {
        let mut bytes = vec![0; size as usize];
        node.host().read_resource(resource_id, 0, &mut bytes).unwrap();
        assert_picture(&Picture::decode(&layout, &bytes).unwrap());
    }
    // A blob that says to be larger than its texture is not let out.
    let large = texture_blob(&virgl.node, number(Format::XRGB8888), WIDTH, HEIGHT, size * 16);
    let refused = node.host().export(large.resource_id).unwrap_err().to_string();
    assert!(refused.contains(&format!("the blob has {} bytes", size * 16)), "{refused}");
    let stride = layout.planes[0].stride_bytes;
    println!("a texture of virgl's leaves as {}, {WIDTH}x{HEIGHT} with {stride} bytes a row, {}", layout.format, layout.modifier);
}

#[test]
fn a_texture_of_virgl_is_described_to_our_device() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let mut virgl = Virgl::open(&node);
    let Handles { bo_handle, resource_id } = texture(&virgl.node, number(Format::XRGB8888), WIDTH, HEIGHT);
    virgl.clear((bo_handle, resource_id), Format::XRGB8888, COLOUR);
    let options = DeviceOptions { backend: Some(BackendKind::Alloc), ..DeviceOptions::default() };
    let device = Device::open_with(node.open_again(), &options).unwrap();
    let ours = device.import(virgl.node.prime_handle_to_fd(bo_handle).unwrap().as_fd()).unwrap();
    assert_eq!((ours.resource_id(), ours.made_of()), (resource_id, Some(Backing::Renderer)));
    assert_eq!(
        *ours.layout(),
        Layout::linear(&BufferRequest::new(Format::XRGB8888, WIDTH, HEIGHT, Usage::CPU), Alignment::PACKED).unwrap()
    );
    // The pages are the guest's, and the texture comes into them when its driver says so.
    read_back(&virgl.node, bo_handle, WIDTH, HEIGHT);
    assert_is_drawn(&node, &ours);
}

#[test]
fn a_thousand_images_are_drawn_and_nothing_grows() {
    let Some(turn) = turn() else { return };
    let node = turn.node(None);
    let image = || image_of_height(&node, Format::XRGB8888, Usage::RENDER, TALL);
    if image().is_none() {
        return;
    }
    let mut virgl = Virgl::open(&node);
    let mut round = |number: u32| {
        let (_device, buffer) = image().unwrap();
        let imported = virgl.import(&buffer);
        let shade = (number % 256) as u8;
        virgl.clear(imported, Format::XRGB8888, [f32::from(shade) / 255.0; 4]);
        assert!(is_all(&buffer, [shade; 3]));
        virgl.node.gem_close(imported.0).unwrap();
    };
    (0..50).for_each(&mut round);
    let (descriptors, resident, held) = (settled_descriptors(), resident_kib(), node.host().stats().held);
    (0..1000).for_each(&mut round);
    // A driver may open one for itself at any time, once.
    assert!(settled_descriptors() <= descriptors + 1, "{descriptors} before");
    assert_eq!(node.host().stats().held, held);
    let grown = resident_kib().saturating_sub(resident);
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    println!("1,000 images of ours, drawn by virgl: {grown} KiB more");
    drop(virgl);
    node.host().reset();
    assert_eq!(node.host().stats().held, Amount::default());
}

/// A thousand images of this height are 216 MiB; what grows once and no more is less than this.
const TALL: u32 = 450;
const GROWTH_KIB: u64 = 32 << 10;
