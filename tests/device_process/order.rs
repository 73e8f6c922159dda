//! vhost-user messages in an order and with contents that no VMM has: the process stays, and serves the next.

use crate::guest;
use crate::process::Process;
use crate::ring::{Queue, RAM_BYTES, SIZE};
use crate::vmm::{EVENT_IDX, Vmm};
use std::time::Duration;
use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use virgbm::wire::virtio_gpu::Reply;

/// How long to wait for an answer that must not come.
const MOMENT: Duration = Duration::from_millis(200);

/// A VMM does something strange and goes; the process has nothing to do then, and serves the next.
fn survives(act: impl FnOnce(&mut Vmm)) {
    let process = Process::start();
    let mut vmm = Vmm::greet(&process);
    act(&mut vmm);
    process.assert_idle();
    drop(vmm);
    process.assert_serves();
}

fn assert_answers(vmm: &mut Vmm) {
    assert_eq!(vmm.ask(&guest::display_info()), Reply::OkDisplayInfo.number());
}

#[test]
fn a_kick_before_the_memory_table_does_nothing() {
    survives(|vmm| {
        vmm.frontend.set_vring_num(0, SIZE).unwrap();
        vmm.set_events(0).unwrap();
        vmm.frontend.set_vring_enable(0, true).unwrap();
        vmm.queues[0].kick();
    });
}

#[test]
fn a_queue_that_is_enabled_before_it_has_addresses_waits_for_them() {
    for event_index in [0, EVENT_IDX] {
        let process = Process::start();
        let mut vmm = Vmm::greet_without(&process.gpu(), event_index);
        // What lies at the guest's address 0 is no ring.
        vmm.ram.write(0, &[0xff; 4096]);
        vmm.share_memory().unwrap();
        vmm.set_events(0).unwrap();
        vmm.frontend.set_vring_enable(0, true).unwrap();
        vmm.queues[0].kick();
        process.assert_idle();
        assert_eq!(vmm.ram.read(0, 4096), [0xff; 4096]);

        vmm.frontend.set_vring_num(0, SIZE).unwrap();
        vmm.set_addresses(0).unwrap();
        assert_answers(&mut vmm);
    }
}

#[test]
fn ring_addresses_before_the_memory_table_are_refused() {
    survives(|vmm| assert!(vmm.set_addresses(0).is_err()));
}

#[test]
fn ring_addresses_outside_of_memory_are_refused() {
    for address in [RAM_BYTES, 1 << 40] {
        survives(|vmm| {
            vmm.share_memory().unwrap();
            vmm.queues[0].addresses.available = address;
            assert!(vmm.set_addresses(0).is_err());
        });
    }
}

#[test]
fn ring_addresses_that_are_not_aligned_are_refused() {
    survives(|vmm| {
        vmm.share_memory().unwrap();
        vmm.queues[0].addresses.table += 8;
        assert!(vmm.set_addresses(0).is_err());
    });
}

#[test]
fn an_available_ring_whose_entries_are_outside_of_memory_is_not_followed() {
    survives(|vmm| {
        vmm.share_memory().unwrap();
        // Its index is in memory, and says that there is something.
        vmm.queues[0].addresses.available = RAM_BYTES - 4;
        vmm.queues[0].publish(1);
        vmm.set_up(0).unwrap();
        vmm.frontend.set_vring_enable(0, true).unwrap();
        vmm.queues[0].kick();
    });
}

#[test]
fn a_used_ring_whose_entries_are_outside_of_memory_gets_none() {
    survives(|vmm| {
        vmm.share_memory().unwrap();
        vmm.queues[0].addresses.used = RAM_BYTES - 4;
        vmm.set_up(0).unwrap();
        vmm.frontend.set_vring_enable(0, true).unwrap();
        vmm.offer(&guest::display_info());
        vmm.queues[0].kick();
    });
}

#[test]
fn rings_on_top_of_each_other_do_not_end_the_process() {
    survives(|vmm| {
        vmm.share_memory().unwrap();
        let addresses = &mut vmm.queues[0].addresses;
        (addresses.available, addresses.used) = (addresses.table, addresses.table);
        vmm.set_up(0).unwrap();
        vmm.frontend.set_vring_enable(0, true).unwrap();
        vmm.offer(&guest::display_info());
        vmm.queues[0].kick();
    });
}

#[test]
fn the_memory_table_may_be_replaced_while_the_queue_runs() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    for _ in 0..50 {
        vmm.offer(&guest::display_info());
        vmm.queues[0].kick();
        vmm.share_memory().unwrap();
        assert_eq!(vmm.queues[0].used(), Some((0, 408)));
    }
}

