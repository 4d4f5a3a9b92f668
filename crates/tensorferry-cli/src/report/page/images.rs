//! Pictures of rows that look like images.

use crate::outcome::Outcome;
use crate::report::Inspected;
use crate::words::{float, grouped, rounded};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use png::{BitDepth, ColorType, Encoder};
use tensorferry::convert::scalar;
use tensorferry::{Array, ByteOrder, Kind, Tensor};

/// The greatest number of images drawn.
const MOST: usize = 32;
/// Longer sides are drawn with fewer pixels.
const SIDE: usize = 256;
/// Lengths that a side of an image may have.
const SIDES: std::ops::RangeInclusive<usize> = 4..=4096;

/// Images of more bytes are not drawn.
const LONGEST: usize = 64 << 20;

/// How elements of an array are pixels.
#[derive(Clone, Copy)]
struct Form {
    height: usize,
    width: usize,
    channels: usize,
    /// Channels come before rows: `(C, H, W)`.
    planes: bool,
    /// The array is one image: `(H, W, C)`.
    alone: bool,
    /// The values that are drawn black and white.
    black: f64,
    white: f64,
}

/// Images spread over the array, if its rows look like images: `(N, H, W)`, `(N, H, W, C)` or
/// `(N, C, H, W)` of 1, 3 or 4 channels. The array itself may be one: `(H, W, 3 or 4)`. Values are
/// integers up to 255, floats from 0 to 1 or from -1 to 1, or bools.
pub(super) fn shown(array: &Array, inspected: &Inspected) -> Outcome<String> {
    let Some(form) = form(inspected) else { return Ok(String::new()) };
    let len = if form.alone { 1 } else { array.len() };
    if array.nbytes() / len > LONGEST {
        return Ok(String::new());
    }
    let count = len.min(MOST);
    // A large image is drawn with fewer pixels.
    let step = form.height.max(form.width).div_ceil(SIDE);
    let mut html = String::new();
    for at in (0..count).map(|at| at * len / count) {
        let lines: Vec<usize> = (0..form.height).step_by(step).collect();
        let one = [at];
        let tensor = array.rows(if form.alone { lines.as_slice() } else { &one })?;
        let Some((width, height, file)) = drawn(&tensor, form, step) else {
            return Ok(String::new());
        };
        let picture = STANDARD.encode(file);
        // A small image is enlarged by an integer.
        let scale = (96 / width.max(height)).clamp(1, 8);
        let (wide, high, number) = (width * scale, height * scale, grouped(at as u64));
        html += &format!(
            "<figure><img width=\"{wide}\" height=\"{high}\" alt=\"image {number}\" \
            src=\"data:image/png;base64,{picture}\">\
             <figcaption>{number}</figcaption></figure>\n"
        );
    }
    let of =
        if count < len { format!(" ({count} of {})", grouped(len as u64)) } else { String::new() };
    let mut notes = Vec::new();
    if !matches!(inspected.dtype.kind(), Kind::Bool) {
        notes.push(format!("{} is black, {} is white", form.black, rounded(form.white, 6)));
    }
    if step > 1 {
        notes.push(format!("one pixel of {step} by {step} is drawn"));
    }
    let note =
        if notes.is_empty() { String::new() } else { format!("<p>{}.</p>\n", notes.join("; ")) };
    Ok(format!("<h3>Images{of}</h3>\n{note}<div class=\"images\">\n{html}</div>\n"))
}

fn form(array: &Inspected) -> Option<Form> {
    let (height, width, channels, planes, alone) = match *array.shape.as_slice() {
        [height, width, channels @ (3 | 4)] => (height, width, channels, false, true),
        [_, height, width] => (height, width, 1, false, false),
        [_, height, width, channels @ (1 | 3 | 4)] => (height, width, channels, false, false),
        [_, channels @ (1 | 3 | 4), height, width] => (height, width, channels, true, false),
        _ => return None,
    };
    let sides = SIDES.contains(&height)
        && SIDES.contains(&width)
        && height <= 4 * width
        && width <= 4 * height;
    let (low, high) = array.summary.range?;
    let (low, high) = (float(low), float(high));
    let (least, full) = match array.dtype.kind() {
        Kind::Bool => (0.0, 1.0),
        Kind::Signed | Kind::Unsigned if low >= 0.0 && high <= 255.0 => (0.0, 255.0),
        Kind::Float if low >= 0.0 && high <= 1.0 => (0.0, 1.0),
        Kind::Float if low >= -1.0 && high <= 1.0 => (-1.0, 1.0),
        Kind::Float if low >= 0.0 && high <= 255.0 => (0.0, 255.0),
        _ => return None,
    };
    // Small values are brightened: otherwise the image would be dark.
    let white = if least == 0.0 && high > 0.0 && high <= full / 2.0 { high } else { full };
    (sides && array.count() > 0).then_some(Form {
        height,
        width,
        channels,
        planes,
        alone,
        black: least,
        white,
    })
}

/// Width, height and bytes of a PNG of every `step`-th pixel; `None` if encoding fails.
fn drawn(row: &Tensor, form: Form, step: usize) -> Option<(usize, usize, Vec<u8>)> {
    let (view, dtype, size) = (row.as_view(), row.dtype(), row.dtype().size());
    let bytes = view.as_bytes()?;
    let Form { height, width, channels, planes, alone, black, white } = form;
    let lines: Vec<usize> = (0..height).step_by(step).collect();
    let mut pixels = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        // If the array is one image, only these lines were read.
        let y = if alone { at } else { *line };
        for x in (0..width).step_by(step) {
            for channel in 0..channels {
                let at = if planes {
                    (channel * height + y) * width + x
                } else {
                    (y * width + x) * channels + channel
                };
                let element = bytes.get(at * size..(at + 1) * size)?;
                let value = float(scalar::read(dtype, ByteOrder::Native, element).to_scalar(dtype));
                pixels.push(bright((value - black) / (white - black)));
            }
        }
    }
    let color = match channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        _ => ColorType::Rgba,
    };
    let (width, height) = (width.div_ceil(step), lines.len());
    encoded(width, height, color, &pixels).map(|file| (width, height, file))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; NaN is black")]
fn bright(part: f64) -> u8 {
    (part.clamp(0.0, 1.0) * 255.0).round() as u8
}

fn encoded(width: usize, height: usize, color: ColorType, pixels: &[u8]) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder =
        Encoder::new(&mut file, u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(file)
}
