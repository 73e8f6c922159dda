//! `gbm_detect_device_info`: what a DRM device is. Its connectors are read from sysfs: that asks neither the hardware nor for the
//! right to be master, and render nodes have them there too.

use drm::Device as _;
use rustix::fs::{Mode, OFlags, fstat, major, minor, open};
use std::ffi::{c_char, c_int, c_uint};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr::NonNull;
use virgbm::guest::node::drm::DrmNode;
use virgbm::guest::node::{Node, Param};
use virgbm_gbm_api::device::character_device;
use virgbm_gbm_core::{Failure, door, exported};

/// `struct gbm_device_info`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct DeviceInfo {
    dev_type_flags: u32,
    dri_node_num: c_int,
    connectors: c_uint,
    connected: c_uint,
}

const _: () = assert!(size_of::<DeviceInfo>() == 16);

/// `GBM_DEV_TYPE_FLAG_*`.
const DISCRETE: u32 = 1 << 0;
const DISPLAY: u32 = 1 << 1;
const RENDERS: u32 = 1 << 2;
const ARM_SOC: u32 = 1 << 3;
const USB: u32 = 1 << 4;
const BLOCKED: u32 = 1 << 5;
const INTERNAL_LCD: u32 = 1 << 6;

/// `GBM_DETECT_FLAG_CONNECTED`.
const CONNECTED: c_uint = 1 << 0;

/// What is known of other drivers by their names; which GPUs of AMD have memory of their own they alone could tell.
const DRIVERS: &[(&str, u32)] = &[
    ("i915", DISPLAY | RENDERS),
    ("xe", DISPLAY | RENDERS),
    ("amdgpu", DISPLAY | RENDERS),
    ("radeon", DISPLAY | RENDERS),
    ("nvidia", DISPLAY | RENDERS | DISCRETE),
    ("nouveau", DISPLAY | RENDERS | DISCRETE),
    ("msm", DISPLAY | RENDERS | ARM_SOC),
    ("vc4", DISPLAY | RENDERS | ARM_SOC),
    ("armada", DISPLAY | ARM_SOC),
    ("exynos", DISPLAY | ARM_SOC),
    ("mediatek", DISPLAY | ARM_SOC),
    ("rockchip", DISPLAY | ARM_SOC),
    ("omapdrm", DISPLAY | ARM_SOC),
    ("etnaviv", RENDERS | ARM_SOC),
    ("lima", RENDERS | ARM_SOC),
    ("panfrost", RENDERS | ARM_SOC),
    ("panthor", RENDERS | ARM_SOC),
    ("pvr", RENDERS | ARM_SOC),
    ("v3d", RENDERS | ARM_SOC),
    ("vgem", BLOCKED),
    ("evdi", DISPLAY | USB | BLOCKED),
    ("udl", DISPLAY | USB | BLOCKED),
];

/// Panels that are built in, as the kernel names their connectors.
const PANELS: [&str; 4] = ["eDP", "LVDS", "DSI", "DPI"];

/// Connectors that are none on the outside.
const WRITEBACK: &str = "Writeback";

/// Render nodes are numbered from here on, primary ones from 0.
const FIRST_RENDER_NODE: u32 = 128;

/// A DRM node of the caller's, of any driver.
struct AnyNode<'a>(BorrowedFd<'a>);

impl AsFd for AnyNode<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0
    }
}

impl drm::Device for AnyNode<'_> {}

exported! {
    /// Tells what the device of a descriptor is: 0, or -errno.
    fn gbm_detect_device_info(detect_flags: c_uint, fd: c_int, info: NonNull<DeviceInfo>) -> c_int, or -errno, {
        let found = detect(detect_flags, character_device(fd)?)?;
        // SAFETY: it is not null, and minigbm_helpers.h says that the structure is there.
        unsafe { info.write(found) };
        Ok(0)
    }
}

exported! {
    /// The same for a node's path, whichever of its device's nodes that is.
    fn gbm_detect_device_info_path(
        detect_flags: c_uint, dev_node: NonNull<c_char>, info: NonNull<DeviceInfo>
    ) -> c_int, or -errno, {
        // SAFETY: it is not null, and minigbm_helpers.h says that it is a string.
        let path = unsafe { door::string(dev_node.as_ptr()) };
        let number = path_number(&path).ok_or(Failure::NoNode(path))?;
        let path = format!("/dev/dri/renderD{}", number + FIRST_RENDER_NODE);
        let fd = open(&path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK, Mode::empty());
        let fd = fd.map_err(|errno| Failure::Open { path, errno: errno.raw_os_error() })?;
        let found = detect(detect_flags, fd.as_fd())?;
        // SAFETY: it is not null, and minigbm_helpers.h says that the structure is there.
        unsafe { info.write(found) };
        Ok(0)
    }
}

