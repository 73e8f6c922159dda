//! What a client in another process gets from the service.

use crate::{CPU_OFTEN, YV12, descriptor, descriptors_of_the_service, service, settles};
use rsbinder::{ExceptionCode, Interface, Stability};
use std::collections::HashSet;
use virgbm_android_allocator::aidl::{BufferDescriptorInfo, ExtendableType};
use virgbm_android_handle::allocate::AllocationError;

#[test]
fn the_service_is_a_stable_one_of_version_2() {
    let service = service();
    assert_eq!(service.as_binder().stability(), Stability::Vintf);
    assert_eq!(service.getInterfaceVersion().unwrap(), 2);
    assert_eq!(service.getInterfaceHash().unwrap(), "9499fec09c544e9de5be3c87125721600f8ade66");
    assert_eq!(service.getIMapperLibrarySuffix().unwrap(), "virgbm");
}

#[test]
fn buffers_come_as_descriptors_and_integers() {
    let asked = BufferDescriptorInfo { format: YV12, ..descriptor("a picture", 129, 67) };
    assert!(service().isSupported(&asked).unwrap());
    let found = service().allocate2(&asked, 3).unwrap();
    assert!(found.stride >= 129);
    for handle in &found.buffers {
        assert_eq!((handle.fds.len(), handle.ints.len()), (4, 32));
    }
    let mut numbers = HashSet::new();
    assert!(found.buffers.iter().all(|handle| numbers.insert(handle.ints.clone())), "each has its own id");
}

#[test]
fn a_refusal_has_its_code_and_says_why() {
    let service = service();
    let option = ExtendableType { name: "android.hardware.graphics.common.NotARealOption".into(), value: 1 };
    let cases: [(AllocationError, &str, BufferDescriptorInfo); 4] = [
        (
            AllocationError::Unsupported,
            "0x200000000",
            BufferDescriptorInfo { usage: CPU_OFTEN | 1 << 33, ..descriptor("", 64, 64) },
        ),
        (
            AllocationError::Unsupported,
            "NotARealOption",
            BufferDescriptorInfo { additionalOptions: vec![option], ..descriptor("", 64, 64) },
        ),
        (
            AllocationError::Unsupported,
            "PROTECTED",
            BufferDescriptorInfo { usage: CPU_OFTEN | 1 << 14, ..descriptor("", 64, 64) },
        ),
        (AllocationError::BadDescriptor, "0 layers", BufferDescriptorInfo { layerCount: 0, ..descriptor("", 64, 64) }),
    ];
    for (code, named, asked) in cases {
        assert!(!service.isSupported(&asked).unwrap());
        let status = service.allocate2(&asked, 1).unwrap_err();
        assert_eq!(status.exception_code(), ExceptionCode::ServiceSpecific);
        assert_eq!(status.service_specific_error(), code as i32, "{status}");
        assert!(status.to_string().contains(named), "{status}");
    }
}

#[test]
fn one_call_may_ask_for_many_and_not_for_all() {
    let count_of = |count| service().allocate2(&descriptor("", 16, 16), count).map(|found| found.buffers.len());
    assert_eq!(count_of(100).unwrap(), 100);
    // This process and the service may have a thousand descriptors each, and every handle has two.
    for (count, code) in [(1024, AllocationError::NoResources), (1025, AllocationError::BadDescriptor)] {
        assert_eq!(count_of(count).unwrap_err().service_specific_error(), code as i32, "{count}");
    }
    assert_eq!(count_of(1).unwrap(), 1);
}

#[test]
fn threads_are_served_at_once() {
    let ids = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let service = service();
                    let handles = (0..20).flat_map(|_| service.allocate2(&descriptor("", 64, 64), 2).unwrap().buffers);
                    handles.map(|handle| handle.ints).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<HashSet<_>>()
    });
    assert_eq!(ids.len(), 320);
}

#[test]
fn nothing_of_a_buffer_stays_in_the_service() {
    let service = service();
    drop(service.allocate2(&descriptor("", 64, 64), 1).unwrap());
    let before = descriptors_of_the_service();
    let held: Vec<_> = (0..50).map(|_| service.allocate2(&descriptor("", 64, 64), 4).unwrap()).collect();
    assert!(settles(|| descriptors_of_the_service() <= before), "{before} descriptors before, more after 200 buffers");
    drop(held);
}
