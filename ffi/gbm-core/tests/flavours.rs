//! What a call costs does not depend on the header that its caller was built with: the same calls of the node, on hosts that map and
//! on hosts that copy.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used)]

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;
use virgbm::guest::node::loopback::{Loopback, LoopbackOptions};
use virgbm::guest::node::{Calls, Counted, Ioctl};
use virgbm::host::{DeviceConfig, Protocols};
use virgbm::{Format, Modifier, guest};
use virgbm_gbm_core::abi::{self, Bo, DeviceV0, Flags, ImportFdModifier};
use virgbm_gbm_core::door::{FromC, Given};
use virgbm_gbm_core::native::{self, DeviceState};
use virgbm_gbm_core::{Failure, Flavour, ImportKind};

const SHOWN: Flags = Flags(1 | 1 << 2);
const READ: Flags = Flags(1);
const WRITE: Flags = Flags(2);

/// Calls a function of a machine's table.
macro_rules! call {
    ($machine:expr, $function:ident($($argument:expr),*)) => {{
        let function = $machine.table.$function.unwrap();
        // SAFETY: the function is that of the machine's device, and the arguments are alive.
        unsafe { function($($argument),*) }
    }};
}

/// A device of a flavour on a host of its own.
struct Machine {
    node: Arc<Counted<Loopback>>,
    device: NonNull<abi::Device>,
    table: DeviceV0,
    import_fd_modifier: u32,
}

impl Machine {
    fn new(flavour: Flavour, protocols: Protocols) -> Self {
        let config = DeviceConfig { protocols, ..DeviceConfig::default() };
        let loopback = Loopback::with_options(LoopbackOptions { config, ..LoopbackOptions::default() }).unwrap();
        let node = Arc::new(Counted::new(loopback));
        let state = DeviceState { guest: guest::Device::open(node.clone()).unwrap(), flavour, stride_bytes: 1 };
        let null = File::open("/dev/null").unwrap();
        let device = native::create(null.as_fd(), abi::VERSION, state);
        // SAFETY: the device is alive, and nobody else has it.
        let table = unsafe { device.as_ref() }.v0;
        let is_modifier = |number: &u32| flavour.import_kind(*number) == Some(ImportKind::FdModifier);
        Self { node, device, table, import_fd_modifier: (0x5500..0x5510).find(is_modifier).unwrap() }
    }

    fn create(&self, format: Format) -> *mut Bo {
        let bo = call!(self, bo_create(self.device.as_ptr(), 64, 64, format, SHOWN, null(), 0));
        assert!(!bo.is_null());
        bo
    }

    fn begin(&self, bo: *mut Bo, flags: Flags) -> *mut c_void {
        let (mut stride, mut map_data) = (0, null_mut());
        let first = call!(self, bo_map(bo, 8, 8, 16, 16, flags, &raw mut stride, &raw mut map_data));
        assert!(!first.is_null() && stride >= 256);
        map_data
    }

    fn map(&self, bo: *mut Bo, flags: Flags) {
        let map_data = self.begin(bo, flags);
        call!(self, bo_unmap(bo, map_data));
    }

