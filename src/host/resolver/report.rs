//! [`Report`]: what was found about a driver, for people.

use super::proof::Finding;
use crate::{ComponentKind, FormatClass, FormatInfo, Support, Usage};
use std::collections::BTreeMap;

/// What a resolver has found about its driver.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The resolver's name.
    pub resolver: &'static str,
    /// The device, and its driver.
    pub device: String,
    /// Whether it draws without a GPU.
    pub software: bool,
    /// Whether what it makes leaves as dma-bufs, which was tried.
    pub dma_bufs: bool,
    /// How many of the driver's objects there are now.
    pub objects: usize,
    /// What works.
    pub offered: &'a [Support],
    /// What was tried.
    pub findings: &'a [Finding],
}

impl Report<'_> {
    /// Logs it, what did not work by its reasons.
    pub(super) fn tell(&self) {
        let Self { resolver, device, offered, findings, .. } = self;
        log::info!("{resolver}: {device}: {} formats and modifiers work", offered.len());
        let mut refused: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for finding in *findings {
            if let Some(why) = &finding.refused {
                refused.entry(why).or_default().push(&finding.subject);
            }
        }
        for (why, subjects) in refused {
            log::info!("{resolver}: not {}: {why}", subjects.join(", "));
        }
    }
}

/// What else a linear image is good for, which the host and other devices see row by row; `mapped` when the CPU sees it too.
pub(super) fn linear_usages(info: &FormatInfo, mapped: bool) -> Usage {
    use Usage as U;
    let mut usages = U::CAMERA_WRITE | U::CAMERA_READ | U::VIDEO_ENCODER;
    usages |= if info.class == FormatClass::Yuv { U::VIDEO_DECODER } else { U::FRONT_RENDERING };
    usages.set(U::CPU, mapped);
    if info.format.virtio_2d().is_some() {
        usages |= if info.has(ComponentKind::A) { U::SCANOUT | U::CURSOR } else { U::SCANOUT };
    }
    usages
}
