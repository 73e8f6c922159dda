//! The service's methods, called in this process on a host in this process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rsbinder::{BinderResult, ExceptionCode};
use std::ffi::c_int;
use std::os::fd::AsRawFd;
use virgbm::guest::{Device, node::loopback::Loopback};
use virgbm_android_allocator::Service;
use virgbm_android_allocator::aidl::{AllocationResult, BufferDescriptorInfo, ExtendableType, IAllocator, NativeHandle};
use virgbm_android_handle::Imported;
use virgbm_android_handle::allocate::AllocationError;
use virgbm_android_handle::device::Source;
use virgbm_android_handle::handle::Claim;
use virgbm_android_handle::metadata::Slot;

const RGBA_8888: i32 = 1;
const CPU_OFTEN: i64 = 0x33;

fn service() -> (Service, Device) {
    let device = Device::open(Loopback::new().unwrap()).unwrap();
    (Service::new(virgbm_android_handle::Allocator::new(device.clone())), device)
}

fn descriptor(width: i32, height: i32) -> BufferDescriptorInfo {
    BufferDescriptorInfo {
        name: [0; 128],
        width,
        height,
        layerCount: 1,
        format: RGBA_8888,
        usage: CPU_OFTEN,
        ..Default::default()
    }
}

fn option(name: &str, value: i64) -> ExtendableType {
    ExtendableType { name: format!("android.hardware.graphics.common.{name}"), value }
}

fn import(handle: &NativeHandle) -> Imported {
    let fds: Vec<c_int> = handle.fds.iter().map(AsRawFd::as_raw_fd).collect();
    Imported::new(&Claim::from_parts(&fds, &handle.ints).unwrap(), || Ok(Source::Files)).unwrap().0
}

/// The code of the exception, and what it says.
fn refusal(result: BinderResult<AllocationResult>) -> (i32, String) {
    let status = result.unwrap_err();
    assert_eq!(status.exception_code(), ExceptionCode::ServiceSpecific, "{status}");
    (status.service_specific_error(), status.to_string())
}

#[test]
fn a_client_gets_handles_that_can_be_imported() {
    let (service, _) = service();
    let found = service.allocate2(&descriptor(65, 33), 1).unwrap();
    assert!(found.stride >= 65);
    let [handle] = &found.buffers[..] else { panic!("{found:?}") };
    assert_eq!((handle.fds.len(), handle.ints.len()), (2, 34));
    let imported = import(handle);
    let description = imported.description();
    assert_eq!((description.width, description.height, description.usage), (65, 33, 0x33));
    assert_eq!(description.pixel_stride, found.stride.cast_unsigned());
}

#[test]
fn several_buffers_are_one_round_trip() {
    let (service, device) = service();
    let before = device.round_trips();
    let found = service.allocate2(&descriptor(64, 64), 3).unwrap();
    assert_eq!(device.round_trips() - before, 1);
    let ids: Vec<u64> = found.buffers.iter().map(|handle| import(handle).description().id).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
}

#[test]
fn the_older_method_makes_the_same() {
    let (service, _) = service();
    let fields: [u32; 8] = [64, 32, 1, RGBA_8888.cast_unsigned(), 0x33, 0, 10, 0];
    let words = fields.iter().flat_map(|field| field.to_le_bytes());
    let bytes: Vec<u8> = 8_u64.to_le_bytes().into_iter().chain(*b"mapper 4").chain(words).collect();
    let found = service.allocate(&bytes, 1).unwrap();
    let imported = import(&found.buffers[0]);
    assert_eq!(imported.description().name, "mapper 4");
    assert_eq!(imported.metadata().constants().reserved_bytes, 10);
    let cut = refusal(service.allocate(&bytes[..bytes.len() - 1], 1));
    assert_eq!(cut.0, AllocationError::BadDescriptor as i32);
}

