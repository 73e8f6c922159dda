//! Memory that comes from elsewhere: of the same driver, and where the kernel has udmabuf, of anybody.

use super::*;
use crate::host::resolver::{Export, ExportKind};
use crate::sys::{memfd, mmap::Mmap};
use crate::{Alignment, LayoutError, Plane, Planes};
use std::os::fd::AsFd;

/// The resolver on a device that has no dma-bufs, and whose images the CPU does not see, so that all access is the device's own.
fn without_dma_bufs() -> Option<VulkanResolver> {
    let device = device_with(|extensions| extensions.dma_buf = false)?;
    Some(VulkanResolver::probe(device, false).unwrap())
}

/// Two devices of one driver that share memory by opaque descriptors.
fn two() -> Option<[VulkanResolver; 2]> {
    let both = [without_dma_bufs()?, without_dma_bufs()?];
    if both.iter().any(|resolver| resolver.0.maker.shared != Some(Handle::Opaque)) {
        eprintln!("skipped: {} shares no memory by opaque descriptors", both[0].device_name());
        return None;
    }
    Some(both)
}

fn opaque(image: &dyn Image) -> (std::os::fd::OwnedFd, OpaqueMemory) {
    match image.export().unwrap() {
        Export { fd, kind: ExportKind::Opaque(told) } => (fd, *told),
        other => panic!("{other:?}"),
    }
}

/// The bytes of a picture's rows, all different from one row to the next.
fn rows(layout: &Layout, seed: u8) -> Vec<(u64, Vec<u8>)> {
    let mut rows = Vec::new();
    for plane in 0..layout.planes.len() {
        let region = layout.plane_region(plane, layout.whole()).unwrap();
        for row in 0..region.rows {
            let byte = |at: u64| (at as u8).wrapping_mul(3).wrapping_add(row as u8).wrapping_add(seed);
            rows.push((region.offset_bytes + row * region.stride_bytes, (0..region.row_bytes).map(byte).collect()));
        }
    }
    rows
}

#[test]
fn what_one_device_draws_another_of_the_driver_sees() {
    let Some([one, other]) = two() else { return };
    for format in [Format::XRGB8888, Format::RGB565, Format::R8, Format::ABGR16161616F] {
        let made = allocate(&one, &linear(format, 129, 67)).unwrap();
        let (fd, told) = opaque(&*made.image);
        let seen = other.import_opaque(fd.as_fd(), &told).unwrap();
        assert_eq!(seen.layout, made.layout);
        for (seed, from, to) in [(1, &made, &seen), (77, &seen, &made)] {
            for (at, row) in rows(&made.layout.unwrap(), seed).iter().step_by(33) {
                // Padding that a format has in its texels is nobody's.
                let row: Vec<_> = row.iter().map(|byte| byte & 0x3b).collect();
                from.image.write(*at, &row).unwrap();
                let mut back = vec![0xff; row.len()];
                to.image.read(*at, &mut back).unwrap();
                let kept =
                    |bytes: &[u8]| bytes.iter().enumerate().map(|(at, byte)| if at % 4 == 3 { 0 } else { *byte }).collect();
                let (found, drawn): (Vec<u8>, Vec<u8>) = (kept(&back), kept(&row));
                assert_eq!(found, drawn, "{format} at {at}");
            }
        }
        drop(made);
        assert_eq!(one.live_objects(), 0);
        seen.image.read(0, &mut [0; 4]).unwrap();
    }
    check_end(&one);
    check_end(&other);
}