/// The number of a node's device, by the digits at the end of its path.
fn path_number(path: &str) -> Option<u32> {
    let number = path.rsplit(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()?;
    Some(device_number(number)).filter(|number| *number < FIRST_RENDER_NODE)
}

/// The number of a device by that of one of its nodes.
fn device_number(node: u32) -> u32 {
    node.checked_sub(FIRST_RENDER_NODE).unwrap_or(node)
}

fn detect(detect_flags: c_uint, fd: BorrowedFd<'_>) -> Result<DeviceInfo, Failure> {
    let no_device = || Failure::NoDevice(fd.as_raw_fd());
    let driver = AnyNode(fd).get_driver().map_err(|_| no_device())?;
    let node = fstat(fd).map_err(|_| no_device())?.st_rdev;
    let mut info = DeviceInfo { dri_node_num: device_number(minor(node)) as c_int, ..DeviceInfo::default() };
    info.dev_type_flags = match driver.name().to_str() {
        Some(name) => DRIVERS.iter().find(|(driver, _)| *driver == name).map_or(0, |(_, flags)| *flags),
        None => 0,
    };
    if DrmNode::from_borrowed_fd(fd).is_ok_and(|node| matches!(node.get_param(Param::Features3d), Ok(value) if value != 0)) {
        info.dev_type_flags |= RENDERS;
    }
    let folder = format!("/sys/dev/char/{}:{}/device/drm", major(node), minor(node));
    for connector in connectors(Path::new(&folder)) {
        info.connectors += 1;
        info.dev_type_flags |= DISPLAY;
        if detect_flags & CONNECTED != 0 {
            info.connected += c_uint::from(connector.connected);
            info.dev_type_flags |= if connector.built_in { INTERNAL_LCD } else { 0 };
        }
    }
    Ok(info)
}

#[derive(Debug, PartialEq, Eq)]
struct Connector {
    connected: bool,
    built_in: bool,
}

/// The connectors of a device, by the folder of its nodes.
fn connectors(folder: &Path) -> Vec<Connector> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of_card = entries(folder).flat_map(|card| entries(&card.path()).filter(move |entry| belongs_to(entry, &card)));
    let connector = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = name.split_once('-')?.1.rsplit_once('-')?.0.to_owned();
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let (connected, built_in) = (status.trim_end() == "connected", PANELS.contains(&kind.as_str()));
        (kind != WRITEBACK).then_some(Connector { connected, built_in })
    };
    of_card.filter_map(connector).collect()
}

/// Whether an entry of a card's folder is one of its connectors, whose names begin with the card's.
fn belongs_to(entry: &std::fs::DirEntry, card: &std::fs::DirEntry) -> bool {
    let prefix = format!("{}-", card.file_name().to_string_lossy());
    entry.file_name().to_string_lossy().starts_with(&prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn both_nodes_of_a_device_have_its_number() {
        assert_eq!(path_number("/dev/dri/card1"), Some(1));
        assert_eq!(path_number("/dev/dri/renderD129"), Some(1));
        for wrong in ["", "/dev/dri/", "/dev/dri/card", "card256", "card99999999999"] {
            assert_eq!(path_number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn connectors_are_those_of_the_card() {
        let folder = tempfile::tempdir().unwrap();
        let add = |name: &str, status: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("status"), status).unwrap();
        };
        add("card0/card0-Virtual-1", "connected\n");
        add("card0/card0-HDMI-A-1", "disconnected\n");
        add("card0/card0-eDP-1", "connected\n");
        add("card0/card0-Writeback-1", "unknown\n");
        add("card0/power", "");
        add("renderD128/device", "");
        let mut found = connectors(folder.path());
        found.sort_by_key(|connector| (connector.built_in, connector.connected));
        let connector = |built_in, connected| Connector { connected, built_in };
        assert_eq!(found, [connector(false, false), connector(false, true), connector(true, true)]);
    }
}
