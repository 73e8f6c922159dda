//! In a guest, over its kernel's binder, beside a service manager and our service: what `android/tests/allocator`
//! runs. What is in `alone` and `importer` is run one by one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod alone;
mod client;
mod importer;
mod mapper;
mod parcels;

use rsbinder::{ProcessState, Strong, hub};
use std::sync::Once;
use std::time::Duration;
use virgbm_android_allocator::INSTANCE;
use virgbm_android_allocator::aidl::{BufferDescriptorInfo, IAllocator};

/// Numbers of the HAL.
const BGRA_8888: i32 = 5;
const YV12: i32 = 0x3231_5659;
const CPU_OFTEN: i64 = 0x33;
const CLIENT_TARGET: i64 = 1 << 12;

/// The service, as the service manager knows it.
fn service() -> Strong<dyn IAllocator> {
    static START: Once = Once::new();
    START.call_once(|| {
        ProcessState::init_default().unwrap();
        ProcessState::start_thread_pool();
    });
    hub::wait_for_interface(INSTANCE).unwrap()
}

fn descriptor(name: &str, width: i32, height: i32) -> BufferDescriptorInfo {
    let mut asked = BufferDescriptorInfo { width, height, layerCount: 1, format: 1, usage: CPU_OFTEN, ..Default::default() };
    asked.name[..name.len()].copy_from_slice(name.as_bytes());
    asked
}

/// The process of the service, as the service manager knows it.
fn service_process() -> i32 {
    let services = hub::default().unwrap().get_service_debug_info().unwrap();
    services.iter().find(|service| service.name == INSTANCE).unwrap().debugPid
}

/// How many descriptors the service has open.
fn descriptors_of_the_service() -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", service_process())).unwrap().count()
}

/// Whether something holds within ten seconds: the kernel frees late what another process has let go.
fn settles(mut holds: impl FnMut() -> bool) -> bool {
    (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        holds()
    })
}
