//! Quotas: what a context and the whole device may hold, and the charges that give back what they took when they are dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// What something costs the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes of memory.
    pub bytes: u64,
    /// Objects and resources.
    pub objects: u64,
    /// File descriptors.
    pub fds: u64,
}

impl Amount {
    fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.checked_add(other.bytes)?,
            objects: self.objects.checked_add(other.objects)?,
            fds: self.fds.checked_add(other.fds)?,
        })
    }

    fn saturating_sub(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            objects: self.objects.saturating_sub(other.objects),
            fds: self.fds.saturating_sub(other.fds),
        }
    }

    fn fits(self, limit: Self) -> bool {
        self.bytes <= limit.bytes && self.objects <= limit.objects && self.fds <= limit.fds
    }
}

/// The limits of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What one context may hold.
    pub context: Amount,
    /// What all of them and the display may hold together.
    pub device: Amount,
    /// How many contexts there may be.
    pub contexts: usize,
    /// How many pairs of a context and an attached resource there may be.
    pub attachments: usize,
    /// How many blobs may be in the window at once.
    pub mappings: usize,
}

impl Default for Quota {
    /// 2 GiB and 16,384 objects a context, twice that for the device, 1,024 contexts.
    fn default() -> Self {
        let context = Amount { bytes: 2 << 30, objects: 16_384, fds: 16_384 };
        let device = Amount { bytes: 4 << 30, objects: 32_768, fds: 32_768 };
        Self { context, device, contexts: 1_024, attachments: 262_144, mappings: 16_384 }
    }
}

/// Something would not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the {whose} quota has no room: {asked:?} asked, {used:?} of {limit:?} used")]
pub(super) struct QuotaExceeded {
    whose: &'static str,
    asked: Amount,
    used: Amount,
    limit: Amount,
}

/// A running total with a limit: the device's, or a context's inside it.
#[derive(Debug)]
pub(super) struct Account {
    whose: &'static str,
    limit: Amount,
    used: Mutex<Amount>,
    parent: Option<Arc<Account>>,
}

impl Account {
    pub fn device(limit: Amount) -> Arc<Self> {
        Arc::new(Self { whose: "device", limit, used: Mutex::default(), parent: None })
    }

    pub fn context(limit: Amount, device: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { whose: "context", limit, used: Mutex::default(), parent: Some(device.clone()) })
    }

    pub fn used(&self) -> Amount {
        *self.lock()
    }

    /// Takes an amount here and in every parent, or nowhere.
    pub fn charge(self: &Arc<Self>, amount: Amount) -> Result<Charge, QuotaExceeded> {
        if let Some(parent) = &self.parent {
            parent.take(amount)?;
        }
        if let Err(error) = self.take(amount) {
            if let Some(parent) = &self.parent {
                parent.give_back(amount);
            }
            return Err(error);
        }
        Ok(Charge { account: self.clone(), amount })
    }

    fn take(&self, amount: Amount) -> Result<(), QuotaExceeded> {
        let mut used = self.lock();
        let Some(sum) = used.checked_add(amount).filter(|sum| sum.fits(self.limit)) else {
            return Err(QuotaExceeded { whose: self.whose, asked: amount, used: *used, limit: self.limit });
        };
        *used = sum;
        Ok(())
    }

    fn give_back(&self, amount: Amount) {
        let mut used = self.lock();
        *used = used.saturating_sub(amount);
    }

    fn lock(&self) -> MutexGuard<'_, Amount> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An amount taken from an account and its parent until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    account: Arc<Account>,
    amount: Amount,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(self.amount);
        if let Some(parent) = &self.account.parent {
            parent.give_back(self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes: u64) -> Amount {
        Amount { bytes, objects: 1, fds: 0 }
    }

    fn limit(bytes: u64) -> Amount {
        Amount { bytes, objects: 10, fds: 10 }
    }

    #[test]
    fn a_charge_is_given_back_when_it_is_dropped() {
        let device = Account::device(limit(100));
        let context = Account::context(limit(60), &device);
        let charge = context.charge(bytes(60)).unwrap();
        assert_eq!((device.used(), context.used()), (bytes(60), bytes(60)));
        drop(charge);
        assert_eq!((device.used(), context.used()), (Amount::default(), Amount::default()));
    }

    #[test]
    fn what_fits_in_one_account_only_is_taken_from_none() {
        let device = Account::device(limit(100));
        let context = Account::context(limit(60), &device);
        assert!(context.charge(bytes(61)).is_err());
        assert_eq!(device.used(), Amount::default());
        let _other = device.charge(bytes(50)).unwrap();
        assert!(context.charge(bytes(51)).is_err());
        assert_eq!((device.used().bytes, context.used().bytes), (50, 0));
    }

    #[test]
    fn sums_do_not_wrap() {
        let device = Account::device(limit(u64::MAX));
        let _first = device.charge(bytes(u64::MAX)).unwrap();
        assert!(device.charge(bytes(1)).is_err());
    }
}
