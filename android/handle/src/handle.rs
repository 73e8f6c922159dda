//! [`Handle`]: a buffer as other processes get it, in the packed 156 bytes of `cros_gralloc_handle`, which hwcomposers, Mesa and ARC
//! know; and the check of one that came from somebody else.

use crate::format::HalFormat;
use crate::metadata::{Constants, MetadataError, SharedMetadata, name_text};
use crate::sys::native_handle::{self, DATA_INTS, Numbers};
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use thiserror::Error;
use virgbm::layout::MAX_PLANES;
use virgbm::usage::{Dialect, UnknownUsage};
use virgbm::{Format, Layout, LayoutError, Modifier, Plane, PlaneFormat, Planes, Usage};
use virgbm_android_abi::NativeHandle;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What `magic` holds.
const MAGIC: u32 = 0xabcd_dcba;

/// A descriptor for each plane, and the metadata's.
const MAX_FDS: usize = MAX_PLANES + 1;

/// `cros_gralloc_handle` behind its `native_handle_t`.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, packed)]
struct Fields {
    fds: [i32; MAX_FDS],
    strides: [u32; MAX_PLANES],
    offsets: [u32; MAX_PLANES],
    sizes: [u32; MAX_PLANES],
    /// The low half of the id, for those who know no other.
    id: u32,
    width: u32,
    height: u32,
    format: u32,
    tiling: u32,
    format_modifier: u64,
    use_flags: u64,
    magic: u32,
    pixel_stride: u32,
    droid_format: i32,
    usage: i64,
    num_planes: u32,
    /// The metadata's, all of it.
    reserved_region_size: u64,
    /// The buffer's, without the metadata.
    total_size: u64,
}

const _: () = assert!(size_of::<Fields>() == DATA_INTS * size_of::<c_int>());

/// What a handle says of its buffer, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Unique across processes and restarts.
    pub id: u64,
    /// What the client called it.
    pub name: String,
    /// In pixels, as the client asked for it; of BLOB in bytes.
    pub width: u32,
    /// In pixels, as the client asked for it.
    pub height: u32,
    /// The HAL's number of the format that the client asked for.
    pub hal_format: i32,
    /// The HAL's bits that the client asked for.
    pub usage: u64,
    /// Where the bytes lie. Its width and height are those of the picture, except that bytes may be folded into rows.
    pub layout: Layout,
    /// In pixels.
    pub pixel_stride: u32,
    /// Of the buffer, with padding.
    pub allocation_bytes: u64,
}

