//! The contact sheet: pictures side by side, numbered, as one PNG.

use crate::Failure;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use virgbm::host::Picture;

const TILE_WIDTH: u32 = 320;
const TILE_HEIGHT: u32 = 200;
const GAP: u32 = 12;
const COLUMNS: u32 = 4;
/// Pixels of one dot of a digit.
const DOT: u32 = 3;
/// The lowest strip in which a picture of one row can still be seen.
const LEAST_HEIGHT: u32 = 24;

const PAPER: [u8; 4] = [40, 44, 52, 255];
const INK: [u8; 4] = [230, 230, 230, 255];

/// Digits of three by five dots, a row in three bits, from the top.
const DIGITS: [[u8; 5]; 10] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 1, 1, 1],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
];

/// Pictures to print.
#[derive(Default)]
pub struct Sheet {
    pictures: Vec<Picture>,
}

struct Canvas {
    width: u32,
    rgba: Vec<u8>,
}

impl Canvas {
    fn set(&mut self, x: u32, y: u32, colour: [u8; 4]) {
        let at = (y as usize * self.width as usize + x as usize) * 4;
        if let Some(pixel) = self.rgba.get_mut(at..at + 4).filter(|_| x < self.width) {
            pixel.copy_from_slice(&colour);
        }
    }

    fn digit(&mut self, digit: u32, left: u32, top: u32) {
        let rows = DIGITS.get(digit as usize).copied().unwrap_or_default();
        for (row, bits) in (0u32..).zip(rows) {
            for column in (0..3).filter(|column| bits & 4 >> column != 0) {
                for dot in 0..DOT * DOT {
                    self.set(left + column * DOT + dot % DOT, top + row * DOT + dot / DOT, INK);
                }
            }
        }
    }

    fn number(&mut self, number: u32, left: u32, top: u32) {
        for (index, digit) in (0u32..).zip(number.to_string().chars().filter_map(|digit| digit.to_digit(10))) {
            self.digit(digit, left + index * 4 * DOT, top);
        }
    }

    fn picture(&mut self, picture: &Picture, left: u32, top: u32) {
        let scale =
            f64::min(f64::from(TILE_WIDTH) / f64::from(picture.width), f64::from(TILE_HEIGHT) / f64::from(picture.height));
        let width = ((f64::from(picture.width) * scale) as u32).max(1);
        let height = ((f64::from(picture.height) * scale) as u32).max(LEAST_HEIGHT);
        for y in 0..height {
            for x in 0..width {
                let from_x = u64::from(x) * u64::from(picture.width) / u64::from(width);
                let from_y = u64::from(y) * u64::from(picture.height) / u64::from(height);
                let at = (from_y * u64::from(picture.width) + from_x) as usize * 4;
                if let Some([r, g, b, _]) = picture.rgba.get(at..at + 4) {
                    self.set(left + x, top + y, [*r, *g, *b, 255]);
                }
            }
        }
    }
}

impl Sheet {
    /// Adds a picture and gives its number.
    pub fn add(&mut self, picture: Picture) -> usize {
        self.pictures.push(picture);
        self.pictures.len()
    }

    /// Writes the PNG.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let rows = (self.pictures.len() as u32).div_ceil(COLUMNS);
        let label = 5 * DOT + GAP / 2;
        let (width, height) = (GAP + COLUMNS * (TILE_WIDTH + GAP), GAP + rows * (TILE_HEIGHT + label + GAP));
        let mut canvas = Canvas { width, rgba: PAPER.repeat((width * height) as usize) };
        for (index, picture) in (0u32..).zip(&self.pictures) {
            let left = GAP + index % COLUMNS * (TILE_WIDTH + GAP);
            let top = GAP + index / COLUMNS * (TILE_HEIGHT + label + GAP);
            canvas.number(index + 1, left, top);
            canvas.picture(picture, left, top + label);
        }
        write_png(path, width, height, &canvas.rgba)
    }
}

/// Writes a picture of eight bits each of red, green, blue and alpha.
pub fn write_png(path: &Path, width: u32, height: u32, rgba: &[u8]) -> Result<(), Failure> {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(rgba)?;
    Ok(())
}
