//! What must hold on every host: one suite over devices, and what each can and cannot as a row of a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::fd::AsFd;
use virgbm::format::{ComponentKind, PlaneFormat};
use virgbm::guest::{Access, BufferObject, Device, Mapping};
use virgbm::layout::Region;
use virgbm::{BufferRequest, Format, Layout, Modifier, Usage};

const SIZES: [(u32, u32); 3] = [(1, 1), (64, 64), (129, 67)];

/// What came of one format on one host.
struct Outcome {
    format: Format,
    /// The modifiers of what was made.
    made: Vec<Modifier>,
    /// The sizes that were refused, each with the reason.
    refused: Vec<((u32, u32), String)>,
}

/// What a byte of a buffer holds: `seed` tells one filling from another.
fn byte(seed: u8, plane: usize, row: u64, at: u64) -> u8 {
    (at * 7 + row * 13 + plane as u64 * 101) as u8 ^ seed
}

/// Fills a region through a mapping of its own, which stays.
fn fill(buffer: &BufferObject, region: Region, access: Access, seed: u8) -> Mapping {
    let mapping = buffer.map(region, access).unwrap();
    for plane in 0..buffer.layout().format.planes().len() {
        let bytes = mapping.plane(plane).unwrap();
        let (first_row, first_byte) = start(buffer.layout(), plane, region);
        for row in 0..bytes.rows {
            let line: Vec<u8> = (0..bytes.row_bytes).map(|at| byte(seed, plane, first_row + row, first_byte + at)).collect();
            mapping.write_row(plane, row, &line).unwrap();
        }
    }
    mapping
}

/// Where a region starts in a plane: its row, and the byte in it.
fn start(layout: &Layout, plane: usize, region: Region) -> (u64, u64) {
    let inside = layout.plane_region(plane, region).unwrap().offset_bytes - layout.planes[plane].offset_bytes;
    let stride = u64::from(layout.planes[plane].stride_bytes);
    (inside / stride, inside % stride)
}

/// Checks that the buffer holds `seed`, and in `patch` another; says where it does not. Padding may have any value.
fn check(buffer: &BufferObject, seed: u8, patch: Option<(Region, u8)>) -> Result<(), String> {
    let layout = buffer.layout();
    let mapping = buffer.map(layout.whole(), Access::READ).map_err(|error| error.to_string())?;
    for (plane, format) in layout.format.planes().iter().enumerate() {
        let bytes = mapping.plane(plane).unwrap();
        let patched =
            patch.map(|(region, seed)| (layout.plane_region(plane, region).unwrap(), start(layout, plane, region), seed));
        let meaning = meaning(format);
        for row in 0..bytes.rows {
            let mut line = vec![0; bytes.row_bytes as usize];
            mapping.read_row(plane, row, &mut line).unwrap();
            for ((at, found), mask) in (0..).zip(&line).zip(meaning.iter().cycle()) {
                let inside = patched.filter(|(region, (first_row, first_byte), _)| {
                    (*first_row..first_row + region.rows).contains(&row)
                        && (*first_byte..first_byte + region.row_bytes).contains(&at)
                });
                let expected = byte(inside.map_or(seed, |(_, _, seed)| seed), plane, row, at);
                if (*found ^ expected) & mask != 0 {
                    return Err(format!("what was written comes back changed: plane {plane}: {found:#x} for {expected:#x}"));
                }
            }
        }
    }
    Ok(())
}

/// The bits of each byte of a block that are no padding.
fn meaning(plane: &PlaneFormat) -> Vec<u8> {
    let mut masks = vec![0u8; plane.block_bytes.into()];
    for (offset, component) in plane.components_at().filter(|(_, component)| component.kind != ComponentKind::X) {
        for bit in offset..offset + u32::from(component.bits) {
            masks[bit as usize / 8] |= 1 << (bit % 8);
        }
    }
    masks
}