#[test]
fn options_with_metadata_set_it() {
    let (service, _) = service();
    let mut asked = descriptor(64, 64);
    asked.additionalOptions = vec![option("Dataspace", 0x0882_0000), option("BlendMode", 2)];
    assert!(service.isSupported(&asked).unwrap());
    let imported = import(&service.allocate2(&asked, 1).unwrap().buffers[0]);
    assert_eq!(imported.metadata().get(Slot::Dataspace).unwrap().unwrap(), 0x0882_0000_i32.to_le_bytes());
    assert_eq!(imported.metadata().get(Slot::BlendMode).unwrap().unwrap(), 2_i32.to_le_bytes());
}

#[test]
fn layers_follow_each_other() {
    let (service, _) = service();
    let asked = BufferDescriptorInfo { layerCount: 3, ..descriptor(64, 64) };
    assert!(service.isSupported(&asked).unwrap());
    let imported = import(&service.allocate2(&asked, 1).unwrap().buffers[0]);
    assert_eq!(imported.description().layout.layers, 3);
    assert!(imported.description().allocation_bytes >= 3 * 64 * 64 * 4);
}

#[test]
fn what_is_not_supported_is_refused_alike_and_says_why() {
    let (service, _) = service();
    let unsupported: [(&str, BufferDescriptorInfo); 6] = [
        ("0x200000000", BufferDescriptorInfo { usage: CPU_OFTEN | 1 << 33, ..descriptor(64, 64) }),
        ("NotARealOption", BufferDescriptorInfo { additionalOptions: vec![option("NotARealOption", 1)], ..descriptor(64, 64) }),
        ("0x7777", BufferDescriptorInfo { format: 0x7777, ..descriptor(64, 64) }),
        ("HSV_888", BufferDescriptorInfo { format: 0x37, ..descriptor(64, 64) }),
        ("PROTECTED", BufferDescriptorInfo { usage: 1 << 14 | 1 << 8, ..descriptor(64, 64) }),
        ("2147483647", descriptor(i32::MAX, i32::MAX)),
    ];
    for (named, asked) in unsupported {
        assert!(!service.isSupported(&asked).unwrap(), "{asked:?}");
        let (code, message) = refusal(service.allocate2(&asked, 1));
        assert_eq!(code, AllocationError::Unsupported as i32, "{message}");
        assert!(message.contains(named), "{named}: {message}");
    }
    let bad: [BufferDescriptorInfo; 6] = [
        descriptor(0, 64),
        descriptor(64, -1),
        BufferDescriptorInfo { layerCount: 0, ..descriptor(64, 64) },
        BufferDescriptorInfo { layerCount: -1, ..descriptor(64, 64) },
        BufferDescriptorInfo { reservedSize: -1, ..descriptor(64, 64) },
        BufferDescriptorInfo { format: 0x21, ..descriptor(64, 2) },
    ];
    for asked in bad {
        assert!(!service.isSupported(&asked).unwrap(), "{asked:?}");
        let (code, message) = refusal(service.allocate2(&asked, 1));
        assert_eq!(code, AllocationError::BadDescriptor as i32, "{message}");
    }
    for count in [0, -1, i32::MIN, i32::MAX] {
        assert_eq!(refusal(service.allocate2(&descriptor(64, 64), count)).0, AllocationError::BadDescriptor as i32);
    }
}

#[test]
fn requests_without_a_free_end_with_no_resources_and_go_on_after_it() {
    let (service, _) = service();
    let mut held = Vec::new();
    let refused = loop {
        match service.allocate2(&descriptor(16, 16), 10) {
            Ok(found) => held.push(found),
            refused => break refusal(refused),
        }
        assert!(held.len() < 10_000);
    };
    assert_eq!(refused.0, AllocationError::NoResources as i32, "{}", refused.1);
    drop(held);
    let again = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        service.allocate2(&descriptor(16, 16), 1).ok()
    });
    assert!(again.is_some(), "after all are gone");
}

#[test]
fn it_says_who_it_is() {
    let (service, _) = service();
    assert_eq!(service.getIMapperLibrarySuffix().unwrap(), "virgbm");
    assert_eq!(service.getInterfaceVersion().unwrap(), 2);
    assert_eq!(service.getInterfaceHash().unwrap(), "9499fec09c544e9de5be3c87125721600f8ade66");
}
