//! Histograms, drawn.

use super::escaped;
use crate::summary::{Bars, Summary};
use crate::words::{grouped, labels};
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 200.0;
/// Room for the words at the left and below.
const LEFT: f64 = 72.0;
const BELOW: f64 = 24.0;

/// The histogram of an array; nothing if there are no values.
pub(super) fn drawn(summary: &Summary, title: &str) -> String {
    let bars = &summary.fine;
    let (Some(most), Some(range)) = (bars.counts.iter().max(), summary.range) else { return String::new() };
    let labels = labels(bars, range);
    let label = format!("Histogram of {}", escaped(title));
    let mut svg = format!(
        "<h3>Histogram</h3>\n<svg class=\"histogram\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{label}\">\n",
        HEIGHT + BELOW + 12.0
    );
    for part in [0.0, 0.5, 1.0] {
        let y = 10.0 + HEIGHT * (1.0 - part);
        svg += &format!("<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y}\" y2=\"{y}\"/>\n");
    }
    svg += &format!("<text x=\"{}\" y=\"14\" text-anchor=\"end\">{}</text>\n", LEFT - 8.0, grouped(*most));
    svg += &format!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">0</text>\n", LEFT - 8.0, HEIGHT + 14.0);
    let each = (WIDTH - LEFT) / bars.counts.len() as f64;
    for (at, (count, label)) in bars.counts.iter().zip(&labels).enumerate().filter(|(_, (count, _))| **count > 0) {
        let x = LEFT + each * at as f64;
        let height = tall(*count, *most, HEIGHT);
        svg += &format!(
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{}: {}</title></rect>\n",
            10.0 + HEIGHT - height,
            (each - 1.0).max(0.5),
            escaped(label),
            grouped(*count)
        );
    }
    let y = HEIGHT + BELOW + 4.0;
    let ends = [("start", LEFT, labels.first()), ("end", WIDTH, labels.last().filter(|_| labels.len() > 1))];
    for (anchor, x, label) in ends {
        let label = label.map_or("", String::as_str);
        svg += &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>\n", escaped(label));
    }
    svg + "</svg>\n"
}

/// A small one, without words.
pub(super) fn small(bars: &Bars) -> String {
    let Some(most) = bars.counts.iter().max() else { return String::new() };
    let each = 96.0 / bars.counts.len() as f64;
    let mut svg = String::from("<svg width=\"96\" height=\"18\" viewBox=\"0 0 96 18\" aria-hidden=\"true\">");
    for (at, count) in bars.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = tall(*count, *most, 18.0);
        let x = each * at as f64;
        let _written = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
            18.0 - height,
            (each - 0.5).max(0.5)
        );
    }
    svg + "</svg>"
}

/// How tall a bar is: whatever is there is seen.
fn tall(count: u64, most: u64, height: f64) -> f64 {
    (height * count as f64 / most as f64).max(1.0)
}
