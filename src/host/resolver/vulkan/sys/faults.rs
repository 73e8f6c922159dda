//! Drivers that fail and lie, for tests; elsewhere a driver is asked, and what it says is checked by whoever asked.

use super::{Handle, ImageLimits};
use ash::prelude::VkResult;
use ash::vk;
use std::os::fd::OwnedFd;
#[cfg(test)]
use std::sync::{Mutex, PoisonError};

/// What a driver does wrong.
#[derive(Default)]
pub struct Faults {
    #[cfg(test)]
    call: Mutex<Option<(usize, vk::Result)>>,
    #[cfg(test)]
    lie: Mutex<Option<Lie>>,
}

#[cfg(not(test))]
#[allow(clippy::unused_self)]
impl Faults {
    pub(super) const fn stumble(&self) -> VkResult<()> {
        Ok(())
    }

    pub(super) const fn limits(&self, limits: ImageLimits) -> ImageLimits {
        limits
    }

    pub(super) const fn place(&self, place: vk::SubresourceLayout) -> vk::SubresourceLayout {
        place
    }

    pub(super) const fn descriptor(&self, _: Handle) -> Option<OwnedFd> {
        None
    }
}

/// What a driver says that is not so.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// An image can be made, and its memory has no features.
    NoFeatures,
    /// Every plane starts where the first one does.
    PlanesAtZero,
    /// Rows are shorter than they are.
    ShortRows,
    /// A memfd is a dma-buf.
    Memfd,
}

#[cfg(test)]
impl Faults {
    /// Lets the call after `calls` others return `result`, once.
    pub fn fail_after(&self, calls: usize, result: vk::Result) {
        *self.call.lock().unwrap_or_else(PoisonError::into_inner) = Some((calls, result));
    }

    /// Takes the fault back; whether it was still to come.
    pub fn forgive(&self) -> bool {
        self.call.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// Lets the driver say this from now on.
    pub fn lie(&self, lie: Lie) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = Some(lie);
    }

    fn says(&self, lie: Lie) -> bool {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) == Some(lie)
    }

    pub(super) fn stumble(&self) -> VkResult<()> {
        let mut fault = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *fault {
            Some((0, result)) => {
                let result = *result;
                *fault = None;
                Err(result)
            }
            Some((calls, _)) => {
                *calls -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn limits(&self, limits: ImageLimits) -> ImageLimits {
        let there = !self.says(Lie::NoFeatures);
        ImageLimits { exportable: limits.exportable && there, importable: limits.importable && there, ..limits }
    }

    pub(super) fn place(&self, mut place: vk::SubresourceLayout) -> vk::SubresourceLayout {
        if self.says(Lie::PlanesAtZero) {
            place.offset = 0;
        }
        if self.says(Lie::ShortRows) {
            place.row_pitch = 1;
        }
        place
    }

    pub(super) fn descriptor(&self, handle: Handle) -> Option<OwnedFd> {
        let lies = handle == Handle::DmaBuf && self.says(Lie::Memfd);
        lies.then(|| crate::sys::memfd::sealed(1 << 20).ok()).flatten()
    }
}
