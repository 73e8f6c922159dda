//! EDID: what a screen tells of itself, in the 128-byte base block of version 1.4.

/// Bytes of a base block.
pub(super) const BLOCK_BYTES: usize = 128;

/// Starts every base block.
const HEADER: [u8; 8] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];

/// Three letters for who made it, with a number for what was made; one serial number would be the same on every screen.
const MANUFACTURER: [u8; 3] = *b"VGB";
const PRODUCT: u16 = 1;
const SERIAL: u32 = 0;

/// In place of the week of manufacture: the year is that of the model.
const MODEL_YEAR_FOLLOWS: u8 = 0xff;
const MODEL_YEAR: u16 = 2026;

const VERSION: [u8; 2] = [1, 4];

/// Digital, eight bits a colour, over no interface that has a number.
const VIDEO_INPUT: u8 = 0x80 | 0b010 << 4;
/// A gamma of 2.2, as hundredths above 1.
const GAMMA: u8 = 120;
/// sRGB is the default colour space; the preferred mode has the screen's own pixels.
const FEATURES: u8 = 0b110;

/// x and y of sRGB's red, green, blue and white in ten-thousandths.
const CHROMATICITY: [[u32; 2]; 4] = [[6400, 3300], [3000, 6000], [1500, 600], [3127, 3290]];

/// None of the modes that a bit stands for, and none of the eight that two bytes stand for.
const ESTABLISHED_TIMINGS: [u8; 3] = [0; 3];
const STANDARD_TIMINGS: [u8; 16] = [1; 16];

/// Descriptors of 18 bytes: one of a name, and one of nothing. Without continuous frequencies none has to tell their range.
const NAME_TAG: u8 = 0xfc;
const NAME: &[u8; 13] = b"virgbm\n      ";
const DUMMY_TAG: u8 = 0x10;

/// What a detailed timing tells: twelve bits hold no longer side, and for a shorter one the clock's steps are too coarse.
const SIDES: std::ops::RangeInclusive<u32> = 32..=4095;

const REFRESH_HERTZ: u32 = 60;
/// The unit of a timing's clock, in hertz.
const CLOCK_STEP_HERTZ: u32 = 10_000;
/// Separate digital synchronisation, positive across and negative down: the sign of reduced blanking.
const TIMING_FLAGS: u8 = 0b11010;

/// The base block of a screen of this size, whose preferred mode it is, at 60 Hz. `None` for one that no detailed timing holds:
/// a side is outside of 32 to 4095 pixels, or the pixel clock is above 655.35 MHz.
pub(super) fn base_block(width: u32, height: u32) -> Option<[u8; BLOCK_BYTES]> {
    let timing = Timing::new(width, height)?;
    let mut block = [
        &HEADER[..],
        &manufacturer_id().to_be_bytes(),
        &PRODUCT.to_le_bytes(),
        &SERIAL.to_le_bytes(),
        &[MODEL_YEAR_FOLLOWS, (MODEL_YEAR - 1990) as u8],
        &VERSION,
        &[VIDEO_INPUT, centimetres(width), centimetres(height), GAMMA, FEATURES],
        &chromaticity(),
        &ESTABLISHED_TIMINGS,
        &STANDARD_TIMINGS,
        &timing.descriptor(),
        &text_descriptor(NAME_TAG, NAME),
        &text_descriptor(DUMMY_TAG, &[0; 13]),
        &text_descriptor(DUMMY_TAG, &[0; 13]),
        // No extension follows.
        &[0],
    ]
    .concat();
    // All bytes together are 0.
    block.push(block.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte)));
    block.try_into().ok()
}

/// Five bits a letter, A being 1.
fn manufacturer_id() -> u16 {
    MANUFACTURER.iter().fold(0, |id, letter| id << 5 | u16::from(letter - b'A' + 1))
}

