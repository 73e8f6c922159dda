//! Threads that map and unmap buffers of their own on one device, through the table of libgbm, where the host takes a millisecond for
//! each transfer: 8 threads take an eighth of one thread's time for the same mappings, when nobody waits for another's host. minigbm,
//! which holds a lock of the device meanwhile, gains nothing.
//!
//! `--test` runs each side once, for its checks.

#![allow(missing_docs, unsafe_code, clippy::unwrap_used)]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null, null_mut};
use std::thread;
use std::time::{Duration, Instant};
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{
    BlobCreate, ContextInit, Dumb, Execbuffer, Handles, Node, NodeError, Param, ResourceCreate, ResourceInfo, Transfer,
};
use virgbm::host::{DeviceConfig, Protocols};
use virgbm::sys::mmap::Mmap;
use virgbm::{Format, guest};
use virgbm_gbm_core::Flavour;
use virgbm_gbm_core::abi::{self, Bo, DeviceV0, Flags};
use virgbm_gbm_core::native::{self, DeviceState};

const THREADS: usize = 8;

/// Mappings of each thread; that of one thread does those of all.
const MAPPINGS: usize = 50;

/// What the host takes for a transfer.
const TRANSFER: Duration = Duration::from_millis(1);

/// A node whose host is slow.
struct Slow(Loopback);

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        $(fn $name(&self, $($argument: $type),*) -> Result<$result, NodeError> { self.0.$name($($argument),*) })+
    };
}

impl Node for Slow {
    fn file(&self) -> Option<BorrowedFd<'_>> {
        self.0.file()
    }

    fn transfer_to_host(&self, transfer: &Transfer) -> Result<(), NodeError> {
        thread::sleep(TRANSFER);
        self.0.transfer_to_host(transfer)
    }

    fn transfer_from_host(&self, transfer: &Transfer) -> Result<(), NodeError> {
        thread::sleep(TRANSFER);
        self.0.transfer_from_host(transfer)
    }

    forward! {
        get_param(param: Param) -> u64;
        get_caps(capset_id: u32, version: u32, buffer: &mut [u8]) -> ();
        context_init(context: &ContextInit<'_>) -> ();
        execbuffer(submission: &Execbuffer<'_>) -> Option<OwnedFd>;
        resource_create(resource: &ResourceCreate) -> Handles;
        resource_create_blob(blob: &BlobCreate<'_>) -> Handles;
        create_dumb(width: u32, height: u32, bits_per_pixel: u32) -> Dumb;
        resource_info(bo_handle: u32) -> ResourceInfo;
        map(bo_handle: u32) -> u64;
        mmap(offset: u64, length: u64) -> Mmap;
        wait(bo_handle: u32) -> ();
        prime_handle_to_fd(bo_handle: u32) -> OwnedFd;
        prime_fd_to_handle(fd: BorrowedFd<'_>) -> u32;
        gem_close(bo_handle: u32) -> ();
    }
}

/// Calls a function of a machine's table.
macro_rules! call {
    ($machine:expr, $function:ident($($argument:expr),*)) => {{
        let function = $machine.table.$function.unwrap();
        // SAFETY: the function is that of the machine's device, and the arguments are alive.
        unsafe { function($($argument),*) }
    }};
}

struct Machine {
    device: NonNull<abi::Device>,
    table: DeviceV0,
    buffers: Vec<NonNull<Bo>>,
}

// SAFETY: any thread may call the table's functions, at the same time too.
unsafe impl Sync for Machine {}

impl Machine {
    /// A device with a buffer for each thread, on a host that copies.
    fn new(flavour: Flavour) -> Self {
        let config = DeviceConfig { protocols: Protocols::VIRGL, ..DeviceConfig::default() };
        let loopback = Loopback::with_options(LoopbackOptions { config, ..LoopbackOptions::default() }).unwrap();
        let state = DeviceState { guest: guest::Device::open(Slow(loopback)).unwrap(), flavour, stride_bytes: 1 };
        let device = native::create(File::open("/dev/null").unwrap().as_fd(), abi::VERSION, state);
        // SAFETY: the device is alive, and nobody else has it.
        let table = unsafe { device.as_ref() }.v0;
        let mut machine = Self { device, table, buffers: Vec::new() };
        for _ in 0..THREADS {
            // RENDERING, so that the host may have drawn what is read.
            let bo = call!(machine, bo_create(device.as_ptr(), 64, 64, Format::XRGB8888, Flags::RENDERING, null(), 0));
            machine.buffers.push(NonNull::new(bo).unwrap());
        }
        machine
    }

    /// Maps one buffer so often, reading and writing: two transfers each.
    fn map(&self, buffer: usize, times: usize) {
        let bo = self.buffers.get(buffer).unwrap().as_ptr();
        for _ in 0..times {
            let (mut stride, mut map_data) = (0, null_mut());
            let first = call!(self, bo_map(bo, 0, 0, 64, 64, Flags(3), &raw mut stride, &raw mut map_data));
            assert!(!first.is_null() && stride == 256);
            call!(self, bo_unmap(bo, map_data));
        }
    }

    fn by_one_thread(&self, times: usize) -> Duration {
        let start = Instant::now();
        (0..THREADS).for_each(|buffer| self.map(buffer, times));
        start.elapsed()
    }

    fn by_all_threads(&self, times: usize) -> Duration {
        let start = Instant::now();
        thread::scope(|scope| (0..THREADS).for_each(|buffer| drop(scope.spawn(move || self.map(buffer, times)))));
        start.elapsed()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for bo in &self.buffers {
            call!(self, bo_destroy(bo.as_ptr()));
        }
        call!(self, destroy(self.device.as_ptr()));
    }
}

fn main() {
    let mappings = if std::env::args().any(|argument| argument == "--test") { 1 } else { MAPPINGS };
    let total = THREADS * mappings;
    println!("{total} mappings of {THREADS} buffers, {} ms a transfer, two transfers each:", TRANSFER.as_millis());
    for flavour in [Flavour::Mesa, Flavour::Minigbm] {
        let machine = Machine::new(flavour);
        let (one, all) = (machine.by_one_thread(mappings), machine.by_all_threads(mappings));
        let (one_ms, all_ms) = (one.as_secs_f64() * 1e3, all.as_secs_f64() * 1e3);
        let ratio = one_ms / all_ms;
        println!("{flavour:?}: {one_ms:.0} ms by one thread, {all_ms:.0} ms by {THREADS}: 1/{ratio:.1} of that");
    }
}
