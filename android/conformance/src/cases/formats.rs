//! Formats: planes, components, and pixels in them.

use crate::case::{
    CPU, Case, Checked, Trouble, allocate, allocate_optional, check, import, lock, of_format, of_mapper, same, unlock,
};
use crate::library::stream::{List, Plane, kind};
use crate::library::{Buffer, Mapper, Suite};
use crate::sys::memory::Bytes;
use virgbm_android_handle::HalFormat as F;

pub const CASES: &[Case] = &[
    of_mapper("RGBA_8888, RGBX_8888, RGB_888, RGB_565 and BGRA_8888 are there", |suite, mapper| each_rgb(suite, mapper, true)),
    of_mapper("the other formats of one plane are right where they are there", |suite, mapper| each_rgb(suite, mapper, false)),
    of_mapper("a row of RGB_888 is exactly three times its stride", rgb_888_rows),
    of_mapper("YCRCB_420_SP has Cr before Cb, step 2", ycrcb_420_sp),
    of_mapper("YV12 has Y, Cr and Cb, one behind the other", yv12),
    of_mapper("YCBCR_420_888 is there, and its samples are kept", ycbcr_420_888),
    of_mapper("YCBCR_422_SP has chroma of half the width", ycbcr_422_sp),
    of_mapper("YCBCR_P010 has 10 bits above 6, chroma of half the size", |suite, mapper| {
        ten_bits(suite, mapper, F::YCBCR_P010, 2)
    }),
    of_mapper("YCBCR_P210 has 10 bits above 6, chroma of half the width", |suite, mapper| {
        ten_bits(suite, mapper, F::YCBCR_P210, 1)
    }),
    of_mapper("RAW10 has one packed component", |suite, mapper| packed(suite, mapper, F::RAW10)),
    of_mapper("RAW12 has one packed component", |suite, mapper| packed(suite, mapper, F::RAW12)),
    of_mapper("odd sizes round chroma up", odd_sizes),
    of_mapper("BLOB is bytes, up to 20 million", blob),
];

const R: i64 = 1 << 10;
const G: i64 = 1 << 11;
const B: i64 = 1 << 12;
const A: i64 = 1 << 30;
const Y: i64 = 1;
const CB: i64 = 2;
const CR: i64 = 4;
const RAW: i64 = 1 << 20;

/// A format: its name, its number, bytes of a pixel, and components by type, offset and size in bits.
type Row = (&'static str, i32, usize, &'static [(i64, i64, i64)]);

const MANDATORY: [Row; 5] = [
    ("RGBA_8888", F::RGBA_8888, 4, &[(R, 0, 8), (G, 8, 8), (B, 16, 8), (A, 24, 8)]),
    ("RGBX_8888", F::RGBX_8888, 4, &[(R, 0, 8), (G, 8, 8), (B, 16, 8)]),
    ("RGB_888", F::RGB_888, 3, &[(R, 0, 8), (G, 8, 8), (B, 16, 8)]),
    ("RGB_565", F::RGB_565, 2, &[(B, 0, 5), (G, 5, 6), (R, 11, 5)]),
    ("BGRA_8888", F::BGRA_8888, 4, &[(B, 0, 8), (G, 8, 8), (R, 16, 8), (A, 24, 8)]),
];

