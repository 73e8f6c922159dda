//! Which device: by what it says of itself, never by its place in a list.

use super::VulkanError;
use super::sys::{Adapter, Facts, Instance, VERSION};
use ash::vk::PhysicalDeviceType as Kind;
use std::fmt;
use std::os::linux::fs::MetadataExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Which device of the host's Vulkan makes the images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A discrete GPU before an integrated one, that before a virtual one, and software last.
    #[default]
    Best,
    /// The one with this UUID.
    Uuid([u8; 16]),
    /// The one of this DRM node, primary or render.
    Node(PathBuf),
    /// The best whose name has this in it, in any case.
    Name(String),
}

impl FromStr for DeviceChoice {
    type Err = std::convert::Infallible;

    /// `best`, a UUID with or without dashes, the path of a DRM node, or a part of a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text.chars().filter(|letter| *letter != '-').collect();
        let uuid = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
        Ok(match uuid {
            Some(uuid) => Self::Uuid(uuid.to_be_bytes()),
            None if text.eq_ignore_ascii_case("best") => Self::Best,
            None if text.starts_with('/') => Self::Node(text.into()),
            None => Self::Name(text.to_owned()),
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("of version 1.2"),
            Self::Uuid(uuid) => write!(f, "UUID {:032x}", u128::from_be_bytes(*uuid)),
            Self::Node(path) => write!(f, "{}", path.display()),
            Self::Name(name) => write!(f, "\"{name}\""),
        }
    }
}

impl DeviceChoice {
    fn takes(&self, facts: &Facts) -> bool {
        match self {
            Self::Best => true,
            Self::Uuid(uuid) => facts.uuid == *uuid,
            Self::Node(path) => std::fs::metadata(path).is_ok_and(|node| facts.nodes.contains(&numbers(node.st_rdev()))),
            Self::Name(name) => facts.name.to_lowercase().contains(&name.to_lowercase()),
        }
    }
}

/// The major and minor number of a device file, as Vulkan tells them.
fn numbers(device: u64) -> (i64, i64) {
    (rustix::fs::major(device).into(), rustix::fs::minor(device).into())
}

/// The larger the better.
fn rank(kind: Kind) -> u32 {
    match kind {
        Kind::DISCRETE_GPU => 4,
        Kind::INTEGRATED_GPU => 3,
        Kind::VIRTUAL_GPU => 2,
        Kind::OTHER => 1,
        _ => 0,
    }
}

/// Whether it draws without a GPU.
pub fn is_software(facts: &Facts) -> bool {
    facts.kind == Kind::CPU
}

/// The best device that `choice` takes; without `software`, none that draws without a GPU.
pub fn choose(instance: &Arc<Instance>, choice: &DeviceChoice, software: bool) -> Result<(Adapter, Facts), VulkanError> {
    let adapters = instance.adapters().map_err(VulkanError::driver)?;
    let known: Vec<_> = adapters.into_iter().filter_map(|adapter| adapter.facts().ok().map(|facts| (adapter, facts))).collect();
    let serves = |facts: &Facts| {
        choice.takes(facts) && facts.version >= VERSION && facts.queue_family.is_some() && (software || !is_software(facts))
    };
    let seen = known.iter().map(|(_, facts)| facts.name.clone()).collect();
    // The first of the best, so that equal ones are taken in the loader's order.
    let best = known.into_iter().filter(|(_, facts)| serves(facts)).min_by_key(|(_, facts)| std::cmp::Reverse(rank(facts.kind)));
    best.ok_or_else(|| VulkanError::NoDevice { asked: choice.clone(), software, seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, kind: Kind) -> Facts {
        Facts {
            name: name.to_owned(),
            driver: String::new(),
            kind,
            uuid: [7; 16],
            driver_uuid: [8; 16],
            nodes: vec![(226, 0), (226, 128)],
            version: VERSION,
            largest_side: 4096,
            most_layers: 1,
            memory_types: Vec::new(),
            queue_family: Some(0),
            extensions: Default::default(),
        }
    }

    #[test]
    fn a_choice_is_what_a_person_types() {
        let parse = |text: &str| text.parse::<DeviceChoice>().unwrap();
        assert_eq!(
            (parse("best"), parse("/dev/dri/renderD128")),
            (DeviceChoice::Best, DeviceChoice::Node("/dev/dri/renderD128".into()))
        );
        let uuid = DeviceChoice::Uuid(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\0\0\0\0\0\0\0\x01");
        assert_eq!(
            (parse("0123456789abcdef0000000000000001"), parse("01234567-89ab-cdef-0000-000000000001")),
            (uuid.clone(), uuid)
        );
        assert_eq!(parse("llvmpipe"), DeviceChoice::Name("llvmpipe".to_owned()));
    }

    #[test]
    fn a_device_is_known_by_its_name_or_uuid() {
        let device = facts("AMD Radeon RX 6600", Kind::DISCRETE_GPU);
        let takes = |text: &str| text.parse::<DeviceChoice>().unwrap().takes(&device);
        assert!(takes("best") && takes("radeon") && takes("07070707070707070707070707070707"));
        assert!(!takes("nvidia") && !takes("00000000000000000000000000000000") && !takes("/dev/null"));
        assert_eq!(numbers(rustix::fs::makedev(226, 128)), (226, 128));
    }

    #[test]
    fn hardware_goes_before_software() {
        let kinds = [Kind::DISCRETE_GPU, Kind::INTEGRATED_GPU, Kind::VIRTUAL_GPU, Kind::OTHER, Kind::CPU];
        assert!(kinds.is_sorted_by_key(|kind| std::cmp::Reverse(rank(*kind))));
        assert!(is_software(&facts("llvmpipe", Kind::CPU)) && !is_software(&facts("", Kind::VIRTUAL_GPU)));
    }
}
