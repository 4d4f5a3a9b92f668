//! Drawings of histograms. Text stands beside a drawing, so that it keeps its size on a narrow
//! page.

use super::html::{escaped, table};
use crate::summary::{Bars, Summary};
use crate::words::{digits, float, grouped, labels, rounded};
use std::fmt::Write;
use tensorferry::Scalar;

/// The height of a drawing, in its own units.
const HEIGHT: f64 = 100.0;
/// If the median bar is lower than the highest by this factor, a second drawing has a logarithmic
/// scale.
const FLAT: u64 = 50;

/// The histogram of an array; empty if there are no values.
pub(super) fn drawn(summary: &Summary, title: &str) -> String {
    let bars = &summary.fine;
    let (Some(most), Some(range)) = (bars.counts.iter().max(), summary.range) else {
        return String::new();
    };
    if range.0 == range.1 {
        let finite = if summary.nan + summary.positive_infinity + summary.negative_infinity > 0 {
            "finite "
        } else {
            ""
        };
        return format!("<h3>Histogram</h3>\n<p>Every {finite}value is {}.</p>\n", range.0);
    }
    let labels = labels(bars, range);
    let mut along = along(bars, range);
    if along.is_empty() {
        // There are no round numbers between huge ones.
        along = [(0.0, range.0), (1.0, range.1)].map(|(at, value)| (at, value.to_string())).into();
    }
    let mut html = format!(
        "<h3>Histogram</h3>\n{}",
        chart(bars, &labels, &along, &Scale::linear(*most), &format!("Histogram of {title}"))
    );
    let mut counts: Vec<u64> = bars.counts.iter().copied().filter(|count| *count > 0).collect();
    counts.sort_unstable();
    if counts.get(counts.len() / 2).is_some_and(|middle| middle * FLAT < *most) {
        let label = format!("Histogram of {title}, logarithms of counts");
        html += "<h3>Histogram, counts on a logarithmic scale</h3>\n";
        html += &chart(bars, &labels, &along, &Scale::logarithmic(*most), &label);
    }
    let rows: Vec<String> = labels
        .iter()
        .zip(&bars.counts)
        .map(|(label, count)| {
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
                escaped(label),
                grouped(*count)
            )
        })
        .collect();
    let table = table("Counts", &["values", "count"], rows.iter().map(String::as_str));
    html + "<details><summary>Counts in numbers</summary>\n" + &table + "</details>\n"
}

/// The vertical scale: heights of bars, and ticks.
struct Scale {
    height: Box<dyn Fn(f64) -> f64>,
    ticks: Vec<f64>,
}

impl Scale {
    fn linear(most: u64) -> Self {
        let most = most as f64;
        Self { height: Box::new(move |count| count / most), ticks: ticks(0.0, most, 4.0, true) }
    }

    /// Starts at one half, so that a count of 1 is visible.
    fn logarithmic(most: u64) -> Self {
        let decades = (2.0 * most as f64).log10();
        let each = (decades / 4.0).ceil().max(1.0);
        let tick = |at: u32| 10.0_f64.powf(each * f64::from(at));
        let ticks = (0..).map(tick).take_while(|tick| *tick <= most as f64).collect();
        Self { height: Box::new(move |count| (2.0 * count).log10() / decades), ticks }
    }
}

/// The labels below the bars: position as a part of the width, and text.
fn along(bars: &Bars, range: (Scalar, Scalar)) -> Vec<(f64, String)> {
    let (Some(first), Some(last)) = (bars.edges.first(), bars.edges.last()) else {
        return Vec::new();
    };
    if let Scalar::Bool(_) = range.0 {
        return vec![(0.25, "False".into()), (0.75, "True".into())];
    }
    let whole = matches!(range.0, Scalar::Int(_));
    let (first, last) = (float(*first), float(*last));
    // The label of a bar of one integer is centred.
    let single = whole && last - first <= bars.counts.len() as f64;
    let (middle, end) = if single { (0.5, last - 1.0) } else { (0.0, last) };
    let ticks = ticks(first, end, 5.0, whole);
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::MAX, f64::min);
    let digits = digits((first.abs().max(last.abs()) / step).log10().ceil() + 2.0);
    ticks
        .into_iter()
        .map(|tick| ((tick + middle - first) / (last - first), rounded(tick, digits)))
        .collect()
}