/// A handle that is not one of ours, or that does not hold.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum BadHandle {
    #[error("it is null, or not of 12 + 144 bytes with at most 36 descriptors")]
    Header,
    #[error("magic {0:#x} is not that of a cros_gralloc_handle")]
    Magic(u32),
    #[error("{found} descriptors where {planes} planes and the metadata need {}", *planes as u64 + 1)]
    Fds { found: usize, planes: u32 },
    #[error("descriptor {0} is not open")]
    Closed(c_int),
    #[error("the descriptor of plane {0} is another buffer's")]
    OtherBuffer(usize),
    #[error("a buffer of {found} bytes where the handle says {claimed}")]
    Size { found: u64, claimed: u64 },
    #[error(transparent)]
    Usage(#[from] UnknownUsage),
    #[error("format {0:#x} is not one of the HAL's")]
    HalFormat(i32),
    #[error("format {found} is not what the HAL's {asked} is made of")]
    Format { found: Format, asked: &'static str },
    #[error("id {handle:#x} of the handle is not that of its metadata, {metadata:#x}")]
    Id { handle: u32, metadata: u64 },
    #[error("{what} {handle} of the handle does not go with {metadata} of its metadata")]
    Contradiction { what: &'static str, handle: u64, metadata: u64 },
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("its descriptors can't be duplicated: {0}")]
    Duplicate(#[source] io::Error),
    #[error("there is no memory for a handle")]
    NoMemory,
    #[error("the buffer is not this device's: {0}")]
    NotOurs(#[source] virgbm::guest::Error),
    #[error("the buffer can't be mapped: {0}")]
    NotMapped(#[source] io::Error),
    #[error("no device: {0}")]
    NoDevice(#[from] crate::device::NoDevice),
}

impl BadHandle {
    /// Whether the handle is good, and only this process can't take it now.
    pub fn is_lack(&self) -> bool {
        match self {
            Self::NoMemory | Self::NoDevice(_) | Self::Duplicate(_) => true,
            Self::Metadata(MetadataError::Kernel(error)) => is_lack(error),
            Self::NotOurs(virgbm::guest::Error::Node(error)) => is_lack(&error.source),
            _ => false,
        }
    }
}

fn is_lack(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOSPC))
}

/// A handle that owns its descriptors: those of the planes, then the metadata's.
#[derive(Debug)]
pub struct Handle {
    fds: Vec<OwnedFd>,
    fields: Fields,
}

/// Offset and size of a plane as the handle has them: in 32 bits.
fn words(plane: &Plane) -> Option<(u32, u32)> {
    Some((plane.offset_bytes.try_into().ok()?, plane.size_bytes.try_into().ok()?))
}

fn overflow(layout: &Layout) -> LayoutError {
    let Layout { format, width, height, layers, .. } = *layout;
    LayoutError::Overflow { format, width, height, layers }
}

/// Whether a handle has words for a layout, which is found out before a buffer is made.
///
/// # Errors
/// [`LayoutError::Overflow`] for planes beyond what 32 bits say.
pub fn check_words(layout: &Layout) -> Result<(), LayoutError> {
    layout.planes.iter().try_for_each(|plane| words(plane).map(drop)).ok_or_else(|| overflow(layout))
}

impl Handle {
    /// The handle of a buffer. `plane_fds` has one for each plane of the layout.
    ///
    /// # Errors
    /// [`BadHandle::Layout`] for planes beyond what 32 bits say.
    pub fn new(description: &Description, plane_fds: Vec<OwnedFd>, metadata: OwnedFd, size: u64) -> Result<Self, BadHandle> {
        let Description { layout, .. } = description;
        let mut fields = Fields {
            fds: [-1; MAX_FDS],
            strides: [0; MAX_PLANES],
            offsets: [0; MAX_PLANES],
            sizes: [0; MAX_PLANES],
            id: description.id as u32,
            width: layout.width,
            height: layout.height,
            format: layout.format.fourcc(),
            tiling: 0,
            format_modifier: layout.modifier.value(),
            use_flags: Usage::from_dialect(Dialect::Android, description.usage)
                .unwrap_or(Usage::empty())
                .to_dialect(Dialect::Minigbm),
            magic: MAGIC,
            pixel_stride: description.pixel_stride,
            droid_format: description.hal_format,
            usage: description.usage as i64,
            num_planes: layout.planes.len() as u32,
            reserved_region_size: size,
            total_size: description.allocation_bytes,
        };
        let (mut strides, mut offsets, mut sizes) = (fields.strides, fields.offsets, fields.sizes);
        for (plane, ((stride, offset), bytes)) in layout.planes.iter().zip(strides.iter_mut().zip(&mut offsets).zip(&mut sizes)) {
            (*stride, (*offset, *bytes)) = (plane.stride_bytes, words(plane).ok_or_else(|| overflow(layout))?);
        }
        (fields.strides, fields.offsets, fields.sizes) = (strides, offsets, sizes);
        let mut fds = plane_fds;
        fds.push(metadata);
        Ok(Self { fds, fields })
    }

    /// Its descriptors and the integers behind them, as binder carries a handle.
    pub fn into_parts(self) -> (Vec<OwnedFd>, Vec<c_int>) {
        let ints = self.ints();
        (self.fds, ints)
    }

    /// The same in the memory of a C library; see [`native_handle::create`].
    ///
    /// # Errors
    /// [`BadHandle::NoMemory`].
    pub fn into_native(self) -> Result<NonNull<NativeHandle>, BadHandle> {
        let (fds, ints) = self.into_parts();
        native_handle::create(fds, &ints).ok_or(BadHandle::NoMemory)
    }

    /// Its numbers, as one who gets it reads them.
    pub fn numbers(&self) -> Numbers {
        let fds: Vec<c_int> = self.fds.iter().map(AsRawFd::as_raw_fd).collect();
        Numbers::new(&fds, &self.ints())
    }

    /// The integers behind the descriptors, with the places of those that are not used.
    fn ints(&self) -> Vec<c_int> {
        let (words, _) = self.fields.as_bytes().as_chunks::<{ size_of::<c_int>() }>();
        words.iter().skip(self.fds.len()).map(|word| c_int::from_ne_bytes(*word)).collect()
    }
}

/// A handle of somebody else, as it was read: nothing of it is checked but its counts.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    fields: Fields,
    fds: Vec<BorrowedFd<'a>>,
}

/// What a checked handle leads to.
#[derive(Debug)]
pub struct Checked {
    /// What it says.
    pub description: Description,
    /// The metadata, mapped.
    pub metadata: SharedMetadata,
    /// A handle that says the same, with descriptors of its own.
    pub handle: Handle,
}

impl Claim<'_> {
    /// Reads a handle from the numbers of its descriptors, which the caller keeps open, and the integers behind them.
    ///
    /// # Errors
    /// [`BadHandle`] for one that is not of our kind, or whose descriptors are closed.
    pub fn from_parts(fds: &[c_int], ints: &[c_int]) -> Result<Self, BadHandle> {
        let bytes: Vec<u8> = fds.iter().chain(ints).flat_map(|word| word.to_ne_bytes()).collect();
        let fields = Fields::read_from_bytes(&bytes).map_err(|_| BadHandle::Header)?;
        if fields.magic != MAGIC {
            return Err(BadHandle::Magic(fields.magic));
        }
        let planes = fields.num_planes;
        if !(1..=MAX_PLANES as u32).contains(&planes) || fds.len() != planes as usize + 1 {
            return Err(BadHandle::Fds { found: fds.len(), planes });
        }
        let open = |number: &c_int| native_handle::borrow(*number).ok_or(BadHandle::Closed(*number));
        Ok(Self { fields, fds: fds.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// Checks every field that says something, and keeps the descriptors: what comes of it depends on nobody's word any more.
    ///
    /// # Errors
    /// [`BadHandle`], which says what does not hold.
    pub fn check(&self) -> Result<Checked, BadHandle> {
        let fields = self.fields;
        let (metadata_fd, plane_fds) = self.fds.split_last().ok_or(BadHandle::Header)?;
        let metadata = SharedMetadata::open(*metadata_fd, fields.reserved_region_size)?;
        let constants = metadata.constants();
        if fields.id != constants.id as u32 {
            return Err(BadHandle::Id { handle: fields.id, metadata: constants.id });
        }
        let allocation_bytes = check_size(plane_fds, fields.total_size)?;
        let layout = layout_of(&fields, constants)?;
        let row = HalFormat::of(fields.droid_format).ok_or(BadHandle::HalFormat(fields.droid_format))?;
        if !row.formats.contains(&layout.format) {
            return Err(BadHandle::Format { found: layout.format, asked: row.name });
        }
        Usage::from_dialect(Dialect::Android, fields.usage as u64)?;
        check_extent(&fields, constants)?;
        let description = describe(constants, layout, fields.droid_format, fields.usage as u64, allocation_bytes);
        let claimed = fields.pixel_stride;
        if claimed != description.pixel_stride {
            let (handle, metadata) = (claimed.into(), description.pixel_stride.into());
            return Err(BadHandle::Contradiction { what: "stride in pixels", handle, metadata });
        }
        // Made anew: nobody who looks into it meets a word that was not looked at.
        let duplicate = |fd: &BorrowedFd<'_>| fd.try_clone_to_owned().map_err(BadHandle::Duplicate);
        let planes = plane_fds.iter().map(duplicate).collect::<Result<_, _>>()?;
        let handle = Handle::new(&description, planes, duplicate(metadata_fd)?, fields.reserved_region_size)?;
        Ok(Checked { description, metadata, handle })
    }
}

impl Checked {
    /// The descriptor of the buffer.
    pub fn buffer_fd(&self) -> Option<BorrowedFd<'_>> {
        self.handle.fds.first().map(AsFd::as_fd)
    }
}

/// What is known of a buffer of this layout and these constants.
pub fn describe(constants: &Constants, layout: Layout, hal_format: i32, usage: u64, allocation_bytes: u64) -> Description {
    let stride = layout.planes.first().map_or(0, |plane| plane.stride_bytes);
    let plane = layout.format.planes().first();
    // Bytes that are folded into rows are one row to their clients.
    let folded = layout.width != constants.width;
    Description {
        id: constants.id,
        name: name_text(&constants.name),
        width: constants.width,
        height: constants.height,
        hal_format,
        usage,
        layout,
        pixel_stride: if folded { constants.width } else { plane.map_or(0, |plane| pixel_stride(stride, plane)) },
        allocation_bytes,
    }
}

/// How many pixels a row of the first plane has room for: the stride that the HAL tells.
fn pixel_stride(stride_bytes: u32, plane: &PlaneFormat) -> u32 {
    let pixels = u64::from(stride_bytes) * u64::from(plane.block_width) / u64::from(plane.block_bytes.max(1));
    u32::try_from(pixels).unwrap_or(u32::MAX)
}

/// All planes are in one buffer, which is as large as the handle says.
fn check_size(fds: &[BorrowedFd<'_>], claimed: u64) -> Result<u64, BadHandle> {
    let mut identity = None;
    for (plane, fd) in fds.iter().enumerate() {
        let stat = rustix::fs::fstat(fd).map_err(|errno| BadHandle::Duplicate(errno.into()))?;
        if *identity.get_or_insert((stat.st_dev, stat.st_ino)) != (stat.st_dev, stat.st_ino) {
            return Err(BadHandle::OtherBuffer(plane));
        }
    }
    let first = fds.first().ok_or(BadHandle::Header)?;
    let found = rustix::fs::seek(first, rustix::fs::SeekFrom::End(0)).unwrap_or(0);
    if found < claimed || claimed == 0 {
        return Err(BadHandle::Size { found, claimed });
    }
    Ok(claimed)
}

fn layout_of(fields: &Fields, constants: &Constants) -> Result<Layout, BadHandle> {
    let (strides, offsets, sizes) = (fields.strides, fields.offsets, fields.sizes);
    let planes = strides.iter().zip(&offsets).zip(&sizes).take(fields.num_planes as usize);
    let planes = planes.map(|((stride, offset), size)| Plane {
        stride_bytes: *stride,
        offset_bytes: (*offset).into(),
        size_bytes: (*size).into(),
    });
    let layout = Layout {
        format: Format::from_fourcc(fields.format),
        width: fields.width,
        height: fields.height,
        layers: constants.layers,
        modifier: Modifier::new(fields.format_modifier),
        planes: Planes::new(&planes.collect::<Vec<_>>()).ok_or(BadHandle::Header)?,
        layer_stride_bytes: constants.layer_stride_bytes,
        size_bytes: fields.total_size,
    };
    layout.check()?;
    // Rows are checked also where nobody says that they are rows: no tiling is narrower.
    if layout.modifier == Modifier::INVALID {
        Layout { modifier: Modifier::LINEAR, ..layout }.check()?;
    }
    Ok(layout)
}

/// The size that clients know is the picture's, or is no more than the bytes of all rows.
fn check_extent(fields: &Fields, constants: &Constants) -> Result<(), BadHandle> {
    let (width, height) = (fields.width, fields.height);
    let bytes = fields.droid_format == HalFormat::BLOB && constants.height == 1;
    let room = u64::from(width) * u64::from(height);
    let same = (width, height) == (constants.width, constants.height);
    if same || bytes && constants.width > 0 && u64::from(constants.width) <= room && { fields.strides }[0] == width {
        return Ok(());
    }
    Err(BadHandle::Contradiction { what: "width", handle: width.into(), metadata: constants.width.into() })
}