#[test]
fn an_opaque_descriptor_is_never_mapped_nor_taken_for_a_dma_buf() {
    let Some([one, _]) = two() else { return };
    let made = allocate(&one, &linear(Format::ARGB8888, 64, 64)).unwrap();
    let export = made.image.export().unwrap();
    assert_eq!(export.kind.name(), "opaque");
    assert!(!crate::sys::dmabuf::is_dma_buf(export.fd.as_fd()));
    assert_eq!(made.image.show(&Shelf::default(), 0).unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    assert!(!one.capabilities().contains(Capabilities::DMA_BUF_EXPORT));
    assert!(one.support().iter().all(|support| support.transfers || !support.usages.intersects(Usage::CPU)));
    drop(made);
    check_end(&one);
}

#[test]
fn memory_of_the_driver_is_imported_only_as_it_was_made() {
    let Some([one, other]) = two() else { return };
    let made = allocate(&one, &linear(Format::ARGB8888, 64, 64)).unwrap();
    let (fd, told) = opaque(&*made.image);
    let refused = |told: OpaqueMemory| match other.import_opaque(fd.as_fd(), &told) {
        Err(ResolveError::Image(refused)) => refused,
        other => panic!("{:?}", other.map(|_| ())),
    };
    let foreign = OpaqueMemory { driver_uuid: [0; 16], ..told.clone() };
    assert!(matches!(refused(foreign), ImageRefused::Descriptor(_)));
    let foreign = OpaqueMemory { device_uuid: [0; 16], ..told.clone() };
    assert!(matches!(refused(foreign), ImageRefused::Descriptor(_)));
    for memory_type in [7, 31, 32, u32::MAX] {
        let wrong = OpaqueMemory { memory_type, ..told.clone() };
        assert!(matches!(refused(wrong), ImageRefused::Parameter { what: "memory type", .. }));
    }
    let small = OpaqueMemory { size_bytes: 4096, ..told.clone() };
    assert!(matches!(refused(small), ImageRefused::Size { blob_bytes: 4096, .. }));
    let large = VkImage { width: 128.into(), ..told.image };
    assert!(matches!(refused(OpaqueMemory { image: large, ..told.clone() }), ImageRefused::Plane { .. }));
    let image = VkImage { samples: 3.into(), ..told.image };
    assert!(matches!(refused(OpaqueMemory { image, ..told.clone() }), ImageRefused::Parameter { what: "samples", .. }));
    // The driver's own check of what it is given.
    let stranger = memfd::sealed(1 << 20).unwrap();
    assert!(other.import_opaque(stranger.as_fd(), &told).is_err());
    assert_eq!((one.live_objects(), other.live_objects()), (2, 0));
    drop(made);
    check_end(&one);
    check_end(&other);
}

#[test]
fn whatever_call_of_an_import_fails_nothing_is_left() {
    let Some([one, other]) = two() else { return };
    let made = allocate(&one, &linear(Format::ARGB8888, 64, 64)).unwrap();
    let (fd, told) = opaque(&*made.image);
    check_each_failure(&other, 3, || other.import_opaque(fd.as_fd(), &told));
}

#[test]
fn whatever_call_of_an_import_of_a_dma_buf_fails_nothing_is_left() {
    let Some((vulkan, memory)) = with_dma_bufs() else { return };
    let plain = Plain::new(&memory, linear(Format::ARGB8888, 64, 64), ALIGNED);
    check_each_failure(&vulkan, 4, || plain.import(&vulkan, &plain.layout, plain.bytes));
}

/// A picture in plain memory that leaves as a dma-buf.
struct Plain {
    request: BufferRequest,
    layout: Layout,
    fd: std::os::fd::OwnedFd,
    map: Mmap,
    bytes: u64,
}

impl Plain {
    fn new(memory: &MemoryResolver, request: BufferRequest, alignment: Alignment) -> Self {
        let layout = Layout::linear(&request, alignment).unwrap();
        let parameters = Parameters::Image { request: &request, layout: &layout };
        let image = memory.allocate(&parameters, layout.size_bytes).unwrap().image;
        let fd = image.export().unwrap().fd;
        let map = Mmap::shared(fd.as_fd(), 0, image.size_bytes(), None).unwrap();
        Self { request, layout, fd, map, bytes: image.size_bytes() }
    }

    fn import(&self, vulkan: &VulkanResolver, layout: &Layout, bytes: u64) -> Result<Allocation, ResolveError> {
        vulkan.allocate(&Parameters::DmaBuf { fd: self.fd.as_fd(), request: &self.request, layout }, bytes)
    }
}

const ALIGNED: Alignment = Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 };