/// A buffer's life: filled, a rectangle of it written over, read back, seen by another device, destroyed.
fn live(device: &Device, other: &Device, request: &BufferRequest) -> Result<Modifier, String> {
    let buffer = device.create(request).map_err(|error| error.to_string())?;
    let layout = *buffer.layout();
    layout.check().unwrap();
    assert_eq!(device.layout(request).unwrap(), layout, "what is promised is made");
    assert!(layout.size_bytes <= buffer.size_bytes());
    fill(&buffer, layout.whole(), Access::WRITE, 0).finish().unwrap();
    check(&buffer, 0, None)?;
    let (width, height) = (layout.width, layout.height);
    let patch = Region { x: width / 3, y: height / 3, width: width / 3 + 1, height: height / 3 + 1 };
    // Who reads beside the one that writes sees it, and takes nothing away.
    let writes = fill(&buffer, patch, Access::READ | Access::WRITE, 0x55);
    check(&buffer, 0, Some((patch, 0x55)))?;
    drop(writes);
    check(&buffer, 0, Some((patch, 0x55)))?;
    let imported = other.import_with_layout(buffer.export().unwrap().as_fd(), &layout).unwrap();
    drop(buffer);
    check(&imported, 0, Some((patch, 0x55)))?;
    Ok(layout.modifier)
}

/// Runs the suite on a device and another file of the same host, and tells what the host makes and what it refuses.
///
/// With `drawn` the buffers are also such that the host draws into, so that what was written is read back from the host.
pub fn run(host: &str, device: &Device, other: &Device, drawn: bool) -> String {
    let cpu = Usage::CPU_READ_OFTEN | Usage::CPU_WRITE_OFTEN;
    let mut usages = vec![cpu];
    if drawn {
        usages.push(cpu | Usage::RENDER);
    }
    let formats = Format::all().iter().copied().filter(|format| !format.planes().is_empty());
    let mut outcomes = Vec::new();
    for format in formats {
        let mut outcome = Outcome { format, made: Vec::new(), refused: Vec::new() };
        for (usage, (width, height)) in usages.iter().flat_map(|usage| SIZES.map(|size| (*usage, size))) {
            if usage != cpu && device.supports(format, usage).is_err() {
                continue;
            }
            match live(device, other, &BufferRequest::new(format, width, height, usage)) {
                Ok(modifier) => outcome.made.push(modifier),
                Err(reason) => outcome.refused.push(((width, height), reason)),
            }
        }
        outcomes.push(outcome);
    }
    let data = BufferRequest::new(Format::R8, 16_384, 1, cpu | Usage::GPU_DATA);
    if device.supports(Format::R8, data.usage).is_ok() {
        live(device, other, &data).unwrap();
    }
    threads(device);
    describe(host, device, &outcomes)
}

/// Four threads at once, each with buffers of its own.
fn threads(device: &Device) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..10 {
                    let usage = Usage::CPU_READ_OFTEN | Usage::CPU_WRITE_OFTEN;
                    let buffer = device.create(&BufferRequest::new(Format::XRGB8888, 40 + thread, 30 + round, usage)).unwrap();
                    fill(&buffer, buffer.layout().whole(), Access::WRITE, thread as u8).finish().unwrap();
                    check(&buffer, thread as u8, None).unwrap();
                }
            });
        }
    });
}

/// A row of the table that tests/run gathers, and behind it why something was refused.
fn describe(host: &str, device: &Device, outcomes: &[Outcome]) -> String {
    let made = outcomes.iter().filter(|outcome| !outcome.made.is_empty());
    let planar = made.clone().filter(|outcome| outcome.format.planes().len() > 1).count();
    let modifiers: BTreeSet<_> = made.clone().flat_map(|outcome| &outcome.made).map(ToString::to_string).collect();
    let backend = device.verdicts().iter().find(|verdict| verdict.chosen).unwrap().kind.name();
    let (count, of) = (made.count(), outcomes.len());
    let modifiers: Vec<_> = modifiers.into_iter().collect();
    let mut report = format!("| {host} | {backend} | {count} of {of} | {planar} | {} |", modifiers.join(" "));
    // What is refused for the same reason, together.
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for outcome in outcomes {
        for ((width, height), reason) in &outcome.refused {
            let (format, size) = (outcome.format.to_string(), format!("{width}x{height}"));
            let what = if outcome.made.is_empty() { format.clone() } else { format!("{format} {size}") };
            let list = reasons.entry(reason.replace(&format, "a format").replace(&size, "a size")).or_default();
            if !list.contains(&what) {
                list.push(what);
            }
        }
    }
    for (reason, what) in reasons {
        write!(report, "\n{host} does not make {}: {reason}", what.join(", ")).unwrap();
    }
    report
}