    fn import(&self, bo: *mut Bo) {
        let fd = call!(self, bo_get_fd(bo));
        let stride = call!(self, bo_get_stride(bo, 0)) as i32;
        let mut data = ImportFdModifier {
            width: 64,
            height: 64,
            format: Format::XRGB8888,
            num_fds: 1,
            fds: [fd, -1, -1, -1],
            strides: [stride, 0, 0, 0],
            offsets: [0; 4],
            modifier: Modifier::LINEAR,
        };
        let import = call!(self, bo_import(self.device.as_ptr(), self.import_fd_modifier, (&raw mut data).cast(), SHOWN));
        assert!(!import.is_null());
        call!(self, bo_destroy(import));
        // SAFETY: the descriptor is new, and this function's.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }

    /// The calls of each step, by its name.
    fn steps(&self) -> Vec<(&'static str, Calls)> {
        let mut calls = self.node.calls();
        let mut counted = Vec::new();
        let mut count = |name| {
            let now = self.node.calls();
            counted.push((name, now - calls));
            calls = now;
        };
        assert_eq!(call!(self, is_format_supported(self.device.as_ptr(), Format::XRGB8888, SHOWN)), 1);
        count("is_format_supported");
        let bo = self.create(Format::XRGB8888);
        count("create");
        self.map(bo, Flags(READ.0 | WRITE.0));
        count("map the first time");
        self.map(bo, Flags(READ.0 | WRITE.0));
        count("map");
        self.map(bo, WRITE);
        count("map for writing");
        self.map(bo, READ);
        count("map for reading");
        self.import(bo);
        count("export, import");
        call!(self, bo_destroy(bo));
        count("destroy");
        call!(self, destroy(self.device.as_ptr()));
        counted
    }
}

fn calls_of(steps: &[(&str, Calls)], name: &str) -> Calls {
    steps.iter().find(|(step, _)| *step == name).unwrap().1
}

#[test]
fn both_flavours_make_the_same_calls() {
    for protocols in [Protocols::USUAL, Protocols::VIRGL] {
        let [mesa, minigbm] = [Flavour::Mesa, Flavour::Minigbm].map(|flavour| Machine::new(flavour, protocols).steps());
        for ((name, mesa), (_, minigbm)) in mesa.iter().zip(&minigbm) {
            assert_eq!(mesa, minigbm, "{name}: {mesa} and {minigbm}");
        }
        assert_eq!(calls_of(&minigbm, "is_format_supported").total(), 0);
        assert_eq!(calls_of(&minigbm, "create").total(), 1, "{}", calls_of(&minigbm, "create"));
        assert_eq!(calls_of(&minigbm, "destroy").total(), 1);
    }
}

#[test]
fn what_is_only_written_is_not_read_back() {
    let steps = Machine::new(Flavour::Minigbm, Protocols::VIRGL).steps();
    assert_eq!(calls_of(&steps, "map for writing").of(Ioctl::TransferFromHost), 0);
    assert_eq!(calls_of(&steps, "map for writing").of(Ioctl::TransferToHost), 1);
    assert_eq!(calls_of(&steps, "map for reading").of(Ioctl::TransferToHost), 0);
}

#[test]
fn what_a_read_would_lose_is_sent_once() {
    let machine = Machine::new(Flavour::Minigbm, Protocols::VIRGL);
    let bo = machine.create(Format::XRGB8888);
    let written = machine.begin(bo, WRITE);
    let before = machine.node.calls();
    let read = machine.begin(bo, READ);
    let calls = machine.node.calls() - before;
    assert_eq!((calls.of(Ioctl::TransferToHost), calls.of(Ioctl::TransferFromHost)), (1, 1), "{calls}");
    call!(machine, bo_unmap(bo, read));
    call!(machine, bo_unmap(bo, written));
    call!(machine, bo_destroy(bo));
    call!(machine, destroy(machine.device.as_ptr()));
}

#[test]
fn minigbms_cursor_can_be_drawn() {
    for protocols in [Protocols::USUAL, Protocols::VIRGL] {
        for (flavour, is_supported) in [(Flavour::Mesa, 0), (Flavour::Minigbm, 1)] {
            let machine = Machine::new(flavour, protocols);
            let drawn = Flags(Flags::CURSOR.0 | Flags::RENDERING.0);
            assert_eq!(call!(machine, is_format_supported(machine.device.as_ptr(), Format::ARGB8888, drawn)), is_supported);
            call!(machine, destroy(machine.device.as_ptr()));
        }
    }
}

#[test]
fn map_data_of_another_buffer_ends_nothing() {
    let machine = Machine::new(Flavour::Mesa, Protocols::VIRGL);
    let other = Machine::new(Flavour::Mesa, Protocols::VIRGL);
    let (bo, others) = (machine.create(Format::XRGB8888), other.create(Format::XRGB8888));
    let (map_data, stranger) = (machine.begin(bo, WRITE), other.begin(others, WRITE));
    let before = machine.node.calls();
    call!(machine, bo_unmap(bo, stranger));
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
    assert_eq!((machine.node.calls() - before).total(), 0);
    call!(machine, bo_unmap(bo, map_data));
    assert_eq!((machine.node.calls() - before).of(Ioctl::TransferToHost), 1);
    for (machine, bo) in [(machine, bo), (other, others)] {
        call!(machine, bo_destroy(bo));
        call!(machine, destroy(machine.device.as_ptr()));
    }
}

#[test]
fn a_buffer_of_another_backend_is_a_stranger() {
    let machine = Machine::new(Flavour::Minigbm, Protocols::USUAL);
    let bo = machine.create(Format::XRGB8888);
    // SAFETY: it is alive.
    let given = unsafe { Given::<Bo>::from_c(bo, "bo") }.unwrap();
    assert!(native::own(&given).is_ok());
    let v0 = DeviceV0 { bo_map: Some(maps_nothing), ..machine.table };
    let mut device = abi::Device { dummy: None, v0 };
    let mut stranger = Bo { gbm: &raw mut device, ..*given };
    // SAFETY: the same.
    let given = unsafe { Given::<Bo>::from_c(&raw mut stranger, "bo") }.unwrap();
    assert!(matches!(native::own(&given), Err(Failure::Stranger("bo"))));
    call!(machine, bo_destroy(bo));
    call!(machine, destroy(machine.device.as_ptr()));
}

/// Another backend's `bo_map`.
unsafe extern "C" fn maps_nothing(
    _: *mut Bo,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: Flags,
    _: *mut u32,
    _: *mut *mut c_void,
) -> *mut c_void {
    null_mut()
}
