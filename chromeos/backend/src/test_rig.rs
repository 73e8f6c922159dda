//! What unit tests stand on: minigbm's driver on a host of virgl in the same process, whose copies lag behind as they do there.

use crate::abi::Request;
use crate::device::Device;
use std::ptr::null;
use std::sync::Arc;
use virgbm::Format;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{Counted, Ioctl};
use virgbm::guest::{self, BufferObject};
use virgbm::host::{DeviceConfig, Protocols};
use virgbm_gbm_core::Flavour;
use virgbm_gbm_core::native::DeviceState;

/// A driver, and the node whose calls it makes.
pub struct Machine {
    pub node: Arc<Counted<Loopback>>,
    pub device: Device,
}

impl Machine {
    pub fn new() -> Self {
        let config = DeviceConfig { protocols: Protocols::VIRGL, ..DeviceConfig::default() };
        let loopback = Loopback::with_options(LoopbackOptions { config, ..LoopbackOptions::default() }).unwrap();
        let node = Arc::new(Counted::new(loopback));
        let guest = guest::Device::open(node.clone()).unwrap();
        let device = Device::new(DeviceState { guest, flavour: Flavour::Minigbm, stride_bytes: 1 });
        Self { node, device }
    }

    /// A buffer of 64x64 XRGB8888 pixels.
    pub fn create(&self, use_flags: u64) -> BufferObject {
        let asked = Request { width: 64, height: 64, format: Format::XRGB8888, use_flags, modifiers: null(), count: 0 };
        self.device.state.guest.create(&self.device.request(&asked).unwrap()).unwrap()
    }

    /// How often the host was sent to, and asked.
    pub fn transfers(&self) -> (u64, u64) {
        let calls = self.node.calls();
        (calls.of(Ioctl::TransferToHost), calls.of(Ioctl::TransferFromHost))
    }
}
