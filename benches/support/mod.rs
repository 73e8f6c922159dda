//! The two hosts that are compared, and what both are asked for.

pub mod ours;
pub mod rutabaga;

use std::os::fd::{AsFd, BorrowedFd};
use virgbm::sys::{memfd, mmap::Mmap};
use virgbm::{BufferRequest, Format, Usage};

const PAGE_BYTES: u64 = 4096;

/// What is asked for. Both hosts lay it out alike: it has no padding at this width, but for the end of its last page.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    pub name: &'static str,
    pub format: Format,
    pub usage: Usage,
    /// The same usage in the bits of rutabaga's gralloc.
    rutabaga_usage: u32,
    pub strides: [u32; 2],
    bytes_per_row: u64,
}

impl Picture {
    pub const WIDTH: u32 = 1920;
    pub const HEIGHT: u32 = 1080;

    pub const AR24: Self = Self {
        name: "AR24",
        format: Format::ARGB8888,
        usage: Usage::SCANOUT.union(Usage::RENDER).union(Usage::TEXTURE).union(Usage::LINEAR),
        rutabaga_usage: rutabaga::USE_SCANOUT | rutabaga::USE_RENDERING | rutabaga::USE_TEXTURING | rutabaga::USE_LINEAR,
        strides: [4 * Self::WIDTH, 0],
        bytes_per_row: 4 * Self::WIDTH as u64,
    };

    pub const NV12: Self = Self {
        name: "NV12",
        format: Format::NV12,
        usage: Usage::TEXTURE.union(Usage::LINEAR),
        rutabaga_usage: rutabaga::USE_TEXTURING | rutabaga::USE_LINEAR,
        strides: [Self::WIDTH, Self::WIDTH],
        // A chroma row, as long as one of luma, for every two.
        bytes_per_row: Self::WIDTH as u64 * 3 / 2,
    };

    /// How large the buffer must be.
    pub fn size_bytes(self, height: u32) -> u64 {
        (u64::from(height) * self.bytes_per_row).next_multiple_of(PAGE_BYTES)
    }

    fn request(self, height: u32) -> BufferRequest {
        BufferRequest::new(self.format, Self::WIDTH, height, self.usage)
    }
}

/// A page of the guest, where a host writes its replies.
fn reply_page() -> Mmap {
    let fd = memfd::sealed(PAGE_BYTES).unwrap();
    Mmap::shared(fd.as_fd(), 0, PAGE_BYTES, None).unwrap()
}

/// How long a file is.
pub fn length_of(fd: BorrowedFd<'_>) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_size as u64
}