/// Ten bits a number: the lower two of each first, then the upper eight.
fn chromaticity() -> [u8; 10] {
    let [red, green, blue, white] = CHROMATICITY.map(|point| point.map(|part| (part * 1024 + 5000) / 10_000));
    let low = |[x, y]: [u32; 2]| ((x & 3) << 2 | y & 3) as u8;
    let high = |part: u32| (part >> 2) as u8;
    let [[red_x, red_y], [green_x, green_y], [blue_x, blue_y], [white_x, white_y]] =
        [red, green, blue, white].map(|point| point.map(high));
    let (first, second) = (low(red) << 4 | low(green), low(blue) << 4 | low(white));
    [first, second, red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y]
}

fn text_descriptor(tag: u8, text: &[u8; 13]) -> [u8; 18] {
    let mut descriptor = [0; 18];
    let [_, _, _, kind, _, rest @ ..] = &mut descriptor;
    *kind = tag;
    *rest = *text;
    descriptor
}

/// At 96 dots an inch.
fn millimetres(pixels: u32) -> u32 {
    (pixels * 254 + 480) / 960
}

fn centimetres(pixels: u32) -> u8 {
    u8::try_from((millimetres(pixels) + 5) / 10).unwrap_or(u8::MAX)
}

/// What is not picture in a line, in pixels, or in a frame, in lines.
#[derive(Clone, Copy)]
struct Blanking {
    whole: u32,
    front_porch: u32,
    sync: u32,
}

/// A mode in all its numbers, those of VESA's Coordinated Video Timings with reduced blanking; the clock alone is finer.
struct Timing {
    width: u32,
    height: u32,
    across: Blanking,
    down: Blanking,
    clock_steps: u16,
}

impl Timing {
    fn new(width: u32, height: u32) -> Option<Self> {
        if !SIDES.contains(&width) || !SIDES.contains(&height) {
            return None;
        }
        let across = Blanking { whole: 160, front_porch: 48, sync: 32 };
        let (front_porch, sync, least_back_porch) = (3, vertical_sync(width, height), 6);
        // 460 us at least, in lines that share the rest of the frame's 1/60 s.
        let lines = 460 * height * REFRESH_HERTZ / (1_000_000 - 460 * REFRESH_HERTZ) + 1;
        let down = Blanking { whole: lines.max(front_porch + sync + least_back_porch), front_porch, sync };
        let hertz = (width + across.whole) * (height + down.whole) * REFRESH_HERTZ;
        let clock_steps = u16::try_from((hertz + CLOCK_STEP_HERTZ / 2) / CLOCK_STEP_HERTZ).ok()?;
        Some(Self { width, height, across, down, clock_steps })
    }

    /// The timing's 18 bytes. Numbers are split: the low bits of each by itself, the high bits together.
    fn descriptor(&self) -> [u8; 18] {
        let Self { width, height, across, down, clock_steps } = *self;
        let [clock_low, clock_high] = clock_steps.to_le_bytes();
        let low = |number: u32| (number & 0xff) as u8;
        let high_nibbles = |first: u32, second: u32| ((first >> 8) << 4 | second >> 8) as u8;
        let (wide, high) = (millimetres(width), millimetres(height));
        [
            clock_low,
            clock_high,
            low(width),
            low(across.whole),
            high_nibbles(width, across.whole),
            low(height),
            low(down.whole),
            high_nibbles(height, down.whole),
            low(across.front_porch),
            low(across.sync),
            low(down.front_porch << 4 | down.sync),
            // The high bits of porches and syncs, none of which is long enough to have any.
            0,
            low(wide),
            low(high),
            high_nibbles(wide, high),
            // No borders.
            0,
            0,
            TIMING_FLAGS,
        ]
    }
}

