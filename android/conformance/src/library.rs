//! The libraries that are checked, and who allocates for them.

mod gralloc;
mod mapper;
mod source;
pub mod stream;

pub use gralloc::{Gralloc, OpenDevice};
pub use mapper::{Buffer, Dumped, Mapper, STANDARD, code};
pub use source::{Allocated, NotAllocated, Source};

/// All that a case may use.
pub struct Suite {
    /// The mapper, if one is checked.
    pub mapper: Option<Mapper>,
    /// The gralloc module, if one is checked.
    pub gralloc: Option<Gralloc>,
    /// Who allocates.
    pub source: Source,
    /// How often a buffer is imported and freed.
    pub imports: usize,
    /// How often each thread locks and unlocks.
    pub locks: usize,
}
