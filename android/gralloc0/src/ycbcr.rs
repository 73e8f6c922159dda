//! A locked buffer as `android_ycbcr`: where luma and chroma start, and how far samples are apart.

use crate::failure::Failure;
use std::ffi::c_void;
use virgbm_android_abi::gralloc::YCbCr;
use virgbm_android_handle::Imported;
use virgbm_android_handle::planes::{ComponentType, PlaneLayout, plane_layouts};

/// The places of a buffer's components from this address on, which is null where only the offsets are wanted.
///
/// # Errors
/// [`Failure::NoYCbCr`] for a format that the structure can't describe.
pub fn describe(buffer: &Imported, address: *mut u8) -> Result<YCbCr, Failure> {
    let layouts = plane_layouts(buffer.description());
    let place = |kind: ComponentType| {
        layouts.iter().find_map(|plane| {
            let component = plane.components.iter().find(|component| component.kind == kind)?;
            let offset = plane.offset_bytes + component.offset_bits.unsigned_abs() / 8;
            Some((plane, address.wrapping_add(offset as usize).cast::<c_void>()))
        })
    };
    let places = (place(ComponentType::Y), place(ComponentType::Cb), place(ComponentType::Cr));
    let (Some((luma, y)), Some((blue, cb)), Some((red, cr))) = places else {
        return Err(Failure::NoYCbCr(buffer.description().hal_format));
    };
    // Luma has no step of its own, and both chromas share theirs.
    let alike = |plane: &PlaneLayout| (plane.stride_bytes, plane.sample_increment_bits);
    if luma.components.len() != 1 || alike(blue) != alike(red) {
        return Err(Failure::NoYCbCr(buffer.description().hal_format));
    }
    let (ystride, cstride) = (luma.stride_bytes as usize, blue.stride_bytes as usize);
    Ok(YCbCr { y, cb, cr, ystride, cstride, chroma_step: (blue.sample_increment_bits / 8) as usize, reserved: [0; 8] })
}
