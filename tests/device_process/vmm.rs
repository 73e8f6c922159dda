//! A small VMM: it shares its guest's memory, sets the queues up and puts into the guest's window what the device asks for.

use crate::process::Process;
use crate::ring::{Descriptor, FREE, NEXT, Queue, RAM_BYTES, Ram, SIZE, WRITE};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserMMap, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, FrontendReqHandler, VhostUserFrontend, VhostUserFrontendReqHandler};
use vhost::{Result, VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virgbm::sys::mmap::Mmap;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

/// `VIRTIO_F_EVENT_IDX`.
pub const EVENT_IDX: u64 = 1 << 29;

/// Where the window is in the guest's memory.
const WINDOW: u64 = 1 << 32;

/// What a guest address is in the VMM, which only the messages need.
const VMM_BASE: u64 = 0x7000_0000_0000;

fn region(address: u64, bytes: u64, file: &impl AsRawFd, offset: u64) -> VhostUserMemoryRegionInfo {
    VhostUserMemoryRegionInfo {
        guest_phys_addr: address,
        memory_size: bytes,
        userspace_addr: VMM_BASE + address,
        mmap_offset: offset,
        mmap_handle: file.as_raw_fd(),
    }
}

/// Something in the window.
struct Map {
    offset: u64,
    bytes: u64,
    file: File,
    file_offset: u64,
    memory: Mmap,
    committed: bool,
}

impl Map {
    fn region(&self) -> VhostUserMemoryRegionInfo {
        region(WINDOW + self.offset, self.bytes, &self.file, self.file_offset)
    }
}

/// The guest's window, which the device fills by its requests.
#[derive(Default)]
pub struct Window {
    maps: Mutex<Vec<Map>>,
    /// What has left the window and still is in the memory table.
    gone: Mutex<Vec<Map>>,
    /// Says no to every request.
    pub refuses: AtomicBool,
    /// Answers no request at all.
    pub is_deaf: AtomicBool,
    /// Leaves the memory table as it is.
    pub commits_nothing: AtomicBool,
}

impl Window {
    /// Calls `access` with the memory at an offset, and that offset in it; `None` when nothing is there.
    fn at<T>(&self, offset: u64, access: impl FnOnce(&Mmap, usize) -> Option<T>) -> Option<T> {
        let maps = self.maps.lock().unwrap();
        let map = maps.iter().find(|map| (map.offset..map.offset + map.bytes).contains(&offset))?;
        access(&map.memory, (offset - map.offset) as usize)
    }

    pub fn write(&self, offset: u64, data: &[u8]) -> Option<()> {
        self.at(offset, |memory, at| memory.write(at, data))
    }

    pub fn read(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.at(offset, |memory, at| memory.read(at, &mut bytes))?;
        Some(bytes)
    }

    fn check(&self) -> io::Result<()> {
        if self.refuses.load(Ordering::Acquire) { Err(rustix::io::Errno::NOSPC.into()) } else { Ok(()) }
    }

    /// Shows the window's changes in the memory table, as a VMM does after it has answered.
    fn commit(&self, frontend: &mut Frontend) -> Result<()> {
        let gone = std::mem::take(&mut *self.gone.lock().unwrap());
        if self.commits_nothing.load(Ordering::Acquire) {
            return Ok(());
        }
        for map in gone.iter().filter(|map| map.committed) {
            frontend.remove_mem_region(&map.region())?;
        }
        for map in self.maps.lock().unwrap().iter_mut().filter(|map| !map.committed) {
            frontend.add_mem_region(&map.region())?;
            map.committed = true;
        }
        Ok(())
    }
}

impl VhostUserFrontendReqHandler for Window {
    fn shmem_map(&self, request: &VhostUserMMap, fd: &dyn AsRawFd) -> io::Result<u64> {
        self.check()?;
        let (offset, bytes, file_offset) = (request.shm_offset, request.len, request.fd_offset);
        // A second descriptor of the same memory: the one that came is closed after the answer.
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let file = File::options().read(true).write(true).open(path)?;
        let memory = Mmap::shared(file.as_fd(), file_offset, bytes, None)?;
        self.maps.lock().unwrap().push(Map { offset, bytes, file, file_offset, memory, committed: false });
        Ok(0)
    }

    fn shmem_unmap(&self, request: &VhostUserMMap) -> io::Result<u64> {
        self.check()?;
        let range = request.shm_offset..request.shm_offset + request.len;
        let gone = self.maps.lock().unwrap().extract_if(.., |map| range.contains(&map.offset)).collect::<Vec<_>>();
        self.gone.lock().unwrap().extend(gone);
        Ok(0)
    }
}

/// The thread that answers the device's requests.
struct Channel {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Channel {
    fn open(frontend: &mut Frontend, window: Arc<Window>) -> Result<Self> {
        let mut handler = FrontendReqHandler::new(window.clone()).unwrap();
        handler.set_reply_ack_flag(true);
        frontend.set_backend_request_fd(&handler.get_tx_raw_fd())?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut frontend) = (stop.clone(), frontend.clone());
        let thread = std::thread::spawn(move || {
            let epoll = Epoll::new().unwrap();
            epoll.ctl(ControlOperation::Add, handler.as_raw_fd(), EpollEvent::new(EventSet::IN, 0)).unwrap();
            while !stopped.load(Ordering::Acquire) {
                let ready = epoll.wait(20, &mut [EpollEvent::default()]).unwrap_or(0) > 0;
                if ready && !window.is_deaf.load(Ordering::Acquire) {
                    // A request that is refused is an error here too; a frontend that has ended shows elsewhere.
                    let _answered = handler.handle_request();
                    let _committed = window.commit(&mut frontend);
                }
            }
        });
        Ok(Self { stop, thread })
    }

    fn close(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
    }
}

pub struct Vmm {
    pub frontend: Frontend,
    pub ram: Arc<Ram>,
    /// Control and cursor.
    pub queues: [Queue; 2],
    pub window: Arc<Window>,
    channel: Option<Channel>,
    pub features: u64,
}

impl Vmm {
    /// A VMM whose guest's driver can begin.
    pub fn connect(process: &Process) -> Self {
        let mut vmm = Self::greet(process);
        vmm.open_channel();
        vmm.share_memory().unwrap();
        for queue in 0..2 {
            vmm.set_up(queue).unwrap();
            vmm.frontend.set_vring_enable(queue, true).unwrap();
        }
        vmm
    }

    /// A VMM that has agreed on everything and shared nothing.
    pub fn greet(process: &Process) -> Self {
        Self::greet_without(&process.gpu(), EVENT_IDX)
    }

    /// A VMM whose driver takes all features but these.
    pub fn greet_without(socket: &Path, features: u64) -> Self {
        use VhostUserProtocolFeatures as F;
        let mut frontend = Frontend::connect(socket, 2).unwrap();
        let features = frontend.get_features().unwrap() & !features;
        let wanted = F::CONFIG | F::MQ | F::BACKEND_REQ | F::BACKEND_SEND_FD | F::REPLY_ACK | F::CONFIGURE_MEM_SLOTS | F::SHMEM;
        let offered = frontend.get_protocol_features().unwrap();
        assert!(offered.contains(wanted));
        frontend.set_protocol_features(wanted).unwrap();
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        frontend.set_owner().unwrap();
        frontend.set_features(features).unwrap();
        let ram = Arc::new(Ram::new());
        let queues = [Queue::new(ram.clone(), 0), Queue::new(ram.clone(), 1)];
        Self { frontend, ram, queues, window: Arc::default(), channel: None, features }
    }

    /// Gives the device the channel for its requests.
    pub fn open_channel(&mut self) {
        self.channel = Some(Channel::open(&mut self.frontend, self.window.clone()).unwrap());
    }

    /// Takes both ends of the channel away.
    pub fn close_channel(&mut self) {
        if let Some(channel) = self.channel.take() {
            channel.close();
        }
    }

    /// The guest's memory as a region of the table.
    pub fn memory(&self) -> VhostUserMemoryRegionInfo {
        region(0, RAM_BYTES, &self.ram.fd, 0)
    }

    pub fn share_memory(&self) -> Result<()> {
        self.frontend.set_mem_table(&[self.memory()]).map(drop)
    }

    pub fn set_addresses(&self, queue: usize) -> Result<()> {
        let addresses = self.queues[queue].addresses;
        let config = VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            desc_table_addr: VMM_BASE + addresses.table,
            avail_ring_addr: VMM_BASE + addresses.available,
            used_ring_addr: VMM_BASE + addresses.used,
            ..VringConfigData::default()
        };
        self.frontend.set_vring_addr(queue, &config)
    }

    pub fn set_events(&self, queue: usize) -> Result<()> {
        self.frontend.set_vring_call(queue, &self.queues[queue].call)?;
        self.frontend.set_vring_kick(queue, &self.queues[queue].kick)
    }

    /// Everything that a queue needs, but that it is not enabled yet. It goes on where it was.
    pub fn set_up(&self, queue: usize) -> Result<()> {
        self.frontend.set_vring_num(queue, SIZE)?;
        self.frontend.set_vring_base(queue, self.queues[queue].offered)?;
        self.set_addresses(queue)?;
        self.set_events(queue)
    }

    /// Lets a queue go on that was stopped at this position.
    pub fn resume(&self, queue: usize, base: u32) {
        self.frontend.set_vring_base(queue, base as u16).unwrap();
        self.set_addresses(queue).unwrap();
        self.set_events(queue).unwrap();
    }

    /// The device's configuration space.
    pub fn config(&mut self, bytes: u32) -> Vec<u8> {
        let room = vec![0xff; bytes as usize];
        self.frontend.get_config(0, bytes, VhostUserConfigFlags::empty(), &room).unwrap().1
    }

    /// Sends a command on the control queue, in pieces, with room for its answer.
    pub fn send(&mut self, pieces: &[&[u8]], room: u32) -> Option<Vec<u8>> {
        self.queues[0].send(pieces, room)
    }

    /// Puts a command into the control queue and neither kicks nor waits.
    pub fn offer(&mut self, command: &[u8]) {
        self.ram.write(FREE, command);
        let queue = &mut self.queues[0];
        queue.describe(0, Descriptor { address: FREE, length: command.len() as u32, flags: NEXT, next: 1 });
        queue.describe(1, Descriptor { address: queue.answer(), length: 512, flags: WRITE, next: 0 });
        queue.offer(0);
    }

    /// Sends a command in one piece and gives what kind of answer comes.
    pub fn ask(&mut self, command: &[u8]) -> u32 {
        crate::guest::kind(&self.send(&[command], 512))
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        self.close_channel();
    }
}