/// Vulkan and plain memory where both have dma-bufs.
fn with_dma_bufs() -> Option<(VulkanResolver, MemoryResolver)> {
    let (vulkan, memory) = (resolver()?, MemoryResolver::new());
    if vulkan.imports_dma_bufs() && memory.capabilities().contains(Capabilities::DMA_BUF_EXPORT) {
        return Some((vulkan, memory));
    }
    eprintln!("skipped: {} and the kernel have no dma-bufs", vulkan.device_name());
    None
}

#[test]
fn who_has_no_dma_bufs_imports_none() {
    let Some(vulkan) = without_dma_bufs() else { return };
    let request = linear(Format::ARGB8888, 64, 64);
    let layout = Layout::linear(&request, ALIGNED).unwrap();
    let stranger = memfd::sealed(1 << 20).unwrap();
    let parameters = Parameters::DmaBuf { fd: stranger.as_fd(), request: &request, layout: &layout };
    assert!(matches!(vulkan.allocate(&parameters, 4096), Err(ResolveError::NoResolver(_))));
    let memory = MemoryResolver::without_udmabuf();
    assert!(matches!(memory.allocate(&parameters, 4096), Err(ResolveError::NoResolver(_))));
    check_end(&vulkan);
}

#[test]
fn plain_memory_is_an_image_of_vulkan_in_place() {
    let Some((vulkan, memory)) = with_dma_bufs() else { return };
    let formats = vulkan.0.offered.iter().filter(|offered| offered.importable && offered.support.modifier == Modifier::LINEAR);
    let mut imported = Vec::new();
    for format in formats.map(|offered| offered.support.format) {
        // Software wants whole groups of rows.
        let plain = Plain::new(&memory, linear(format, 129, 67), Alignment { size_bytes: 1 << 17, ..ALIGNED });
        let image = plain.import(&vulkan, &plain.layout, plain.bytes).unwrap().image;
        assert_eq!((vulkan.live_objects(), image.storage()), (2, "vulkan dma-buf"));
        for (seed, by_cpu) in [(1, true), (50, false)] {
            for (at, row) in rows(&plain.layout, seed).into_iter().step_by(20) {
                let mut back = vec![0; row.len()];
                if by_cpu {
                    plain.map.write(at as usize, &row).unwrap();
                    image.read(at, &mut back).unwrap();
                } else {
                    image.write(at, &row).unwrap();
                    plain.map.read(at as usize, &mut back).unwrap();
                }
                assert_eq!(back, row, "{format} at {at}, by the CPU: {by_cpu}");
            }
        }
        imported.push(format);
    }
    println!("plain memory as images of {}: {imported:?}", vulkan.device_name());
    assert!([Format::XRGB8888, Format::ARGB8888, Format::R8, Format::RGB565].iter().all(|format| imported.contains(format)));
    check_end(&vulkan);
}