const OPTIONAL: [Row; 15] = [
    ("RGBA_FP16", F::RGBA_FP16, 8, &[(R, 0, 16), (G, 16, 16), (B, 32, 16), (A, 48, 16)]),
    ("RGBA_1010102", F::RGBA_1010102, 4, &[(R, 0, 10), (G, 10, 10), (B, 20, 10), (A, 30, 2)]),
    ("RGBA_10101010", F::RGBA_10101010, 8, &[(R, 6, 10), (G, 22, 10), (B, 38, 10), (A, 54, 10)]),
    ("R_8", F::R_8, 1, &[(R, 0, 8)]),
    ("R_16_UINT", F::R_16_UINT, 2, &[(R, 0, 16)]),
    ("RG_1616_UINT", F::RG_1616_UINT, 4, &[(R, 0, 16), (G, 16, 16)]),
    ("RAW16", F::RAW16, 2, &[(RAW, 0, 16)]),
    ("RAW_OPAQUE", F::RAW_OPAQUE, 2, &[(RAW, 0, 16)]),
    ("Y8", F::Y8, 1, &[(Y, 0, 8)]),
    ("Y16", F::Y16, 2, &[(Y, 0, 16)]),
    ("DEPTH_16", F::DEPTH_16, 2, &[]),
    ("DEPTH_24", F::DEPTH_24, 4, &[]),
    ("DEPTH_24_STENCIL_8", F::DEPTH_24_STENCIL_8, 4, &[]),
    ("DEPTH_32F", F::DEPTH_32F, 4, &[]),
    ("DEPTH_32F_STENCIL_8", F::DEPTH_32F_STENCIL_8, 8, &[]),
];

fn planes(buffer: &Buffer<'_>) -> Result<Vec<Plane>, Trouble> {
    Ok(buffer.value::<List<Plane>>(kind::PLANE_LAYOUTS)?.0)
}

fn components(plane: &Plane) -> Vec<(i64, i64, i64)> {
    let standard = plane.components.iter().filter(|part| part.kind.name.ends_with(".PlaneLayoutComponentType"));
    standard.map(|part| (part.kind.value, part.offset_bits, part.size_bits)).collect()
}

/// All bytes of a buffer that its planes have.
fn reach(planes: &[Plane]) -> usize {
    planes.iter().map(|plane| plane.offset() + plane.size()).max().unwrap_or(0)
}

fn each_rgb(suite: &Suite, mapper: &Mapper, mandatory: bool) -> Checked {
    let rows: &[Row] = if mandatory { &MANDATORY } else { &OPTIONAL };
    let mut missing = Vec::new();
    for (name, format, pixel_bytes, expected) in rows {
        let descriptor = of_format(*format);
        let allocated = if mandatory { allocate(suite, &descriptor) } else { allocate_optional(suite, &descriptor) };
        let allocated = match allocated {
            Err(Trouble::Skipped(_)) => {
                missing.push(*name);
                continue;
            }
            allocated => allocated?,
        };
        let buffer = import(mapper, &allocated.raw)?;
        let [plane] = &planes(&buffer)?[..] else { return Err(Trouble::Failed(format!("{name} has several planes"))) };
        same!(components(plane), expected.to_vec(), "components of {name}");
        same!(plane.increment(), *pixel_bytes as i64 * 8, "sample increment of {name}");
        same!(plane.stride(), allocated.stride as usize * pixel_bytes, "stride of {name} in bytes");
        same!((plane.samples(), plane.subsampling()), ((64, 64), (1, 1)), "samples of {name}");
        check!(plane.size() >= 64 * 64 * pixel_bytes, "{name} has {} bytes", plane.size());
        let length = plane.offset() + plane.size();
        lock(&buffer, CPU, length)?.fill(*format as usize);
        unlock(&buffer)?;
        same!(lock(&buffer, CPU, length)?.differs(*format as usize), None, "the first byte of {name} that is not as written");
        unlock(&buffer)?;
    }
    if missing.len() == rows.len() {
        return Err(Trouble::Skipped(format!("none of {missing:?} is there")));
    }
    Ok(())
}

fn rgb_888_rows(suite: &Suite, mapper: &Mapper) -> Checked {
    for width in [1, 5, 64, 100, 333, 1366] {
        let allocated = allocate(suite, &virgbm_android_handle::Descriptor { width, ..of_format(F::RGB_888) })?;
        let buffer = import(mapper, &allocated.raw)?;
        let stride: u32 = buffer.value(kind::STRIDE)?;
        same!(stride, allocated.stride, "STRIDE at width {width}");
        let rows = planes(&buffer)?.first().map_or(0, Plane::stride);
        same!(rows, stride as usize * 3, "a row at width {width}");
        same!(buffer.value::<u64>(kind::WIDTH)?, width as u64, "WIDTH");
    }
    Ok(())
}

