//! A buffer's planes in the words of the HAL (`PlaneLayout.aidl`), and its chroma (`ChromaSiting.aidl`).

use crate::format::HalFormat;
use crate::handle::Description;
use crate::usage::{Asked, CAMERA, VIDEO};
use virgbm::{ComponentKind, FormatClass, PlaneFormat, Usage};

/// `PlaneLayoutComponentType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
#[allow(missing_docs)]
pub enum ComponentType {
    Y = 1,
    Cb = 1 << 1,
    Cr = 1 << 2,
    R = 1 << 10,
    G = 1 << 11,
    B = 1 << 12,
    Raw = 1 << 20,
    A = 1 << 30,
}

/// `PlaneLayoutComponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneComponent {
    /// What it is.
    pub kind: ComponentType,
    /// From the start of a sample.
    pub offset_bits: i64,
    /// -1 where samples are packed across bytes.
    pub size_bits: i64,
}

/// `PlaneLayout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneLayout {
    /// What a sample holds.
    pub components: Vec<PlaneComponent>,
    /// From the start of the buffer.
    pub offset_bytes: u64,
    /// From sample to sample; 0 where samples are packed across bytes.
    pub sample_increment_bits: u64,
    /// From row to row.
    pub stride_bytes: u64,
    /// Of one row.
    pub width_samples: u64,
    /// How many rows.
    pub height_samples: u64,
    /// Of the plane.
    pub size_bytes: u64,
    /// Pixels of the picture for one sample, across.
    pub horizontal_subsampling: u64,
    /// Pixels of the picture for one sample, down.
    pub vertical_subsampling: u64,
}

/// `ChromaSiting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum ChromaSiting {
    /// There is no chroma.
    None = 0,
    /// Nobody says.
    Unknown = 1,
    /// In the middle of the pixels that share it, as cameras and JPEG have it.
    Interstitial = 2,
    /// At the left one of them, as video codecs have it.
    CositedHorizontal = 3,
}

/// The planes that hold pixels; those that a modifier adds are its own business.
pub fn plane_layouts(description: &Description) -> Vec<PlaneLayout> {
    let layout = &description.layout;
    let meaning = HalFormat::of(description.hal_format).and_then(|row| row.meaning);
    let planes = layout.planes.iter().zip(layout.format.planes());
    let layouts = planes.map(|(plane, format)| {
        let packed = format.components.iter().any(|component| component.kind == ComponentKind::Raw);
        // A block of several samples, such as YUYV, is one here: its chroma belongs to all of them.
        let (samples, horizontal) = if packed { (1, 1) } else { (u64::from(format.block_width), u64::from(format.block_width)) };
        let horizontal_subsampling = horizontal * u64::from(format.horizontal_subsampling);
        PlaneLayout {
            components: components(format, meaning, packed),
            offset_bytes: plane.offset_bytes,
            sample_increment_bits: if packed { 0 } else { u64::from(format.block_bytes) * 8 },
            stride_bytes: plane.stride_bytes.into(),
            width_samples: u64::from(layout.width.div_ceil(u32::from(format.horizontal_subsampling))).div_ceil(samples),
            height_samples: format.rows(layout.height),
            size_bytes: plane.size_bytes,
            horizontal_subsampling,
            vertical_subsampling: format.vertical_subsampling.into(),
        }
    });
    layouts.collect()
}

fn components(format: &PlaneFormat, meaning: Option<ComponentKind>, packed: bool) -> Vec<PlaneComponent> {
    if packed {
        return vec![PlaneComponent { kind: ComponentType::Raw, offset_bits: 0, size_bits: -1 }];
    }
    let named = format.components_at().filter_map(|(offset, component)| {
        let kind = match meaning.unwrap_or(component.kind) {
            ComponentKind::Y => ComponentType::Y,
            ComponentKind::Cb => ComponentType::Cb,
            ComponentKind::Cr => ComponentType::Cr,
            ComponentKind::R => ComponentType::R,
            ComponentKind::G => ComponentType::G,
            ComponentKind::B => ComponentType::B,
            ComponentKind::A => ComponentType::A,
            ComponentKind::Raw => ComponentType::Raw,
            // The HAL has no words for padding, depth, stencil and palettes.
            ComponentKind::X | ComponentKind::D | ComponentKind::S | ComponentKind::Index => return None,
        };
        Some(PlaneComponent { kind, offset_bits: offset.into(), size_bits: component.bits.into() })
    });
    named.collect()
}

/// Where chroma lies: by who writes the buffer, since no format says it.
pub fn chroma_siting(description: &Description) -> ChromaSiting {
    let info = description.layout.format.info();
    let of_yuv = info.is_some_and(|info| info.class == FormatClass::Yuv && info.has(ComponentKind::Cb));
    let usage = Asked::from_word(description.usage).map_or(Usage::empty(), Asked::all);
    match of_yuv {
        false => ChromaSiting::None,
        true if usage.intersects(CAMERA) => ChromaSiting::Interstitial,
        true if usage.intersects(VIDEO) => ChromaSiting::CositedHorizontal,
        true => ChromaSiting::Unknown,
    }
}