/// About `count` round numbers from `low` to `high`.
fn ticks(low: f64, high: f64, count: f64, whole: bool) -> Vec<f64> {
    let least = (high - low) / count;
    let power = 10.0_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(least);
    let step = if whole { step.max(1.0) } else { step };
    let first = (low / step).ceil();
    // A step that rounding loses would loop forever.
    if !(step.is_finite() && step > 0.0) || first.abs() > 1e15 {
        return Vec::new();
    }
    (0..)
        .map(|at| (first + f64::from(at)) * step)
        .take_while(|tick| *tick <= high)
        .take(12)
        .collect()
}

fn chart(
    bars: &Bars,
    labels: &[String],
    along: &[(f64, String)],
    scale: &Scale,
    title: &str,
) -> String {
    let count = bars.counts.len();
    let mut html = String::from("<div class=\"chart\">\n<div class=\"plot\">\n");
    for tick in &scale.ticks {
        let (at, words) = ((scale.height)(*tick) * 100.0, rounded_count(*tick));
        let _written = writeln!(
            html,
            "<div class=\"line\" style=\"bottom:{at:.2}%\"><span>{words}</span></div>"
        );
    }
    let _written = writeln!(
        html,
        "<svg viewBox=\"0 0 {count} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
        aria-label=\"{}\">",
        escaped(title)
    );
    let wide = if count > 1 { 0.9375 } else { 1.0 };
    for (at, (count, label)) in
        bars.counts.iter().zip(labels).enumerate().filter(|(_, (count, _))| **count > 0)
    {
        // Every count is visible.
        let height = ((scale.height)(*count as f64) * HEIGHT).max(0.5);
        let _written = writeln!(
            html,
            "<rect x=\"{}\" y=\"{:.2}\" width=\"{wide}\" height=\"{height:.2}\"><title>{}: \
            {}</title></rect>",
            at as f64 + (1.0 - wide) / 2.0,
            HEIGHT - height,
            escaped(label),
            grouped(*count)
        );
    }
    let class = if along.len() > 3 { "along many" } else { "along" };
    let _written = write!(html, "</svg>\n</div>\n<div class=\"{class}\">");
    for (at, words) in along {
        let _written =
            write!(html, "<span style=\"left:{:.2}%\">{}</span>", at * 100.0, escaped(words));
    }
    html + "</div>\n</div>\n"
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn rounded_count(count: f64) -> String {
    grouped(count.round() as u64)
}

/// A small drawing without labels.
pub(super) fn small(bars: &Bars) -> String {
    let Some(most) = bars.counts.iter().max() else { return String::new() };
    let each = 96.0 / bars.counts.len() as f64;
    let mut svg =
        String::from("<svg width=\"96\" height=\"18\" viewBox=\"0 0 96 18\" aria-hidden=\"true\">");
    for (at, count) in bars.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (18.0 * *count as f64 / *most as f64).max(1.0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_inside() {
        assert_eq!(ticks(0.0, 56272.0, 4.0, true), [0.0, 20000.0, 40000.0]);
        assert_eq!(ticks(0.0, 3.0, 4.0, true), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(ticks(-3.7e6, 3.3e6, 5.0, false), [-2e6, 0.0, 2e6]);
        assert_eq!(ticks(7.0, 7.0, 5.0, false), Vec::<f64>::new());
        assert_eq!(ticks(f64::NAN, 1.0, 5.0, false), Vec::<f64>::new());
        for (low, high) in
            [(-0.013, 0.4), (f64::MIN / 2.0, f64::MAX / 2.0), (1e15, 1e15 + 7.0), (0.0, 5e-324)]
        {
            let all = ticks(low, high, 5.0, false);
            assert!(
                all.len() <= 12 && all.iter().all(|tick| low <= *tick && *tick <= high),
                "{all:?}"
            );
        }
    }

    #[test]
    fn a_bar_of_one_integer_has_its_number_below_it() {
        let bars = Bars { edges: [0, 1, 2, 3].map(Scalar::Int).into(), counts: vec![5, 0, 2] };
        let at = |at: f64| (at / 6.0 * 1000.0).round();
        let along = along(&bars, (Scalar::Int(0), Scalar::Int(2)));
        let found: Vec<_> =
            along.iter().map(|(at, words)| ((at * 1000.0).round(), words.as_str())).collect();
        assert_eq!(found, [(at(1.0), "0"), (at(3.0), "1"), (at(5.0), "2")]);
    }
}