/// Its length in lines tells the shape of the picture.
fn vertical_sync(width: u32, height: u32) -> u32 {
    let shapes = [(4, 3, 4), (16, 9, 5), (16, 10, 6), (5, 4, 7), (15, 9, 7)];
    shapes.iter().find(|(across, down, _)| width * down == height * across).map_or(10, |(_, _, lines)| *lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Width, height, whole width, whole height and refresh rate of the preferred mode, read back from the bytes.
    fn mode(block: &[u8; BLOCK_BYTES]) -> (u32, u32, u32, u32, f64) {
        let at = |index: usize| u32::from(block[54 + index]);
        let (width, across) = (at(2) | (at(4) & 0xf0) << 4, at(3) | (at(4) & 0x0f) << 8);
        let (height, down) = (at(5) | (at(7) & 0xf0) << 4, at(6) | (at(7) & 0x0f) << 8);
        let (whole_width, whole_height) = (width + across, height + down);
        let clock = f64::from(at(0) | at(1) << 8) * 10_000.0;
        (width, height, whole_width, whole_height, clock / f64::from(whole_width) / f64::from(whole_height))
    }

    fn sum(block: &[u8]) -> u8 {
        block.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn a_full_hd_screen_tells_of_itself_as_the_standard_says() {
        let block = base_block(1920, 1080).unwrap();
        assert_eq!(sum(&block), 0);
        assert_eq!(block[..8], [0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]);
        // V, G and B are letters 22, 7 and 2.
        assert_eq!(block[8..10], (22u16 << 10 | 7 << 5 | 2).to_be_bytes());
        assert_eq!(block[10..18], [1, 0, 0, 0, 0, 0, 0xff, 36]);
        assert_eq!(block[18..20], [1, 4]);
        assert_eq!(block[20..25], [0xa0, 51, 29, 120, 0x06]);
        assert_eq!(block[25..35], [0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54], "sRGB in EDIDs everywhere");
        assert_eq!(block[35..38], [0; 3]);
        assert_eq!(block[38..54], [1; 16]);
        // 138.65 MHz; 2080 by 1111; porches and syncs of 48, 32, 3 and 5; 508 mm by 286 mm.
        let timing = [0x29, 0x36, 0x80, 0xa0, 0x70, 0x38, 0x1f, 0x40, 48, 32, 0x35, 0, 0xfc, 0x1e, 0x11, 0, 0, 0x1a];
        assert_eq!(block[54..72], timing);
        assert_eq!(block[72..90], *b"\0\0\0\xfc\0virgbm\n      ");
        assert_eq!(block[90..108], *b"\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(block[108..126], block[90..108]);
        assert_eq!(block[126], 0, "no extension");
    }

    #[test]
    fn frames_are_as_long_as_the_coordinated_timings_say() {
        let whole = |width, height| {
            let (_, _, whole_width, whole_height, _) = mode(&base_block(width, height).unwrap());
            (whole_width, whole_height)
        };
        assert_eq!(whole(1024, 768), (1184, 790));
        assert_eq!(whole(1280, 1024), (1440, 1054));
        assert_eq!(whole(1920, 1200), (2080, 1235));
        assert_eq!(whole(3840, 2160), (4000, 2222));
    }

    #[test]
    fn sizes_at_the_edges_have_an_edid_or_none() {
        for (width, height) in
            [(32, 32), (32, 4095), (1024, 768), (1366, 768), (1920, 1080), (3840, 2160), (4095, 2160), (4095, 2495)]
        {
            let (read_width, read_height, _, _, refresh) = mode(&base_block(width, height).unwrap());
            assert_eq!((read_width, read_height), (width, height));
            assert!((59.0..=61.0).contains(&refresh), "{width}x{height}: {refresh}");
        }
        for (width, height) in
            [(0, 0), (31, 768), (1024, 31), (4096, 2160), (2160, 4096), (4095, 2496), (4095, 4095), (u32::MAX, u32::MAX)]
        {
            assert_eq!(base_block(width, height), None, "{width}x{height}");
        }
    }

    proptest! {
        #[test]
        fn any_screen_has_no_edid_or_one_of_its_size(width in 0u32..5000, height in 0u32..5000) {
            if let Some(block) = base_block(width, height) {
                let (read_width, read_height, _, _, refresh) = mode(&block);
                prop_assert_eq!((read_width, read_height, sum(&block)), (width, height, 0));
                prop_assert!((59.0..=61.0).contains(&refresh), "{}", refresh);
            } else {
                let clock = f64::from(width + 160) * f64::from(height + 120) * 60.0;
                prop_assert!(!SIDES.contains(&width) || !SIDES.contains(&height) || clock > 655e6);
            }
        }
    }
}
