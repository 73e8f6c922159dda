//! What a case is, and what cases stand on.

use crate::library::{Allocated, Buffer, Gralloc, Mapper, OpenDevice, Source, Suite, code};
use crate::sys::handle::Raw;
use crate::sys::memory::Bytes;
use std::ffi::c_void;
use virgbm_android_abi::imapper::{Error, Rect};
use virgbm_android_handle::{Descriptor, HalFormat};

/// One thing that must hold.
pub struct Case {
    /// What it is about.
    pub part: &'static str,
    /// What must hold.
    pub name: &'static str,
    check: Check,
}

/// How it is found out.
#[derive(Clone, Copy)]
pub enum Check {
    Mapper(fn(&Suite, &Mapper) -> Checked),
    Gralloc(fn(&Suite, &Gralloc) -> Checked),
}

/// What was found.
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not apply, and why.
    Skipped(String),
    /// It does not hold, and what was seen.
    Failed(String),
}

/// Why a check ends early.
#[derive(Debug)]
pub enum Trouble {
    Skipped(String),
    Failed(String),
}

pub type Checked = Result<(), Trouble>;

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Fails the case unless something holds.
macro_rules! check {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::case::Trouble::Failed(format!($($why)+)));
        }
    };
}

/// Fails the case unless two values are the same.
macro_rules! same {
    ($found:expr, $expected:expr, $($what:tt)+) => {{
        let (found, expected) = ($found, $expected);
        if found != expected {
            return Err($crate::case::Trouble::Failed(format!("{}: {found:?}, not {expected:?}", format_args!($($what)+))));
        }
    }};
}

pub(crate) use {check, same};

/// A case of the mapper's.
pub const fn of_mapper(name: &'static str, check: fn(&Suite, &Mapper) -> Checked) -> Case {
    Case { part: "mapper", name, check: Check::Mapper(check) }
}

/// A case of the allocator's.
pub const fn of_allocator(name: &'static str, check: fn(&Suite, &Mapper) -> Checked) -> Case {
    Case { part: "allocator", name, check: Check::Mapper(check) }
}

/// A case of the gralloc module's.
pub const fn of_gralloc(name: &'static str, check: fn(&Suite, &Gralloc) -> Checked) -> Case {
    Case { part: "gralloc", name, check: Check::Gralloc(check) }
}

impl Case {
    /// Whether what it is about is there.
    pub fn applies(&self, suite: &Suite) -> bool {
        match self.check {
            Check::Mapper(_) => suite.mapper.is_some(),
            Check::Gralloc(_) => suite.gralloc.is_some(),
        }
    }

    /// Finds out whether it holds.
    pub fn run(&self, suite: &Suite) -> Outcome {
        let checked = match (self.check, &suite.mapper, &suite.gralloc) {
            (Check::Mapper(check), Some(mapper), _) => check(suite, mapper),
            (Check::Gralloc(check), _, Some(gralloc)) => check(suite, gralloc),
            _ => Err(Trouble::Skipped("it is not there".to_owned())),
        };
        match checked {
            Ok(()) => Outcome::Passed,
            Err(Trouble::Skipped(why)) => Outcome::Skipped(why),
            Err(Trouble::Failed(why)) => Outcome::Failed(why),
        }
    }
}

pub const READ_OFTEN: u64 = 0x3;
pub const WRITE_OFTEN: u64 = 0x30;
pub const CPU: u64 = READ_OFTEN | WRITE_OFTEN;
pub const TEXTURE: u64 = 1 << 8;
pub const RENDER_TARGET: u64 = 1 << 9;
pub const OVERLAY: u64 = 1 << 11;
pub const PROTECTED: u64 = 1 << 14;
pub const FRONT_BUFFER: u64 = 1 << 32;

pub const BAD_BUFFER: i32 = code(Error::BadBuffer);
pub const BAD_VALUE: i32 = code(Error::BadValue);
pub const NO_RESOURCES: i32 = code(Error::NoResources);
pub const UNSUPPORTED: i32 = code(Error::Unsupported);

pub const WHOLE: Rect = Rect { left: 0, top: 0, right: 0, bottom: 0 };

/// The buffer of most cases.
pub fn plain() -> Descriptor {
    Descriptor::new(64, 64, HalFormat::RGBA_8888, CPU)
}

pub fn of_format(format: i32) -> Descriptor {
    Descriptor { format, ..plain() }
}

pub fn allocate(suite: &Suite, descriptor: &Descriptor) -> Result<Allocated, Trouble> {
    use crate::library::NotAllocated;
    suite.source.allocate(descriptor).map_err(|error| match error {
        NotAllocated::Unasked(why) => Trouble::Skipped(why.to_owned()),
        NotAllocated::Refused(error, why) => Trouble::Failed(format!("it is not allocated: {error:?}, {why}")),
    })
}

/// A buffer that an allocator need not have, as long as it says so.
pub fn allocate_optional(suite: &Suite, descriptor: &Descriptor) -> Result<Allocated, Trouble> {
    match allocate(suite, descriptor) {
        Err(Trouble::Failed(why)) if suite.source.supports(descriptor) != Some(true) => Err(Trouble::Skipped(why)),
        outcome => outcome,
    }
}

pub fn import<'a>(mapper: &'a Mapper, raw: &Raw) -> Result<Buffer<'a>, Trouble> {
    mapper.import(raw).map_err(|number| Trouble::Failed(format!("importBuffer gives {number}")))
}

pub fn ok<T>(outcome: Result<T, i32>, what: &str) -> Result<T, Trouble> {
    outcome.map_err(|number| Trouble::Failed(format!("{what} gives {number}")))
}

/// Locks a buffer and gives so many of its bytes.
pub fn lock(buffer: &Buffer<'_>, usage: u64, length: usize) -> Result<Bytes, Trouble> {
    let address: *mut c_void = ok(buffer.lock(usage, WHOLE), "lock")?;
    check!(!address.is_null(), "lock gives no address");
    Ok(Bytes::new(address, length))
}

pub fn unlock(buffer: &Buffer<'_>) -> Checked {
    ok(buffer.unlock(), "unlock").map(drop)
}

pub fn open(gralloc: &Gralloc) -> Result<OpenDevice, Trouble> {
    Ok(gralloc.open()?)
}

/// The descriptors that this process has open, and the pages that it has in memory.
pub fn held() -> Result<(usize, usize), Trouble> {
    let failed = |error: std::io::Error| Trouble::Skipped(format!("/proc: {error}"));
    let fds = std::fs::read_dir("/proc/self/fd").map_err(failed)?.count();
    let pages = std::fs::read_to_string("/proc/self/statm").map_err(failed)?;
    let resident = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok((fds, resident))
}

/// Whether the allocator takes whole descriptors.
pub fn needs_descriptors(suite: &Suite) -> Checked {
    match suite.source {
        Source::Virgbm(_) => Ok(()),
        _ => Err(Trouble::Skipped("gralloc0 has no words for it".to_owned())),
    }
}
