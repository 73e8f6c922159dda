//! Drivers that say what is not so: it is not believed, and what was made meanwhile is gone.

use super::*;
use sys::Lie;

/// What the resolver finds on a device whose driver lies.
fn probed(lie: Lie) -> Option<(Arc<Device>, Result<VulkanResolver, VulkanError>)> {
    let device = device_with(|_| ())?;
    device.faults.lie(lie);
    let resolver = VulkanResolver::probe(device.clone(), true);
    assert_eq!(device.live(), 0);
    Some((device, resolver))
}

fn refused<'a>(resolver: &'a VulkanResolver, subject: &str) -> &'a str {
    let finding = resolver.0.findings.iter().find(|finding| finding.subject == subject).unwrap();
    finding.refused.as_deref().unwrap()
}

#[test]
fn success_without_features_is_no_way_out_of_the_device() {
    let Some((device, resolver)) = probed(Lie::NoFeatures) else { return };
    let resolver = resolver.unwrap();
    assert_eq!((resolver.exports_dma_bufs(), resolver.imports_dma_bufs(), resolver.0.maker.shared), (false, false, None));
    if device.facts().extensions.memory_fd {
        assert_eq!(refused(&resolver, "opaque descriptors"), "the driver does not export it");
    }
    let made = allocate(&resolver, &linear(Format::ARGB8888, 64, 64)).unwrap();
    assert_eq!(made.image.export().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    drop(made);
    check_end(&resolver);
}

#[test]
fn planes_that_start_where_the_first_does_are_not_offered() {
    let Some((_, resolver)) = probed(Lie::PlanesAtZero) else { return };
    let resolver = resolver.unwrap();
    assert!(resolver.support().iter().all(|support| support.plane_count == 1));
    assert!(resolver.support().iter().any(|support| support.format == Format::ARGB8888));
    for finding in resolver.report().findings.iter().filter(|finding| finding.subject.starts_with("NV12")) {
        println!("{}: {}", finding.subject, finding.refused.as_deref().unwrap());
    }
    check_end(&resolver);
}

#[test]
fn rows_that_are_shorter_than_they_are_give_no_image() {
    let Some((device, resolver)) = probed(Lie::ShortRows) else { return };
    let VulkanError::NothingWorks { why, .. } = resolver.err().unwrap() else { panic!("another reason") };
    assert!(why.contains("is shorter than a row"), "{why}");
    assert_eq!(device.live(), 0);
}

#[test]
fn a_memfd_is_no_dma_buf_whatever_the_driver_says() {
    let Some((device, resolver)) = probed(Lie::Memfd) else { return };
    let resolver = resolver.unwrap();
    assert!(!resolver.exports_dma_bufs());
    if device.facts().extensions.dma_buf {
        assert!(refused(&resolver, "dma-bufs").contains("it is no dma-buf"));
    }
    let (maker, request) = (&resolver.0.maker, linear(Format::ARGB8888, 64, 64));
    let offered = resolver.0.offered.iter().find(|offered| offered.support.format == request.format).unwrap();
    let layout = maker.layout(&request, offered).unwrap();
    let made = maker.image(&request, offered, &layout, layout.size_bytes).unwrap();
    let refused = made.dma_buf().unwrap_err();
    assert!(matches!(&refused, ResolveError::Driver(error) if error.to_string().contains("it is no dma-buf")), "{refused}");
    drop(made);
    check_end(&resolver);
}

#[test]
fn an_address_of_a_call_whose_extension_is_not_there_is_not_called() {
    let Some(device) = device_with(|extensions| *extensions = Extensions::default()) else { return };
    let resolver = VulkanResolver::probe(device.clone(), true).unwrap();
    assert_eq!(resolver.0.maker.shared, None);
    let (maker, request) = (&resolver.0.maker, linear(Format::ARGB8888, 64, 64));
    let offered = resolver.0.offered.iter().find(|offered| offered.support.format == request.format).unwrap();
    let layout = maker.layout(&request, offered).unwrap();
    let made = maker.image(&request, offered, &layout, layout.size_bytes).unwrap();
    for handle in [Handle::DmaBuf, Handle::Opaque] {
        assert_eq!(made.memory.export(handle).unwrap_err().result, vk::Result::ERROR_EXTENSION_NOT_PRESENT);
    }
    let null = std::fs::File::open("/dev/null").unwrap();
    let refused = device.types_of(std::os::fd::AsFd::as_fd(&null)).unwrap_err();
    assert_eq!((refused.result, made.image.modifier().unwrap()), (vk::Result::ERROR_EXTENSION_NOT_PRESENT, None));
    drop(made);
    check_end(&resolver);
}
