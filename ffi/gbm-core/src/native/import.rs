//! Imports: what C claims of somebody's descriptors is checked, and becomes a layout.

use super::bo;
use super::device::DeviceState;
use crate::abi::{self, Flags, ImportFd, ImportFdModifier, ImportFdPlanar};
use crate::door::{Given, argument};
use crate::{Failure, Flavour, ImportKind, door};
use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;
use std::ptr::null_mut;
use virgbm::guest::{self, BackendKind, BufferObject};
use virgbm::{Format, Layout, LayoutError, Modifier, Plane, PlaneFormat, Planes, RequestError, Usage};

/// What C says of a picture.
pub struct Claim {
    format: Format,
    width: u32,
    height: u32,
    modifier: Modifier,
    /// Descriptor, stride and offset of each plane.
    planes: Vec<(c_int, c_int, c_int)>,
}

door! {
    /// Makes a buffer of somebody's descriptors, which stay the caller's.
    pub fn bo_import(gbm: Given<DeviceState>, kind: u32, buffer: *mut c_void, flags: Flags) -> *mut abi::Bo, or null_mut(), {
        // SAFETY: it is this function's promise.
        let claim = unsafe { Claim::from_c(gbm.flavour, kind, buffer, flags) }?;
        let width = claim.width;
        // The flags say what the importer does, not who else draws.
        let buffer = claim.import(&gbm, Usage::all())?;
        let layout = *buffer.layout();
        bo::new(&gbm, Some(buffer), layout, (layout.format, width))
    }
}

/// Checks what C claims of its descriptors as an import does before it asks the kernel, and gives that of plane 0.
///
/// # Errors
/// [`Failure`], as an import.
///
/// # Safety
/// `buffer` is null or what gbm.h says for this kind of import, whose descriptors stay open during the call.
pub unsafe fn check_import<'a>(
    device: &DeviceState,
    kind: u32,
    buffer: *mut c_void,
    flags: Flags,
) -> Result<BorrowedFd<'a>, Failure> {
    // SAFETY: the caller promises it.
    let claim = unsafe { Claim::from_c(device.flavour, kind, buffer, flags) }?;
    let (first, size_bytes) = claim.checked(device)?;
    claim.layout(claim.modifier, size_bytes)?;
    Ok(first)
}

impl Claim {
    /// A picture in `planes`, each with its descriptor, stride and offset in bytes.
    ///
    /// # Safety
    /// Descriptors that are open stay so while the claim is used.
    pub unsafe fn new(
        format: Format,
        (width, height): (u32, u32),
        modifier: Modifier,
        planes: impl IntoIterator<Item = (c_int, u32, u32)>,
    ) -> Result<Self, Failure> {
        let signed = |number: u32| c_int::try_from(number).map_err(|_| too_wide(format, width, height));
        let planes = planes.into_iter().map(|(fd, stride, offset)| Ok((fd, signed(stride)?, signed(offset)?)));
        Ok(Self { format, width, height, modifier, planes: planes.collect::<Result<_, Failure>>()? })
    }

    /// # Safety
    /// As [`check_import`].
    unsafe fn from_c(flavour: Flavour, kind: u32, buffer: *mut c_void, flags: Flags) -> Result<Self, Failure> {
        Usage::from_dialect(flavour.dialect(), flags.0.into())?;
        match flavour.import_kind(kind).ok_or(Failure::ImportType(kind))? {
            // SAFETY: gbm.h says that this type comes with this structure.
            ImportKind::Fd => Self::from_fd(&unsafe { argument::<ImportFd>(buffer) }?),
            // SAFETY: gbm.h says that this type comes with this structure.
            ImportKind::FdModifier => Self::from_fd_modifier(flavour, &unsafe { argument::<ImportFdModifier>(buffer) }?),
            // SAFETY: gbm.h says that this type comes with this structure.
            ImportKind::FdPlanar => Self::from_fd_planar(&unsafe { argument::<ImportFdPlanar>(buffer) }?),
        }
    }

    fn from_fd(data: &ImportFd) -> Result<Self, Failure> {
        let ImportFd { fd, width, height, stride, format } = *data;
        let stride = c_int::try_from(stride).map_err(|_| too_wide(format, width, height))?;
        Ok(Self { format: abi::canonical(format), width, height, modifier: Modifier::INVALID, planes: vec![(fd, stride, 0)] })
    }