/// Where the samples of a component are, as `android_ycbcr` has it: offset, stride, and bytes from one to the next.
fn place(planes: &[Plane], component: i64) -> Result<(usize, usize, usize, Plane), Trouble> {
    let found = planes.iter().find_map(|plane| {
        let part = plane.components.iter().find(|part| part.kind.value == component)?;
        Some((plane.offset() + part.offset_bits as usize / 8, plane.stride(), plane.increment() as usize / 8, plane.clone()))
    });
    found.ok_or_else(|| Trouble::Failed(format!("no plane has component {component}")))
}

/// Writes samples of luma and both chromas, and reads them with another lock.
fn samples(buffer: &Buffer<'_>, sample_bytes: usize) -> Checked {
    let planes = planes(buffer)?;
    let places = [place(&planes, Y)?, place(&planes, CB)?, place(&planes, CR)?];
    let each = |bytes: &Bytes, visit: &dyn Fn(&Bytes, usize, u8) -> bool| {
        places.iter().zip([3, 5, 7]).all(|((offset, stride, step, plane), seed)| {
            let (width, height) = plane.samples();
            (0..height).all(|row| {
                (0..width).all(|column| {
                    let at = offset + row * stride + column * step;
                    (0..sample_bytes).all(|byte| visit(bytes, at + byte, (row * 31 + column * seed + byte) as u8))
                })
            })
        })
    };
    let length = reach(&planes);
    let written = lock(buffer, CPU, length)?;
    each(&written, &|bytes, at, value| {
        bytes.set(at, value);
        true
    });
    unlock(buffer)?;
    let read = lock(buffer, CPU, length)?;
    let kept = each(&read, &|bytes, at, value| bytes.get(at) == Some(value));
    unlock(buffer)?;
    check!(kept, "samples are not as written: {places:?}");
    Ok(())
}

fn ycrcb_420_sp(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate_optional(suite, &of_format(F::YCRCB_420_SP))?;
    let buffer = import(mapper, &allocated.raw)?;
    let planes = planes(&buffer)?;
    let (cb, _, step, plane) = place(&planes, CB)?;
    let (cr, ..) = place(&planes, CR)?;
    same!((cr + 1, step, plane.subsampling()), (cb, 2, (2, 2)), "Cr + 1, step and subsampling");
    samples(&buffer, 1)
}

fn yv12(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &of_format(F::YV12))?;
    let buffer = import(mapper, &allocated.raw)?;
    let planes = planes(&buffer)?;
    let order: Vec<_> = planes.iter().flat_map(components).map(|(kind, ..)| kind).collect();
    same!(order, vec![Y, CR, CB], "the planes");
    let (cr, cstride, step, red) = place(&planes, CR)?;
    let (cb, .., blue) = place(&planes, CB)?;
    same!((cb, step), (cr + cstride * 64 / 2, 1), "Cb, and the step");
    for plane in [red, blue] {
        same!((plane.samples(), plane.subsampling()), ((32, 32), (2, 2)), "samples of chroma");
        check!(plane.stride() >= 32, "a chroma stride of {}", plane.stride());
    }
    samples(&buffer, 1)
}

fn ycbcr_420_888(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate(suite, &of_format(F::YCBCR_420_888))?;
    let buffer = import(mapper, &allocated.raw)?;
    let planes = planes(&buffer)?;
    let (_, _, luma_step, _) = place(&planes, Y)?;
    let (_, cb_stride, cb_step, blue) = place(&planes, CB)?;
    let (_, cr_stride, cr_step, red) = place(&planes, CR)?;
    same!((blue.subsampling(), red.subsampling(), luma_step), ((2, 2), (2, 2), 1), "subsampling, and the step of luma");
    same!((cb_stride, cb_step), (cr_stride, cr_step), "stride and step of Cb");
    check!(matches!(cb_step, 1 | 2), "a step of {cb_step}");
    samples(&buffer, 1)
}

