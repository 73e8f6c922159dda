//! A guest that behaves, from its first command to its last.

use crate::guest;
use crate::process::Process;
use crate::ring::{FREE, RAM_BYTES};
use crate::vmm::{EVENT_IDX, Vmm};
use vhost::vhost_user::VhostUserFrontend;
use virgbm::wire::virtio_gpu::{Command, Cursor, Reply};

#[test]
fn a_guest_lives_a_whole_life() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);

    assert_eq!(vmm.ask(&guest::display_info()), Reply::OkDisplayInfo.number());
    assert_eq!(vmm.ask(&guest::create_context(1)), Reply::OkNoData.number());
    assert_eq!(vmm.ask(&guest::guest_blob(1, FREE, 8192)), Reply::OkNoData.number());
    assert_eq!(vmm.ask(&guest::mappable_blob(1, 2, 8192)), Reply::OkNoData.number());
    let mapped = vmm.send(&[&guest::map(2, 0x10_0000)], 512);
    assert_eq!((guest::kind(&mapped), mapped.unwrap().len()), (Reply::OkMapInfo.number(), 32));
    vmm.window.write(0x10_1000, b"from the guest").unwrap();
    assert_eq!((process.stat("resources"), process.stat("mappings")), (2, 1));

    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(process.ctl(&["dump", "2", file.path().to_str().unwrap()]).status.success());
    let bytes = std::fs::read(file.path()).unwrap();
    assert_eq!((bytes.len(), &bytes[4096..4110]), (8192, &b"from the guest"[..]));

    for command in [guest::unmap(2), guest::unref(2), guest::unref(1)] {
        assert_eq!(vmm.ask(&command), Reply::OkNoData.number());
    }
    assert_eq!((process.stat("resources"), process.stat("mappings"), process.stat("errors")), (0, 0, 0));
}

#[test]
fn what_the_host_writes_into_guest_memory_is_what_the_guest_reads() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    let end = RAM_BYTES - 4096;
    vmm.ram.write(end, b"the last page");
    assert_eq!(vmm.ask(&guest::guest_blob(1, end, 4096)), Reply::OkNoData.number());
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(process.ctl(&["dump", "1", file.path().to_str().unwrap()]).status.success());
    assert!(std::fs::read(file.path()).unwrap().starts_with(b"the last page"));
}

#[test]
fn a_command_may_lie_in_pieces() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    let command = guest::create_context(1);
    let pieces: Vec<_> = command.chunks(5).collect();
    assert_eq!(guest::kind(&vmm.send(&pieces, 24)), Reply::OkNoData.number());
}

#[test]
fn the_guest_is_called_for_every_answer_and_with_event_indices_for_those_it_wants() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    assert_eq!(vmm.ask(&guest::display_info()), Reply::OkDisplayInfo.number());
    process.wait_for(|_| vmm.queues[0].call.read().is_ok());
    drop(vmm);

    let mut vmm = Vmm::greet_without(&process.gpu(), 0);
    assert!(vmm.features & EVENT_IDX != 0);
    vmm.share_memory().unwrap();
    vmm.set_up(0).unwrap();
    vmm.frontend.set_vring_enable(0, true).unwrap();
    // `used_event`, behind the available ring: a call for the third answer only.
    vmm.ram.write(vmm.queues[0].addresses.available + 4 + 2 * 64, &2u16.to_le_bytes());
    for answers in 1..=3 {
        assert_eq!(vmm.ask(&guest::display_info()), Reply::OkDisplayInfo.number());
        if answers < 3 {
            assert!(vmm.queues[0].call.read().is_err(), "called for answer {answers}");
        }
    }
    process.wait_for(|_| vmm.queues[0].call.read().is_ok());
}

#[test]
fn the_cursor_queue_is_served_as_the_control_queue_is() {
    let process = Process::start();
    let mut vmm = Vmm::connect(&process);
    let cursor = guest::command(Command::MoveCursor, 0, &Cursor::default());
    assert_eq!(guest::kind(&vmm.queues[1].send(&[&cursor], 24)), Reply::OkNoData.number());
}

#[test]
fn the_configuration_space_is_sixteen_bytes_and_zeroes_behind() {
    let process = Process::start();
    let mut vmm = Vmm::greet(&process);
    // No events, one screen, two capsets.
    let expected = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(vmm.config(16), expected);
    let more = vmm.config(256);
    assert_eq!((&more[..16], &more[16..]), (&expected[..], &[0; 240][..]));
}

#[test]
fn the_window_has_number_one_and_the_size_that_was_asked_for() {
    let process = Process::start();
    let mut vmm = Vmm::greet(&process);
    let config = vmm.frontend.get_shmem_config().unwrap();
    assert_eq!((config.nregions, config.memory_sizes[0], config.memory_sizes[1]), (1, 0, 256 << 20));
}
