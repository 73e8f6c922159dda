//! Submissions of the allocation protocol, and claims of what they made.
//!
//! The input is one submission, executed twice, so that ids are met again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use virgbm::host::Amount;
use virgbm::host::test_rig::{Guest, SMALL_QUOTA};

fuzz_target!(|stream: &[u8]| {
    let guest = Guest::with_quota(SMALL_QUOTA);
    // A guest blob for IMPORT and DESCRIBE to find.
    guest.guest_blob(2, 65536, 65536);
    guest.attach(1, 2);
    guest.submit(1, stream);
    for blob_id in 1..4 {
        guest.host_blob(10 + blob_id as u32, blob_id, 4096, 0);
    }
    guest.submit(1, stream);
    guest.destroy_context(1);
    assert_eq!(guest.device.stats().objects, 0, "objects end with their context");
    guest.device.reset();
    assert_eq!(guest.device.stats().held, Amount::default(), "a reset leaves nothing");
});
