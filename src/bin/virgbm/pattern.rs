//! The test pattern: colour bars above a grey ramp, with a white mark that moves from buffer to buffer.

use virgbm::Layout;
use virgbm::pixel::{self, Rgba};

/// White, yellow, cyan, green, magenta, red, blue, black.
const BARS: [[f32; 3]; 8] = [
    [1.0, 1.0, 1.0],
    [1.0, 1.0, 0.0],
    [0.0, 1.0, 1.0],
    [0.0, 1.0, 0.0],
    [1.0, 0.0, 1.0],
    [1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0],
    [0.0, 0.0, 0.0],
];

fn colour(layout: &Layout, frame: u32, x: u32, y: u32) -> Rgba {
    let across = x as f32 / layout.width as f32;
    let down = y as f32 / layout.height as f32;
    let mark = 0.1 + 0.3 * frame as f32;
    if (across - mark).abs() < 0.05 && (down - 0.5).abs() < 0.1 {
        return [1.0; 4];
    }
    if down < 0.75 {
        let [r, g, b] = BARS.get((across * 8.0) as usize).copied().unwrap_or_default();
        return [r, g, b, 1.0];
    }
    [across, across, across, 1.0]
}

/// The bytes of the pattern in a layout; padding is 0.
pub fn draw(layout: &Layout, frame: u32) -> Vec<u8> {
    let mut bytes = vec![0; layout.size_bytes as usize];
    for y in 0..layout.height {
        for x in 0..layout.width {
            let _inside = pixel::store(layout, &mut bytes, x, y, colour(layout, frame, x, y));
        }
    }
    bytes
}