#[test]
fn an_import_that_does_not_fit_is_refused_by_name() {
    let Some((vulkan, memory)) = with_dma_bufs() else { return };
    use ImageRefused as R;
    let plain = Plain::new(&memory, linear(Format::ARGB8888, 65, 33), ALIGNED);
    let moved = |change: &dyn Fn(&mut Plane)| {
        let mut plane = plain.layout.planes[0];
        change(&mut plane);
        Layout { planes: Planes::new(&[plane]).unwrap(), ..plain.layout }
    };
    let refused = |layout: &Layout, bytes: u64| match plain.import(&vulkan, layout, bytes) {
        Err(error) => error,
        Ok(_) => panic!("imported {layout:?}"),
    };
    let of_image = |layout: &Layout, bytes: u64| match refused(layout, bytes) {
        ResolveError::Image(refused) => refused,
        other => panic!("{other}"),
    };
    let larger = refused(&plain.layout, plain.bytes + 1);
    assert!(matches!(larger, ResolveError::Image(R::Size { .. })), "{larger}");
    let high = Plain::new(&memory, linear(Format::ARGB8888, 65, 99), ALIGNED);
    let beyond =
        vulkan.allocate(&Parameters::DmaBuf { fd: plain.fd.as_fd(), request: &high.request, layout: &high.layout }, 4096);
    assert!(matches!(beyond, Err(ResolveError::Image(R::Size { .. }))));
    let short = refused(&moved(&|plane| plane.stride_bytes = 64), 4096);
    assert!(matches!(short, ResolveError::Layout(LayoutError::Stride { .. })), "{short}");
    let far = refused(&moved(&|plane| plane.offset_bytes = 1 << 40), 4096);
    assert!(matches!(far, ResolveError::Layout(LayoutError::PlaneOutside { .. })), "{far}");
    assert!(matches!(of_image(&moved(&|plane| plane.stride_bytes = 319), 4096), R::Plane { what: "stride", .. }));
    let start = moved(&|plane| (plane.offset_bytes, plane.size_bytes) = (2, plane.size_bytes - 2));
    assert!(matches!(of_image(&start, 4096), R::Plane { what: "offset", value: 2, .. }));
    let modifier = |value| Layout { modifier: Modifier::new(value), ..plain.layout };
    for unknown in [Modifier::INVALID.value(), 1 << 60] {
        assert!(matches!(of_image(&modifier(unknown), 4096), R::Modifier(1)));
    }
    let stranger = memfd::sealed(1 << 20).unwrap();
    for fd in [stranger.as_fd(), std::fs::File::open("/dev/null").unwrap().as_fd()] {
        let parameters = Parameters::DmaBuf { fd, request: &plain.request, layout: &plain.layout };
        let refused = vulkan.allocate(&parameters, 4096).err().unwrap();
        assert!(matches!(refused, ResolveError::Image(R::Descriptor("it is no dma-buf"))), "{refused}");
    }
    check_end(&vulkan);
}

/// A wider stride and a start behind the first byte, which explicit layouts can say.
#[test]
fn a_layout_that_is_not_the_drivers_own_is_taken_or_refused_but_never_misread() {
    let Some((vulkan, memory)) = with_dma_bufs() else { return };
    let request = linear(Format::ARGB8888, 65, 33);
    let wide = Plain::new(&memory, request.clone(), Alignment { stride_bytes: 1024, ..ALIGNED });
    let mut planes = wide.layout.planes.to_vec();
    planes[0].offset_bytes = 4096;
    let size_bytes = wide.layout.size_bytes + 4096;
    let layout = Layout { planes: Planes::new(&planes).unwrap(), layer_stride_bytes: size_bytes, size_bytes, ..wide.layout };
    let behind = Plain { layout, ..Plain::new(&memory, linear(Format::ARGB8888, 256, 64), Alignment::PACKED) };
    let behind = Plain { request, ..behind };
    for plain in [wide, behind] {
        let told = (plain.layout.planes[0].stride_bytes, plain.layout.planes[0].offset_bytes);
        match plain.import(&vulkan, &plain.layout, plain.layout.size_bytes) {
            Ok(imported) => {
                println!("stride and offset {told:?} are taken");
                for (at, row) in rows(&plain.layout, 9) {
                    plain.map.write(at as usize, &row).unwrap();
                    let mut back = vec![0; row.len()];
                    imported.image.read(at, &mut back).unwrap();
                    assert_eq!(back, row);
                }
            }
            Err(ResolveError::Image(refused)) => println!("stride and offset {told:?}: {refused}"),
            Err(other) => panic!("{other}"),
        }
    }
    check_end(&vulkan);
}
