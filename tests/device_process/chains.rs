//! Descriptor chains that no driver would make. Every chain with a head inside the queue comes back, and the queue goes on.

use crate::guest::{self, is_refusal, kind};
use crate::process::Process;
use crate::ring::{Descriptor, FREE, INDIRECT, NEXT, RAM_BYTES, SIZE, WRITE};
use crate::vmm::Vmm;
use virgbm::wire::virtio_gpu::{Command, Reply, Submit3d};

/// Where the tests put a command, an answer and an indirect table.
const REQUEST: u64 = FREE;
const ANSWER: u64 = FREE + 0x1000;
const TABLE: u64 = FREE + 0x2000;

/// The bytes of an answer to GET_DISPLAY_INFO.
const DISPLAY_INFO: u32 = 408;

fn readable(address: u64, length: u32) -> Descriptor {
    Descriptor { address, length, flags: 0, next: 0 }
}

fn writable(address: u64, length: u32) -> Descriptor {
    Descriptor { flags: WRITE, ..readable(address, length) }
}

fn request() -> Descriptor {
    readable(REQUEST, 24)
}

fn answer() -> Descriptor {
    writable(ANSWER, 512)
}

/// A table of descriptors outside of the queue's own.
fn table(length: u32) -> Descriptor {
    Descriptor { flags: INDIRECT, ..readable(TABLE, length) }
}

impl Descriptor {
    fn then(self, next: u16) -> Self {
        Self { flags: self.flags | NEXT, next, ..self }
    }
}

struct Stage {
    process: Process,
    vmm: Vmm,
}

impl Stage {
    /// GET_DISPLAY_INFO lies at `REQUEST`, and nothing at `ANSWER`.
    fn new() -> Self {
        let process = Process::start();
        let vmm = Vmm::connect(&process);
        vmm.ram.write(REQUEST, &guest::display_info());
        Self { process, vmm }
    }

    /// Offers a chain, checks that the same queue answers a good command after it, and gives how many bytes were written.
    fn written(&mut self, descriptors: &[Descriptor]) -> u32 {
        let (head, written) = self.vmm.queues[0].put(descriptors, 0).expect("the chain comes back");
        assert_eq!(head, 0);
        self.assert_goes_on();
        written
    }

    fn assert_goes_on(&mut self) {
        assert_eq!(self.vmm.ask(&guest::display_info()), Reply::OkDisplayInfo.number());
        self.process.assert_idle();
    }

    /// The kind of the answer at `ANSWER`.
    fn answered(&self) -> u32 {
        kind(&Some(self.vmm.ram.read(ANSWER, 24)))
    }
}

#[test]
fn a_descriptor_that_follows_itself_comes_back() {
    assert_eq!(Stage::new().written(&[request().then(0)]), 0);
}

#[test]
fn two_descriptors_that_follow_each_other_come_back_with_an_answer() {
    // The device goes round as often as the queue has descriptors; the command is there in the first round.
    assert_eq!(Stage::new().written(&[request().then(1), answer().then(0)]), DISPLAY_INFO);
}

#[test]
fn a_next_descriptor_beyond_the_table_ends_the_chain() {
    assert_eq!(Stage::new().written(&[request().then(1), answer().then(SIZE)]), DISPLAY_INFO);
}

#[test]
fn descriptors_of_no_length_change_nothing() {
    let empty = [readable(REQUEST, 0).then(1), request().then(2), readable(0, 0).then(3), writable(ANSWER, 0).then(4), answer()];
    assert_eq!(Stage::new().written(&empty), DISPLAY_INFO);
}

#[test]
fn a_chain_of_nothing_but_empty_descriptors_comes_back() {
    assert_eq!(Stage::new().written(&[readable(REQUEST, 0).then(1), writable(ANSWER, 0)]), 0);
}

#[test]
fn a_command_outside_of_memory_is_refused() {
    for address in [RAM_BYTES, RAM_BYTES - 4, 1 << 40, u64::MAX - 23, u64::MAX] {
        let mut stage = Stage::new();
        assert_eq!(stage.written(&[readable(address, 24).then(1), answer()]), 24, "{address:#x}");
        assert_eq!(stage.answered(), Reply::ErrUnspec.number());
    }
}

#[test]
fn a_command_half_of_which_is_outside_of_memory_is_not_executed() {
    let mut stage = Stage::new();
    stage.vmm.ram.write(REQUEST, &guest::create_context(1));
    let chain = [readable(REQUEST, 96).then(1), readable(RAM_BYTES, 16).then(2), answer()];
    assert_eq!(stage.written(&chain), 24);
    assert_eq!((stage.answered(), stage.process.stat("contexts")), (Reply::ErrUnspec.number(), 0));
}

#[test]
fn room_for_the_answer_outside_of_memory_gets_none() {
    for address in [RAM_BYTES, RAM_BYTES - 4, 1 << 40, u64::MAX - 511, u64::MAX] {
        assert_eq!(Stage::new().written(&[request().then(1), writable(address, 512)]), 0, "{address:#x}");
    }
}

#[test]
fn descriptors_that_hold_more_than_memory_does_are_refused() {
    let mut stage = Stage::new();
    assert_eq!(stage.written(&[readable(REQUEST, 1 << 30).then(1), answer()]), 24);
    assert_eq!(stage.written(&[request().then(1), writable(ANSWER, 1 << 30)]), 0);
    // A chain ends before it has 2^32 bytes, here before its room for an answer.
    assert_eq!(stage.written(&[readable(REQUEST, u32::MAX).then(1), answer()]), 0);
    // Each is in memory, and 64 of them in a ring are 1 GiB: the device reads what a command may have at most.
    assert_eq!(stage.written(&[readable(0, RAM_BYTES as u32).then(1), answer().then(0)]), 24);
}

