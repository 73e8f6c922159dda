//! Descriptor chains: the command's bytes out of the readable part, the answer's into the writable part.

use super::memory::Table;
use crate::host::Device;
use std::io::{Read, Write};
use vhost_user_backend::{VringRwLock, VringT};
use virtio_queue::{DescriptorChain, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryLoadGuard, GuestMemoryMmap};

/// The longest command: a blob of 16 GiB in single pages would list 64 MiB of entries.
const LONGEST_COMMAND: u64 = 64 << 20;

type Chain = DescriptorChain<GuestMemoryLoadGuard<GuestMemoryMmap<()>>>;

/// The buffers that one queue thread uses again and again.
#[derive(Default)]
pub struct Buffers {
    request: Vec<u8>,
    reply: Vec<u8>,
}

/// Whether the VMM has started the ring and said where it is; what lies elsewhere is not touched.
pub fn is_set_up(vring: &VringRwLock) -> bool {
    let state = vring.get_ref();
    state.get_queue().ready() && state.get_queue().avail_ring() != 0
}

/// Executes all commands that are there. Whether any was.
pub fn drain(vring: &VringRwLock, table: &Table, device: &Device, buffers: &mut Buffers) -> bool {
    let mut any = false;
    // No guard of the ring is held while the device works: it may wait for the VMM, and the VMM for the ring.
    while let Some(chain) = next_chain(vring, table) {
        let head = chain.head_index();
        let written = answer(&chain, table, device, buffers);
        any = true;
        if !vring.get_ref().get_queue().ready() {
            return any;
        }
        if let Err(error) = vring.add_used(head, written) {
            log::warn!("the used ring: {error}");
        }
        if vring.needs_notification().unwrap_or(true) {
            let _signalled = vring.signal_used_queue();
        }
    }
    any
}

fn next_chain(vring: &VringRwLock, table: &Table) -> Option<Chain> {
    let mut state = vring.get_mut();
    let queue = state.get_queue_mut();
    if !queue.ready() {
        return None;
    }
    queue.pop_descriptor_chain(table.memory())
}

/// Executes one command, and gives how many bytes were written.
fn answer(chain: &Chain, table: &Table, device: &Device, buffers: &mut Buffers) -> u32 {
    let memory = table.memory();
    buffers.request.clear();
    match chain.clone().reader(&memory) {
        Ok(reader) => {
            if let Err(error) = reader.take(LONGEST_COMMAND).read_to_end(&mut buffers.request) {
                log::debug!("a command that can't be read: {error}");
            }
        }
        // The device refuses a command of no bytes, so that the guest does not wait for nothing.
        Err(error) => log::debug!("a command outside of guest memory: {error}"),
    }
    device.execute(&buffers.request, &mut buffers.reply);
    let Ok(mut writer) = chain.clone().writer(&memory) else { return 0 };
    let room = writer.available_bytes().min(buffers.reply.len());
    match writer.write_all(buffers.reply.get(..room).unwrap_or(&[])) {
        Ok(()) => room as u32,
        Err(_) => 0,
    }
}
