//! From gbm's words to a [`BufferRequest`], by the one rule that also answers whether a format is supported.

use super::device::DeviceState;
use crate::Failure;
use crate::abi::{self, Flags};
use virgbm::{BufferRequest, Format, Modifier, Support, Unsupported, Usage};

/// What gbm's flags do not say and its users do with any buffer: they draw to it, sample it, and map it. Each is asked for where
/// the host's entry that serves the request anyway has it, so that the wish never changes the modifier nor refuses the buffer. A
/// mapping is prepared when a buffer is made or never; for tiles it would be in vain, since nobody here brings them into rows.
const DRAWN: Usage = Usage::RENDER.union(Usage::TEXTURE);
const MAPPED: Usage = Usage::CPU_READ_RARELY.union(Usage::CPU_WRITE_RARELY);

/// How many modifiers of a list a refusal tells.
const MOST_TOLD: usize = 16;

/// The request for a buffer. INVALID in a list, as an empty list, leaves the choice to the host where nothing else fits.
pub fn request(
    device: &DeviceState,
    (width, height): (u32, u32),
    format: Format,
    flags: Flags,
    modifiers: &[Modifier],
) -> Result<BufferRequest, Failure> {
    let format = device.flavour.laid_out_as(abi::canonical(format), flags);
    if device.flavour.refuses_rendered_cursor(flags) {
        return Err(Failure::RenderedCursor);
    }
    if flags.contains(Flags::LINEAR) && !modifiers.is_empty() {
        return Err(Failure::LinearWithList);
    }
    let usage = Usage::from_dialect(device.flavour.dialect(), flags.0.into())?;
    request_for_usage(device, (width, height), format, usage, modifiers)
}

/// The request for a buffer of a usage; where that is none, it is for whatever the caller's flavour may mean.
pub fn request_for_usage(
    device: &DeviceState,
    (width, height): (u32, u32),
    format: Format,
    usage: Usage,
    modifiers: &[Modifier],
) -> Result<BufferRequest, Failure> {
    let mut request = BufferRequest::new(format, width, height, usage);
    let support = *choose(device, &mut request, modifiers)?;
    let mut wishes = DRAWN | device.flavour.unsaid(usage);
    if device.cpu_is_cheap() && device.lies_in_rows(support.modifier) && !usage.contains(Usage::PROTECTED) {
        wishes |= MAPPED;
    }
    request.usage |= support.usages & wishes;
    request.check()?;
    if support.guest_layout {
        request.width = widened(format, width, device.stride_bytes);
    }
    Ok(request)
}

/// The host's entry for a request, which gets the modifiers of the list that the host has.
fn choose<'a>(device: &'a DeviceState, request: &mut BufferRequest, listed: &[Modifier]) -> Result<&'a Support, Failure> {
    let table = &device.guest.offer().table;
    let offered = || table.of_format(request.format).iter().map(|support| support.modifier);
    let common: Vec<_> = offered().filter(|modifier| *modifier != Modifier::INVALID && listed.contains(modifier)).collect();
    let implicit = listed.is_empty() || listed.contains(&Modifier::INVALID);
    if common.is_empty() && !implicit && offered().next().is_some() {
        let (listed, offered) = (listed.iter().copied().take(MOST_TOLD).collect(), offered().collect());
        return Err(Failure::NoCommonModifier { format: request.format, listed, offered });
    }
    request.modifiers = common;
    match table.choose(request) {
        Err(Unsupported::Modifier { .. }) if implicit && !request.modifiers.is_empty() => {
            request.modifiers.clear();
            Ok(table.choose(request)?)
        }
        chosen => Ok(chosen?),
    }
}

/// The smallest width from this one on whose rows, packed, are multiples of an alignment in every plane.
fn widened(format: Format, width: u32, stride_bytes: u32) -> u32 {
    let even = |unit: &u32| format.planes().iter().all(|plane| plane.row_bytes(*unit).is_multiple_of(stride_bytes.into()));
    let unit = (0..u32::BITS).map(|shift| 1 << shift).find(even).unwrap_or(1);
    width.checked_next_multiple_of(unit).unwrap_or(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_multiples_in_every_plane() {
        assert_eq!(widened(Format::XRGB8888, 1366, 1), 1366);
        assert_eq!(widened(Format::XRGB8888, 1366, 256), 1408);
        assert_eq!(widened(Format::NV12, 1366, 256), 1536);
        assert_eq!(widened(Format::YUV420, 1366, 256), 1536);
        assert_eq!(widened(Format::RGB888, 100, 64), 128);
        assert_eq!(widened(Format::R8, u32::MAX, 64), u32::MAX);
    }
}
