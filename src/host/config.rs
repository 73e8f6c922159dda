//! [`DeviceConfig`]: how a device is set up.

use super::quota::Quota;
use crate::wire::alloc::CAPSET_ID;
use crate::wire::virtio_gpu::{Command, feature};

bitflags::bitflags! {
    /// Feature bits of the device protocol that this device has.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u64 {
        /// Contexts and 3D resources.
        const VIRGL = 1 << feature::VIRGL;
        /// What a screen tells of itself.
        const EDID = 1 << feature::EDID;
        /// UUIDs, by which other virtio devices know a resource.
        const RESOURCE_UUID = 1 << feature::RESOURCE_UUID;
        /// Blobs.
        const RESOURCE_BLOB = 1 << feature::RESOURCE_BLOB;
        /// Contexts of a capset.
        const CONTEXT_INIT = 1 << feature::CONTEXT_INIT;
        /// Blob sizes are multiples of what the configuration space says, where its frontend passes that on.
        const BLOB_ALIGNMENT = 1 << feature::BLOB_ALIGNMENT;
    }
}

impl Features {
    /// What every frontend takes: a guest that accepts BLOB_ALIGNMENT reads 20 bytes of configuration space, which not all pass on.
    pub const USUAL: Self = Self::all().difference(Self::BLOB_ALIGNMENT);

    /// The feature that a command belongs to; empty for one that every device has.
    pub(super) const fn of(command: Command) -> Self {
        match command {
            Command::GetEdid => Self::EDID,
            Command::ResourceAssignUuid => Self::RESOURCE_UUID,
            Command::ResourceCreateBlob | Command::ResourceMapBlob | Command::ResourceUnmapBlob | Command::SetScanoutBlob => {
                Self::RESOURCE_BLOB
            }
            Command::CtxCreate
            | Command::CtxDestroy
            | Command::CtxAttachResource
            | Command::CtxDetachResource
            | Command::Submit3d
            | Command::ResourceCreate3d
            | Command::TransferToHost3d
            | Command::TransferFromHost3d
            | Command::GetCapsetInfo
            | Command::GetCapset => Self::VIRGL,
            _ => Self::empty(),
        }
    }
}

bitflags::bitflags! {
    /// The protocols that a device speaks with contexts.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Protocols: u32 {
        /// Allocation, by which a guest learns everything ([`wire::alloc`](crate::wire::alloc)).
        const ALLOC = 1;
        /// The part of cross-domain that allocates, for guests with minigbm ([`wire::cross_domain`](crate::wire::cross_domain)).
        const CROSS_DOMAIN = 2;
        /// The part of virgl that allocates ([`wire::virgl`](crate::wire::virgl)): a guest's GL driver would expect it to draw.
        const VIRGL = 4;
    }
}

impl Protocols {
    /// What does no guest harm.
    pub const USUAL: Self = Self::ALLOC.union(Self::CROSS_DOMAIN);
}

/// How a device is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// The id under which the allocation capset is offered: 1 to 31, and none that is already a standard.
    pub capset_id: u32,
    /// What it speaks: [`Protocols::USUAL`], but for guests that need virgl.
    pub protocols: Protocols,
    /// What blob sizes are rounded up to, in bytes: a power of two, 4096 or more.
    pub blob_alignment: u32,
    /// Its limits.
    pub quota: Quota,
    /// What it offers: [`Features::USUAL`], but for guests and tests that want more or less.
    pub features: Features,
    /// The size of its screen in pixels; a device without one only renders.
    pub scanout: Option<(u32, u32)>,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            capset_id: CAPSET_ID,
            protocols: Protocols::USUAL,
            blob_alignment: 4096,
            quota: Quota::default(),
            features: Features::USUAL,
            scanout: None,
        }
    }
}
