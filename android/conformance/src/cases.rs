//! The cases.

mod allocator;
mod dumps;
mod formats;
mod gralloc;
mod gralloc_locks;
mod hostile;
mod lifecycle;
mod load;
mod locks;
mod metadata;
mod reserved;
mod settings;

use crate::case::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let parts: [&'static [Case]; 12] = [
        lifecycle::CASES,
        locks::CASES,
        formats::CASES,
        metadata::CASES,
        settings::CASES,
        reserved::CASES,
        dumps::CASES,
        hostile::CASES,
        load::CASES,
        allocator::CASES,
        gralloc::CASES,
        gralloc_locks::CASES,
    ];
    parts.into_iter().flatten()
}
