//! Sequences of control-queue commands: whatever a guest sends, every command is answered, and a reset leaves nothing.
//!
//! The input is commands one after the other, each behind its length in two bytes, little-endian.

#![no_main]

use libfuzzer_sys::fuzz_target;
use virgbm::host::test_rig::{Guest, SMALL_QUOTA};
use virgbm::host::{Amount, DeviceConfig, Protocols};

fuzz_target!(|input: &[u8]| {
    let protocols = Protocols::all();
    let config = DeviceConfig { protocols, quota: SMALL_QUOTA, scanout: Some((64, 48)), ..DeviceConfig::default() };
    let guest = Guest::with_config(config);
    let mut reply = Vec::new();
    let mut rest = input;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        let (command, behind) = behind.split_at(length);
        guest.device.execute(command, &mut reply);
        assert!(reply.len() >= 24, "every command is answered");
        rest = behind;
    }
    let held = guest.device.stats().held;
    assert!(held.bytes <= SMALL_QUOTA.device.bytes && held.objects <= SMALL_QUOTA.device.objects, "the quota holds");
    // Whoever looks on gets a picture or an error.
    let _ = guest.device.screenshot(0);
    let _ = guest.device.screenshot_with_cursor(0);
    for resource in guest.device.resources() {
        let _ = guest.device.picture(resource.id);
    }
    guest.device.reset();
    assert_eq!(guest.device.stats().held, Amount::default(), "a reset leaves nothing");
    assert!(guest.window.mapped.lock().unwrap().is_empty(), "nor anything in the window");
});