#[test]
fn an_indirect_table_is_followed() {
    let mut stage = Stage::new();
    let inner = [request().then(1).bytes(), answer().bytes()].concat();
    stage.vmm.ram.write(TABLE, &inner);
    assert_eq!(stage.written(&[table(32)]), DISPLAY_INFO);
}

#[test]
fn an_indirect_table_of_a_wrong_size_or_place_comes_back() {
    let mut stage = Stage::new();
    stage.vmm.ram.write(TABLE, &[request().then(1).bytes(), answer().bytes()].concat());
    let outside = |address| Descriptor { address, ..table(32) };
    let wrong = [table(0), table(1), table(20), table(31), table(u32::MAX), table(16 * 65_536)];
    for descriptor in wrong.into_iter().chain([RAM_BYTES, RAM_BYTES - 8, u64::MAX - 31, u64::MAX].map(outside)) {
        assert_eq!(stage.written(&[descriptor]), 0, "{descriptor:?}");
    }
}

#[test]
fn an_indirect_table_that_names_a_table_comes_back() {
    let mut stage = Stage::new();
    stage.vmm.ram.write(TABLE, &table(32).bytes());
    assert_eq!(stage.written(&[table(32)]), 0);
}

#[test]
fn an_indirect_table_that_goes_in_a_circle_comes_back() {
    let mut stage = Stage::new();
    stage.vmm.ram.write(TABLE, &[request().then(1).bytes(), answer().then(0).bytes()].concat());
    assert_eq!(stage.written(&[table(32)]), DISPLAY_INFO);
}

#[test]
fn a_head_beyond_the_queue_is_dropped() {
    // No entry of the used ring could name it, so nothing comes back: the specification leaves it to the device.
    let mut stage = Stage::new();
    for head in [SIZE, SIZE + 1, u16::MAX] {
        stage.vmm.queues[0].offer(head);
        stage.vmm.queues[0].kick();
        stage.assert_goes_on();
    }
}

#[test]
fn a_command_behind_the_room_for_its_answer_is_executed() {
    // virtio-queue gathers what can be read and what can be written wherever it lies in the chain.
    assert_eq!(Stage::new().written(&[answer().then(1), request()]), DISPLAY_INFO);
}

#[test]
fn a_command_without_room_for_an_answer_is_executed() {
    let mut stage = Stage::new();
    stage.vmm.ram.write(REQUEST, &guest::create_context(1));
    assert_eq!(stage.written(&[readable(REQUEST, 96)]), 0);
    assert_eq!(stage.process.stat("contexts"), 1);
}

#[test]
fn an_answer_is_cut_to_its_room() {
    let mut stage = Stage::new();
    for room in [1, 23, 24, 407] {
        assert_eq!(stage.written(&[request().then(1), writable(ANSWER, room)]), room);
        stage.vmm.ram.write(ANSWER, &[0xee; 512]);
        let (_, written) = stage.vmm.queues[0].put(&[request().then(1), writable(ANSWER, room)], 0).unwrap();
        assert_eq!((written, stage.vmm.ram.read(ANSWER + u64::from(room), 1)), (room, vec![0xee]));
    }
}

#[test]
fn a_command_cut_short_is_refused_at_every_length() {
    let mut stage = Stage::new();
    for command in [guest::create_context(1), guest::guest_blob(1, FREE, 4096), guest::mappable_blob(1, 2, 4096)] {
        assert_eq!(stage.vmm.ask(&command), Reply::OkNoData.number());
    }
    let commands = [
        guest::display_info(),
        guest::create_context(2),
        guest::guest_blob(3, FREE, 4096),
        guest::mappable_blob(1, 4, 4096),
        guest::map(2, 0),
        guest::unmap(2),
        guest::unref(2),
        guest::command(Command::Submit3d, 1, &Submit3d::default()),
    ];
    for command in commands {
        for length in 0..command.len() {
            let answer = stage.vmm.send(&[&command[..length]], 512);
            assert!(is_refusal(&answer), "{length} bytes of {command:x?}: {:#x}", kind(&answer));
        }
        assert!(!is_refusal(&stage.vmm.send(&[&command], 512)), "{command:x?}");
    }
    stage.assert_goes_on();
}

#[test]
fn an_available_index_that_jumps_is_not_followed_and_counts_again_when_it_is_right() {
    // virtio-queue refuses to go on over more entries than the ring has, so the device waits for a kick with a sound index.
    for ahead in [SIZE + 1, 0x8000, u16::MAX] {
        let mut stage = Stage::new();
        stage.assert_goes_on();
        let queue = &stage.vmm.queues[0];
        queue.publish(queue.offered.wrapping_add(ahead));
        queue.kick();
        stage.process.assert_idle();
        let queue = &stage.vmm.queues[0];
        queue.publish(queue.offered);
        stage.assert_goes_on();
    }
}

#[test]
fn a_vmm_may_go_while_the_available_index_is_wrong() {
    let Stage { process, vmm } = Stage::new();
    vmm.queues[0].publish(0x8000);
    vmm.queues[0].kick();
    drop(vmm);
    process.assert_serves();
}

#[test]
fn the_other_queue_is_served_while_the_index_of_one_is_wrong() {
    let mut stage = Stage::new();
    stage.vmm.queues[1].publish(0x8000);
    stage.vmm.queues[1].kick();
    stage.assert_goes_on();
}