fn ycbcr_422_sp(suite: &Suite, mapper: &Mapper) -> Checked {
    let allocated = allocate_optional(suite, &of_format(F::YCBCR_422_SP))?;
    let buffer = import(mapper, &allocated.raw)?;
    let (_, _, step, plane) = place(&planes(&buffer)?, CB)?;
    same!((step, plane.subsampling(), plane.samples()), (2, (2, 1), (32, 64)), "step, subsampling and samples");
    samples(&buffer, 1)
}

fn ten_bits(suite: &Suite, mapper: &Mapper, format: i32, down: i64) -> Checked {
    let allocated = allocate_optional(suite, &of_format(format))?;
    let buffer = import(mapper, &allocated.raw)?;
    let planes = planes(&buffer)?;
    let [luma, chroma] = &planes[..] else { return Err(Trouble::Failed(format!("{} planes", planes.len()))) };
    same!((components(luma), luma.increment()), (vec![(Y, 6, 10)], 16), "luma");
    same!((components(chroma), chroma.increment()), (vec![(CB, 6, 10), (CR, 22, 10)], 32), "chroma");
    same!(chroma.subsampling(), (2, down), "subsampling");
    samples(&buffer, 2)
}

fn packed(suite: &Suite, mapper: &Mapper, format: i32) -> Checked {
    let allocated = allocate_optional(suite, &of_format(format))?;
    let buffer = import(mapper, &allocated.raw)?;
    let planes = planes(&buffer)?;
    let [plane] = &planes[..] else { return Err(Trouble::Failed(format!("{} planes", planes.len()))) };
    same!(components(plane), vec![(RAW, 0, -1)], "components");
    same!((plane.increment(), plane.subsampling()), (0, (1, 1)), "increment and subsampling");
    let bits = if format == F::RAW10 { 10 } else { 12 };
    check!(plane.stride() * 8 >= 64 * bits, "a row of {} bytes", plane.stride());
    lock(&buffer, CPU, reach(&planes))?.fill(bits);
    unlock(&buffer)
}

fn odd_sizes(suite: &Suite, mapper: &Mapper) -> Checked {
    for format in [F::YV12, F::YCBCR_420_888] {
        let descriptor = virgbm_android_handle::Descriptor { width: 63, height: 33, ..of_format(format) };
        let buffer = import(mapper, &allocate(suite, &descriptor)?.raw)?;
        let planes = planes(&buffer)?;
        same!(place(&planes, Y)?.3.samples(), (63, 33), "samples of luma");
        same!(place(&planes, CB)?.3.samples(), (32, 17), "samples of Cb");
        same!(place(&planes, CR)?.3.samples(), (32, 17), "samples of Cr");
        samples(&buffer, 1)?;
    }
    Ok(())
}

fn blob(suite: &Suite, mapper: &Mapper) -> Checked {
    for width in [1, 4097, 100_003, 20_000_003] {
        let descriptor = virgbm_android_handle::Descriptor { width, height: 1, ..of_format(F::BLOB) };
        let buffer = import(mapper, &allocate(suite, &descriptor)?.raw)?;
        same!(buffer.value::<u64>(kind::WIDTH)?, width as u64, "WIDTH");
        same!(buffer.value::<u64>(kind::HEIGHT)?, 1, "HEIGHT");
        let bytes = lock(&buffer, CPU, width as usize)?;
        for at in [0, width as usize / 2, width as usize - 1] {
            bytes.set(at, at as u8 ^ 0x5a);
        }
        unlock(&buffer)?;
        let bytes = lock(&buffer, CPU, width as usize)?;
        let last = width as usize - 1;
        same!(bytes.get(last), Some(last as u8 ^ 0x5a), "the last byte of {width}");
        unlock(&buffer)?;
    }
    Ok(())
}