    fn from_fd_modifier(flavour: Flavour, data: &ImportFdModifier) -> Result<Self, Failure> {
        let ImportFdModifier { width, height, modifier, mut fds, strides, offsets, .. } = *data;
        let format = abi::canonical(data.format);
        let (mut found, expected) = (data.num_fds as usize, format.planes().len());
        if found > abi::MAX_PLANES {
            return Err(Failure::ImportPlanes { format, modifier, found, expected });
        }
        if found == 1 && flavour.one_descriptor_serves_all() {
            (fds, found) = ([fds[0]; abi::MAX_PLANES], expected);
        }
        let planes = fds.iter().zip(strides).zip(offsets).take(found);
        let planes = planes.map(|((fd, stride), offset)| (*fd, stride, offset)).collect();
        Ok(Self { format, width, height, modifier, planes })
    }

    fn from_fd_planar(data: &ImportFdPlanar) -> Result<Self, Failure> {
        let ImportFdPlanar { fds, width, height, format, strides, offsets, format_modifiers } = *data;
        let (format, modifier) = (abi::canonical(format), format_modifiers[0]);
        let count = format.planes().len();
        if let Some(other) = format_modifiers.iter().take(count).find(|other| **other != modifier) {
            return Err(Failure::TwoModifiers(modifier, *other));
        }
        let planes = fds.into_iter().zip(strides).zip(offsets).take(count);
        // SAFETY: gbm.h says that the caller keeps them open during the call.
        unsafe { Self::new(format, (width, height), modifier, planes.map(|((fd, stride), offset)| (fd, stride, offset))) }
    }

    /// Imports the buffer, which was made for a usage. Of a modifier that the caller does not know the host is asked, who may have
    /// made it.
    ///
    /// # Errors
    /// [`Failure`], for what does not hold, and as the kernel refuses it.
    pub fn import(&self, device: &DeviceState, usage: Usage) -> Result<BufferObject, Failure> {
        let (first, size_bytes) = self.checked(device)?;
        let modifier = match self.modifier {
            Modifier::INVALID => self.implicit(device, first),
            told => told,
        };
        Ok(device.guest.import_made_for(first, &self.layout(modifier, size_bytes)?, usage)?)
    }