#[test]
fn a_memory_table_without_the_rings_stops_the_queue_until_they_are_back() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    assert_answers(&mut vmm);
    let memory = vmm.memory();
    vmm.frontend.remove_mem_region(&memory).unwrap();
    vmm.offer(&guest::display_info());
    vmm.queues[0].kick();
    assert_eq!(vmm.queues[0].used_within(MOMENT), None);
    process.assert_idle();

    vmm.frontend.add_mem_region(&memory).unwrap();
    vmm.queues[0].kick();
    assert_eq!(vmm.queues[0].used(), Some((0, 408)));
    assert_answers(&mut vmm);
}

#[test]
fn a_memory_region_that_overlaps_or_was_never_added_is_refused() {
    survives(|vmm| {
        vmm.share_memory().unwrap();
        assert!(vmm.frontend.add_mem_region(&vmm.memory()).is_err());
    });
    survives(|vmm| assert!(vmm.frontend.remove_mem_region(&vmm.memory()).is_err()));
}

#[test]
fn a_queue_that_was_stopped_answers_nothing_and_goes_on_where_it_was() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    assert_answers(&mut vmm);
    assert_eq!(vmm.frontend.get_vring_base(0).unwrap(), 1);
    vmm.offer(&guest::display_info());
    vmm.queues[0].kick();
    assert_eq!(vmm.queues[0].used_within(MOMENT), None);
    process.assert_idle();

    vmm.resume(0, 1);
    assert_eq!(vmm.queues[0].used(), Some((0, 408)));
    assert_answers(&mut vmm);
}

#[test]
fn a_queue_that_starts_from_nothing_is_that_of_a_guest_that_has_reset_the_device() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    assert_eq!(vmm.ask(&guest::create_context(1)), Reply::OkNoData.number());
    assert_eq!(vmm.ask(&guest::mappable_blob(1, 7, 4096)), Reply::OkNoData.number());
    let base = vmm.frontend.get_vring_base(0).unwrap();
    vmm.resume(0, base);
    assert_answers(&mut vmm);
    assert_eq!((process.stat("contexts"), process.stat("resources")), (1, 1), "a pause changes nothing");

    vmm.frontend.get_vring_base(0).unwrap();
    vmm.queues[0] = Queue::new(vmm.ram.clone(), 0);
    vmm.queues[0].publish(0);
    vmm.ram.write(vmm.queues[0].addresses.used, &[0; 4]);
    vmm.set_up(0).unwrap();
    assert_answers(&mut vmm);
    assert_eq!((process.stat("contexts"), process.stat("resources")), (0, 0));
    assert_eq!(vmm.ask(&guest::create_context(1)), Reply::OkNoData.number());
}

#[test]
fn a_queue_that_is_disabled_answers_when_it_is_enabled_again() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    vmm.frontend.set_vring_enable(0, false).unwrap();
    vmm.offer(&guest::display_info());
    vmm.queues[0].kick();
    assert_eq!(vmm.queues[0].used_within(MOMENT), None);
    vmm.frontend.set_vring_enable(0, true).unwrap();
    assert_eq!(vmm.queues[0].used(), Some((0, 408)));
}

#[test]
fn no_command_is_lost_when_a_queue_is_stopped_and_goes_on() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    for _ in 0..50 {
        for _ in 0..SIZE {
            vmm.offer(&guest::display_info());
        }
        vmm.queues[0].kick();
        let base = vmm.frontend.get_vring_base(0).unwrap();
        assert_eq!(u32::from(vmm.queues[0].used_index()), base, "every command before the position has its answer");
        vmm.resume(0, base);
        for _ in 0..SIZE {
            assert_eq!(vmm.queues[0].used(), Some((0, 408)));
        }
    }
}

#[test]
fn features_that_were_never_offered_are_refused() {
    for bit in [5, 33, 40, 63] {
        survives(|vmm| assert!(vmm.frontend.set_features(vmm.features | 1 << bit).is_err()));
    }
}

#[test]
fn queue_sizes_that_are_none_are_refused() {
    survives(|vmm| assert!(vmm.frontend.set_vring_num(0, 0).is_err()));
    survives(|vmm| assert!(vmm.frontend.set_vring_num(0, 32_769).is_err()));
}

#[test]
fn an_owner_that_comes_twice_is_refused() {
    survives(|vmm| assert!(vmm.frontend.set_owner().is_err()));
}
