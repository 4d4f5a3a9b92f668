//! The text output of `tensorferry inspect`.

use super::Inspected;
use super::inspected::{byte_order, mean_words, memory_order, smallest_parts};
use crate::words::{bytes, grouped, labels, printable, shape};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use tensorferry::{Kind, Scalar};

/// The terminal or file that stdout is.
pub(crate) struct Screen {
    width: usize,
    /// Whether bars are drawn with block characters, in eighths, or with ASCII.
    blocks: bool,
}

impl Screen {
    /// The screen of stdout.
    pub(crate) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let width = terminal_size::terminal_size()
            .filter(|_| terminal)
            .map_or(80, |(width, _)| usize::from(width.0));
        Self { width: width.clamp(40, 160), blocks: terminal }
    }

    /// A bar that fills a part of `width` characters.
    fn bar(&self, part: f64, width: usize) -> String {
        let full = part * width as f64;
        if !self.blocks {
            return "#".repeat(steps(full.ceil()).min(width));
        }
        // Rounded up: every count is visible.
        let eighths = steps((full * 8.0).ceil()).min(width * 8);
        let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        "█".repeat(eighths / 8) + rest
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of characters on a screen"
)]
fn steps(count: f64) -> usize {
    count as usize
}

pub(crate) fn write(out: &mut dyn Write, screen: &Screen, array: &Inspected) -> io::Result<()> {
    let summary = &array.summary;
    writeln!(out, "{}", printable(&array.title()))?;
    let mut line = |name: &str, what: String| writeln!(out, "  {name:<9} {what}");
    let files = if array.files > 1 { format!(", {} files", array.files) } else { String::new() };
    line("format", format!("{}{files}", array.format))?;
    line("dtype", format!("{}{}", array.dtype, byte_order(array)))?;
    line("shape", format!("{}{}", shape(&array.shape), memory_order(array)))?;
    line("size", bytes(array.bytes_in(array.dtype)))?;
    if array.count() == 0 {
        line("values", "none".into())?;
        return writeln!(out);
    }
    let complex = array.dtype.kind() == Kind::Complex;
    let value = |value: Scalar| if complex { mean_words(value) } else { value.to_string() };
    let size = if complex { "absolute value " } else { "" };
    let mean = summary.mean.map_or(String::new(), |mean| format!(", mean {}", mean_words(mean)));
    match summary.range {
        Some((low, high)) => {
            line("values", format!("{size}{} to {}{mean}", value(low), value(high)))?
        }
        None => line("values", "none that is finite".into())?,
    }
    if array.dtype.kind() == Kind::Float || complex {
        line("NaN", grouped(summary.nan))?;
        let (above, below) = (summary.positive_infinity, summary.negative_infinity);
        let signs =
            if below > 0 { format!(" ({} negative)", grouped(below)) } else { String::new() };
        line("infinite", format!("{}{signs}", grouped(above + below)))?;
    }
    line(
        "smallest",
        match smallest_parts(array) {
            (dtype, Some(saves)) => format!("{dtype} holds all values: {saves}"),
            (dtype, None) => format!("{dtype}, as it is"),
        },
    )?;
    histogram(out, screen, array)?;
    writeln!(out)
}

/// Prints that a file holds no arrays.
pub(crate) fn write_empty(out: &mut dyn Write, path: &Path) -> io::Result<()> {
    writeln!(out, "{}\n  no arrays\n", printable(&path.display().to_string()))
}

fn histogram(out: &mut dyn Write, screen: &Screen, array: &Inspected) -> io::Result<()> {
    let bars = &array.summary.histogram;
    let (Some(most), Some(range)) = (bars.counts.iter().max(), array.summary.range) else {
        return Ok(());
    };
    writeln!(out)?;
    let labels = labels(bars, range);
    let counts: Vec<String> = bars.counts.iter().map(|count| grouped(*count)).collect();
    let widest =
        |words: &[String]| words.iter().map(|word| word.chars().count()).max().unwrap_or(0);
    let (before, after) = (widest(&labels), widest(&counts));
    let width = screen.width.saturating_sub(before + after + 7).clamp(8, 80);
    for ((label, count), words) in labels.iter().zip(&bars.counts).zip(&counts) {
        let bar = screen.bar(*count as f64 / *most as f64, width);
        let gap = " ".repeat(width - bar.chars().count());
        writeln!(out, "  {label:>before$}  {bar}{gap}  {words:>after$}")?;
    }
    Ok(())
}
