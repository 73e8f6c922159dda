//! [`Proof`]: whether a driver and the CPU agree about the bytes of an image. What fails here is not offered.

use crate::{Alignment, BufferRequest, ComponentKind, FormatInfo, Layout, PlaneFormat, Usage};

/// The size of images under proof: odd, which has every kind of padding.
pub const WIDTH: u32 = 67;
/// Its height.
pub const HEIGHT: u32 = 35;

/// What was tried, and why it is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The format with its modifier, or the capability.
    pub subject: String,
    /// Why it does not work; `None` where it does.
    pub refused: Option<String>,
}

/// An image under proof, as its driver and the CPU touch it.
pub trait Witness {
    /// What the driver sees: the planes packed.
    fn seen(&self) -> Result<Vec<u8>, String>;
    /// Lets the driver write what is packed.
    fn draw(&self, packed: &[u8]) -> Result<(), String>;
    /// Fills `bytes` by the CPU from an offset of the image's layout.
    fn look(&self, offset: u64, bytes: &mut [u8]) -> Result<(), String>;
    /// Writes `bytes` by the CPU.
    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), String>;
}

/// An image of [`WIDTH`] by [`HEIGHT`], and a buffer that holds its planes packed.
pub struct Proof {
    info: &'static FormatInfo,
    /// How the planes lie in what is packed.
    pub packed: Layout,
}

impl Proof {
    /// A proof of a format; an image of it is `extent` large, with whole samples of chroma.
    pub fn new(info: &'static FormatInfo, (width, height): (u32, u32)) -> Result<Self, String> {
        let whole = BufferRequest::new(info.format, width, height, Usage::TEXTURE);
        // A copy's offsets are whole texels.
        let alignment = Alignment { offset_bytes: 16, ..Alignment::PACKED };
        let packed = Layout::linear(&whole, alignment).map_err(|error| error.to_string())?;
        Ok(Self { info, packed })
    }

    /// The driver alone: what it writes is what it reads, and before that there is nothing.
    pub fn agree_about_texels(&self, image: &dyn Witness) -> Result<(), String> {
        if self.meant(image.seen()?).iter().any(|byte| *byte != 0) {
            return Err("a new image is not zeroed".to_owned());
        }
        let drawn = self.pattern(1);
        image.draw(&drawn)?;
        if self.meant(image.seen()?) == drawn { Ok(()) } else { Err("what the driver reads is not what it wrote".to_owned()) }
    }

    /// The CPU writes the rows of a linear image, and the driver reads them; then the other way round.
    pub fn agree_about_rows(&self, image: &dyn Witness, layout: &Layout) -> Result<(), String> {
        let (rows, masks) = (self.rows(layout)?, self.masks());
        for Row { at, packed, bytes } in &rows {
            let mut row = vec![1; *bytes];
            image.look(*at, &mut row)?;
            if row.iter().zip(masks.iter().skip(*packed)).any(|(byte, mask)| byte & mask != 0) {
                return Err("a new image is not zeroed".to_owned());
            }
        }
        let (drawn, found) = (self.pattern(2), self.pattern(3));
        let part = |bytes: &[u8], row: &Row| bytes.get(row.packed..row.packed + row.bytes).unwrap_or_default().to_vec();
        // Padding inside texels need not be kept.
        let meant = |row: &Row, bytes: &[u8]| -> Vec<u8> {
            bytes.iter().zip(masks.iter().skip(row.packed)).map(|(byte, mask)| byte & mask).collect()
        };
        for row in &rows {
            image.put(row.at, &part(&drawn, row))?;
        }
        let seen = image.seen()?;
        if rows.iter().any(|row| meant(row, &part(&seen, row)) != part(&drawn, row)) {
            return Err("the driver does not see what the CPU wrote".to_owned());
        }
        image.draw(&found)?;
        for row in &rows {
            let mut bytes = vec![0; row.bytes];
            image.look(row.at, &mut bytes)?;
            if meant(row, &bytes) != part(&found, row) {
                return Err("the CPU does not see what the driver wrote".to_owned());
            }
        }
        Ok(())
    }

    /// What is drawn to one of two images in the same memory is seen in the other.
    pub fn agree_about_twins(&self, first: &dyn Witness, second: &dyn Witness) -> Result<(), String> {
        for (seed, from, to) in [(4, first, second), (5, second, first)] {
            let drawn = self.pattern(seed);
            from.draw(&drawn)?;
            if self.meant(to.seen()?) != drawn {
                return Err("what one device draws is not what the other sees".to_owned());
            }
        }
        Ok(())
    }

    /// Packed bytes without the padding inside texels, which need not be kept.
    fn meant(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes.iter().zip(self.masks()).map(|(byte, mask)| byte & mask).collect()
    }

    /// Every row of the picture: where it is in the image, and where packed.
    fn rows(&self, layout: &Layout) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        for (plane, format) in self.info.planes.iter().enumerate() {
            let region = layout.plane_region(plane, layout.whole()).ok_or("a plane is missing")?;
            let packed = self.packed.planes.get(plane).ok_or("a plane is missing")?;
            for row in 0..format.rows(layout.height) {
                let at = region.offset_bytes + row * region.stride_bytes;
                let packed = packed.offset_bytes + row * u64::from(packed.stride_bytes);
                rows.push(Row { at, packed: packed as usize, bytes: region.row_bytes as usize });
            }
        }
        Ok(rows)
    }

    /// Of each packed byte the bits that are no padding.
    fn masks(&self) -> Vec<u8> {
        let mut masks = vec![0; self.packed.size_bytes as usize];
        for (plane, format) in self.packed.planes.iter().zip(self.info.planes) {
            let from = plane.offset_bytes as usize;
            let rows = masks.get_mut(from..from + plane.size_bytes as usize).unwrap_or_default();
            for (byte, mask) in rows.iter_mut().zip(meaning(format).iter().cycle()) {
                *byte = *mask;
            }
        }
        masks
    }

    /// Bytes that differ from place to place; the padding inside texels is zero.
    fn pattern(&self, seed: u64) -> Vec<u8> {
        let masks = self.masks();
        (0u64..).zip(masks).map(|(at, mask)| ((at * 7 + at / 251 + seed * 61 + 13) as u8) & mask).collect()
    }
}