    /// The one buffer that all planes are in, and its size, when the claim is not wrong.
    fn checked<'a>(&self, device: &DeviceState) -> Result<(BorrowedFd<'a>, u64), Failure> {
        self.check(device)?;
        let (first, size_bytes) = self.descriptor()?;
        self.check_size(size_bytes)?;
        Ok((first, size_bytes))
    }

    fn check(&self, device: &DeviceState) -> Result<(), Failure> {
        let Self { format, width, height, modifier, .. } = *self;
        if format.planes().is_empty() {
            return Err(RequestError::UnknownFormat(format).into());
        }
        if width == 0 || height == 0 {
            return Err(RequestError::Empty { width, height, layers: 1 }.into());
        }
        let entries = device.guest.offer().table.of_format(format);
        let offered = entries.iter().find(|entry| entry.modifier == modifier);
        let usual = format.planes().len();
        let expected = offered.map_or(usual, |entry| entry.plane_count as usize);
        // Whoever made a buffer of another GPU knows how many planes its modifier has.
        let foreign = offered.is_none() && modifier.vendor().is_some() && self.planes.len() >= usual;
        if self.planes.len() != expected && !foreign {
            return Err(Failure::ImportPlanes { format, modifier, found: self.planes.len(), expected });
        }
        for (plane, (_, stride, offset)) in self.planes.iter().enumerate() {
            if *stride < 0 || *offset < 0 {
                return Err(Failure::Negative { plane, stride: *stride, offset: *offset });
            }
        }
        Ok(())
    }

    /// Whole rows, since whoever maps the buffer may touch the padding of the last one. What is no buffer has no size: the kernel
    /// refuses it.
    fn check_size(&self, found: u64) -> Result<(), Failure> {
        let planes = self.planes.iter().zip(self.format.planes());
        let end = |((_, stride, offset), format): (&(c_int, c_int, c_int), &PlaneFormat)| {
            format.rows(self.height) * *stride as u64 + *offset as u64
        };
        match planes.map(end).max() {
            Some(needed) if needed > found && found > 0 && may_lie_in_rows(self.modifier) => {
                Err(guest::Error::TooSmall { found, needed }.into())
            }
            _ => Ok(()),
        }
    }

    /// The one buffer that all planes are in, and its size.
    fn descriptor<'a>(&self) -> Result<(BorrowedFd<'a>, u64), Failure> {
        let (mut first, mut identity) = (None, None);
        for (plane, (number, ..)) in self.planes.iter().enumerate() {
            let fd = borrow(*number)?;
            let stat = rustix::fs::fstat(fd).map_err(|_| Failure::Descriptor(*number))?;
            if *identity.get_or_insert((stat.st_dev, stat.st_ino)) != (stat.st_dev, stat.st_ino) {
                return Err(Failure::OtherBuffer(plane));
            }
            first.get_or_insert(fd);
        }
        let fd = first.ok_or(Failure::Descriptor(-1))?;
        let size_bytes = rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0)).unwrap_or(0);
        Ok((fd, size_bytes))
    }

    /// What the claim means as a layout of a buffer of this size.
    fn layout(&self, modifier: Modifier, size_bytes: u64) -> Result<Layout, Failure> {
        let Self { format, width, height, .. } = *self;
        let plane = |(index, (_, stride, offset)): (usize, &(c_int, c_int, c_int))| {
            let (stride_bytes, offset_bytes) = (*stride as u32, *offset as u64);
            // Tiles say nothing of where a plane ends: at the next one, or with the buffer.
            let next = self.planes.iter().map(|(.., other)| *other as u64).filter(|other| *other > offset_bytes).min();
            let rows = format.planes().get(index).filter(|_| may_lie_in_rows(modifier));
            let size_bytes = match rows {
                Some(rows) => rows.rows(height).saturating_sub(1) * u64::from(stride_bytes) + rows.row_bytes(width),
                None => next.unwrap_or(size_bytes).saturating_sub(offset_bytes),
            };
            Plane { stride_bytes, offset_bytes, size_bytes }
        };
        let planes: Vec<_> = self.planes.iter().enumerate().map(plane).collect();
        let end = planes.iter().map(|plane| plane.offset_bytes.saturating_add(plane.size_bytes)).max().unwrap_or(0);
        let planes = Planes::new(&planes).unwrap_or_default();
        let layout = Layout { format, width, height, layers: 1, modifier, planes, layer_stride_bytes: end, size_bytes: end };
        // Rows are checked also where nobody says that they are rows: no tiling is narrower.
        let checked = if modifier == Modifier::INVALID { Layout { modifier: Modifier::LINEAR, ..layout } } else { layout };
        checked.check()?;
        Ok(layout)
    }

    /// The modifier of a buffer of which the caller does not say it: the host's word, else LINEAR where nothing else is offered.
    fn implicit(&self, device: &DeviceState, fd: BorrowedFd<'_>) -> Modifier {
        // Of a texture no host of virgl says it.
        if device.kind() != Some(BackendKind::Virgl)
            && let Ok(known) = device.guest.import(fd)
        {
            return known.layout().modifier;
        }
        let mut entries = device.guest.offer().table.of_format(self.format).iter();
        if entries.all(|entry| entry.modifier == Modifier::LINEAR) { Modifier::LINEAR } else { Modifier::INVALID }
    }
}

/// Whether strides and offsets say all: LINEAR, and what nobody says.
fn may_lie_in_rows(modifier: Modifier) -> bool {
    matches!(modifier, Modifier::LINEAR | Modifier::INVALID)
}

fn too_wide(format: Format, width: u32, height: u32) -> LayoutError {
    LayoutError::Overflow { format, width, height, layers: 1 }
}

fn borrow<'a>(number: c_int) -> Result<BorrowedFd<'a>, Failure> {
    if number < 0 {
        return Err(Failure::Descriptor(number));
    }
    // SAFETY: it is not -1, and gbm.h says that the caller keeps it open during the call; fstat finds one that is closed.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}
