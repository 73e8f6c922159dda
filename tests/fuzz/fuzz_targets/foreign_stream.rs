//! Submissions of cross-domain and virgl, and claims of what they told.
//!
//! The input is one submission, executed twice by a context of each, so that ids are met again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use virgbm::host::test_rig::{Guest, SMALL_QUOTA};
use virgbm::host::{Amount, DeviceConfig, MemoryResolver, Protocols};
use virgbm::wire::{cross_domain, virgl};

fuzz_target!(|stream: &[u8]| {
    let config = DeviceConfig { protocols: Protocols::all(), quota: SMALL_QUOTA, ..DeviceConfig::default() };
    let guest = Guest::bare(config, vec![Box::new(MemoryResolver::without_udmabuf())]);
    // The query ring, and a blob for SET_TYPE to find.
    guest.guest_blob(1, 0, 4096);
    guest.guest_blob(2, 65536, 65536);
    for capset_id in [cross_domain::CAPSET_ID, virgl::CAPSET_ID_VIRGL2] {
        guest.create_context(1, capset_id);
        guest.attach(1, 1);
        guest.attach(1, 2);
        for id in [10, 11] {
            guest.submit(1, stream);
            for (blob_id, size) in [(1, 4096), (2, 65536)] {
                guest.host_blob(id * 10 + blob_id, blob_id.into(), size, 1);
            }
        }
        for resource in guest.device.resources() {
            let _ = guest.device.picture(resource.id);
        }
        guest.destroy_context(1);
        assert_eq!(guest.device.stats().objects, 0, "objects end with their context");
    }
    guest.device.reset();
    assert_eq!(guest.device.stats().held, Amount::default(), "a reset leaves nothing");
});
