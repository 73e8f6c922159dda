use super::test_rig::Guest;
use super::*;

#[test]
fn bare() {
    let guest = Guest::new();
    assert_eq!(guest.device.stats().resources, 1);
}
