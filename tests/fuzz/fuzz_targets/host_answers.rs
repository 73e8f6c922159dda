//! Whatever a host says: parameters, capsets, replies in shared memory.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| virgbm::guest::test_rig::use_a_babbling_host(bytes));