struct Row {
    at: u64,
    packed: usize,
    bytes: usize,
}

/// The bits of each byte of a block that are no padding.
fn meaning(plane: &PlaneFormat) -> Vec<u8> {
    let mut masks = vec![0u8; plane.block_bytes.into()];
    for (offset, component) in plane.components_at().filter(|(_, component)| component.kind != ComponentKind::X) {
        for bit in offset..offset + u32::from(component.bits) {
            if let Some(mask) = masks.get_mut(bit as usize / 8) {
                *mask |= 1 << (bit % 8);
            }
        }
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;
    use std::cell::RefCell;

    /// A driver whose images are bytes, and which may see them wrongly.
    struct Bytes {
        layout: Layout,
        packed: Layout,
        bytes: RefCell<Vec<u8>>,
        wrong: fn(&mut Vec<u8>),
    }

    impl Bytes {
        /// Copies rows from one layout to another.
        fn copy(from: (&Layout, &[u8]), to: (&Layout, &mut [u8])) {
            for plane in 0..from.0.planes.len() {
                let (source, target) =
                    (from.0.plane_region(plane, from.0.whole()).unwrap(), to.0.plane_region(plane, to.0.whole()).unwrap());
                for row in 0..source.rows.min(target.rows) {
                    let at = |region: &crate::layout::PlaneRegion| (region.offset_bytes + row * region.stride_bytes) as usize;
                    let length = source.row_bytes.min(target.row_bytes) as usize;
                    to.1[at(&target)..][..length].copy_from_slice(&from.1[at(&source)..][..length]);
                }
            }
        }
    }

    impl Witness for Bytes {
        fn seen(&self) -> Result<Vec<u8>, String> {
            let mut packed = vec![0; self.packed.size_bytes as usize];
            Self::copy((&self.layout, &self.bytes.borrow()), (&self.packed, &mut packed));
            (self.wrong)(&mut packed);
            Ok(packed)
        }

        fn draw(&self, packed: &[u8]) -> Result<(), String> {
            Self::copy((&self.packed, packed), (&self.layout, &mut self.bytes.borrow_mut()));
            Ok(())
        }

        fn look(&self, offset: u64, bytes: &mut [u8]) -> Result<(), String> {
            bytes.copy_from_slice(&self.bytes.borrow()[offset as usize..][..bytes.len()]);
            Ok(())
        }

        fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), String> {
            self.bytes.borrow_mut()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    fn prove(format: Format, wrong: fn(&mut Vec<u8>)) -> [Result<(), String>; 2] {
        let proof = Proof::new(format.info().unwrap(), (WIDTH + 1, HEIGHT + 1)).unwrap();
        let request = BufferRequest::new(format, WIDTH, HEIGHT, Usage::TEXTURE);
        let layout = Layout::linear(&request, Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 }).unwrap();
        // The image has whole samples, as those of drivers.
        let image = || {
            let whole = BufferRequest::new(format, WIDTH + 1, HEIGHT + 1, Usage::TEXTURE);
            let layout = Layout::linear(&whole, Alignment { stride_bytes: 64, offset_bytes: 64, size_bytes: 4096 }).unwrap();
            Bytes { bytes: RefCell::new(vec![0; layout.size_bytes as usize]), layout, packed: proof.packed, wrong }
        };
        let rows = Bytes { layout, bytes: RefCell::new(vec![0; layout.size_bytes as usize]), packed: proof.packed, wrong };
        [proof.agree_about_texels(&image()), proof.agree_about_rows(&rows, &layout)]
    }

    #[test]
    fn a_driver_that_sees_what_is_there_is_believed() {
        for format in [Format::ARGB8888, Format::NV12, Format::P010, Format::YVU420, Format::RGB565] {
            assert_eq!(prove(format, |_| {}), [Ok(()), Ok(())], "{format}");
        }
    }

    #[test]
    fn padding_inside_texels_may_be_anything() {
        let opaque = |bytes: &mut Vec<u8>| bytes.iter_mut().skip(3).step_by(4).for_each(|alpha| *alpha = 0xff);
        assert_eq!(prove(Format::XRGB8888, opaque), [Ok(()), Ok(())]);
        assert!(prove(Format::ARGB8888, opaque).iter().all(Result::is_err));
    }

    #[test]
    fn a_driver_that_sees_something_else_is_not_believed() {
        let last = |bytes: &mut Vec<u8>| {
            if let Some(byte) = bytes.iter_mut().rev().find(|byte| **byte != 0) {
                *byte ^= 1;
            }
        };
        let [texels, rows] = prove(Format::NV12, last);
        assert!(texels.unwrap_err().contains("not what it wrote") && rows.unwrap_err().contains("does not see"));
        let stale = |bytes: &mut Vec<u8>| bytes.fill(1);
        assert!(prove(Format::R8, stale)[0].as_ref().unwrap_err().contains("not zeroed"));
    }
}
