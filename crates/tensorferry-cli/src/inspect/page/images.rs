//! Rows that look like images, drawn.

use crate::inspect::Inspected;
use crate::outcome::Outcome;
use crate::words::grouped;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use png::{BitDepth, ColorType, Encoder};
use tensorferry::{Array, Casting, DType, Kind, Scalar, Tensor, convert};

/// How many are drawn.
const MOST: usize = 32;
/// Pixels of a side above which only some are drawn.
const SIDE: usize = 256;
/// Sides that an image may have.
const SIDES: std::ops::RangeInclusive<usize> = 4..=4096;

/// How rows are images.
#[derive(Clone, Copy)]
struct Form {
    height: usize,
    width: usize,
    channels: usize,
    color: ColorType,
    /// What the greatest brightness is.
    white: f64,
}

/// Some images from all over the array, if its rows look like images: `(N, H, W)` or `(N, H, W, 1, 3 or 4)`, integers up to 255, floats from
/// 0 to 1, or bools.
pub(super) fn shown(array: &Array, inspected: &Inspected) -> Outcome<String> {
    let Some(form) = form(inspected) else { return Ok(String::new()) };
    let len = array.len();
    let count = len.min(MOST);
    let mut html = String::new();
    for at in (0..count).map(|at| at * len / count) {
        let Some((width, height, file)) = drawn(&array.rows(&[at])?, form)? else { return Ok(String::new()) };
        let picture = STANDARD.encode(file);
        // A small image is drawn larger, by whole pixels.
        let scale = (96 / width.max(height)).clamp(1, 8);
        let (wide, high, number) = (width * scale, height * scale, grouped(at as u64));
        html += &format!(
            "<figure><img width=\"{wide}\" height=\"{high}\" alt=\"image {number}\" src=\"data:image/png;base64,{picture}\">\
             <figcaption>{number}</figcaption></figure>\n"
        );
    }
    let of = if count < len { format!(" ({count} of {})", grouped(len as u64)) } else { String::new() };
    Ok(format!("<h3>Images{of}</h3>\n<div class=\"images\">\n{html}</div>\n"))
}

fn form(array: &Inspected) -> Option<Form> {
    let (height, width, channels) = match *array.shape.as_slice() {
        [_, height, width] => (height, width, 1),
        [_, height, width, channels @ (1 | 3 | 4)] => (height, width, channels),
        _ => return None,
    };
    let sides = SIDES.contains(&height) && SIDES.contains(&width) && height <= 4 * width && width <= 4 * height;
    let color = match channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        _ => ColorType::Rgba,
    };
    let white = match (array.dtype.kind(), array.summary.range?) {
        (Kind::Bool, _) => 1.0,
        (_, (Scalar::Int(low), Scalar::Int(high))) if low >= 0 && high <= 255 => 255.0,
        (_, (Scalar::Float32(low), Scalar::Float32(high))) if low >= 0.0 && high <= 1.0 => 1.0,
        (Kind::Float, (Scalar::Float64(low), Scalar::Float64(high))) if low >= 0.0 && high <= 1.0 => 1.0,
        _ => return None,
    };
    (sides && array.count() > 0).then_some(Form { height, width, channels, color, white })
}

/// The width, the height and the bytes of a picture; `None` if it cannot be made.
fn drawn(row: &Tensor, form: Form) -> Outcome<Option<(usize, usize, Vec<u8>)>> {
    let values = convert(&row.as_view(), DType::Float64, Casting::Checked)?;
    let values = values.view::<f64>()?;
    let values = values.as_slice().unwrap_or_default();
    // Of a large image every so many pixels.
    let step = form.height.max(form.width).div_ceil(SIDE);
    let mut pixels = Vec::new();
    for y in (0..form.height).step_by(step) {
        for x in (0..form.width).step_by(step) {
            let at = (y * form.width + x) * form.channels;
            pixels.extend(values[at..at + form.channels].iter().map(|value| bright(value / form.white)));
        }
    }
    let (width, height) = (form.width.div_ceil(step), form.height.div_ceil(step));
    Ok(encoded(width, height, form.color, &pixels).map(|file| (width, height, file)))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; what is not a number is black")]
fn bright(part: f64) -> u8 {
    (part.clamp(0.0, 1.0) * 255.0).round() as u8
}

fn encoded(width: usize, height: usize, color: ColorType, pixels: &[u8]) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(file)
}
