//! Progress on stderr: a bar on a terminal, else a line every few seconds.

use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The unit of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Batches,
}

/// The interval between drawings of a bar.
const FRAME: Duration = Duration::from_millis(100);
/// The interval between lines.
const LINE: Duration = Duration::from_secs(5);

/// Runs `work` in this thread, and shows the progress of `done` towards `total` meanwhile.
pub(crate) fn shown<T>(
    unit: Unit,
    total: Option<u64>,
    done: &(impl Fn() -> u64 + Sync),
    quiet: bool,
    work: impl FnOnce() -> T,
) -> T {
    if quiet {
        return work();
    }
    let terminal = std::io::stderr().is_terminal();
    thread::scope(|scope| {
        let (end, ended) = channel::<()>();
        let show = move || {
            let began = Instant::now();
            let bar = terminal.then(|| bar(unit, total));
            let every = if terminal { FRAME } else { LINE };
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                match &bar {
                    Some(bar) => {
                        bar.set_position(done());
                        if Some(done()) == total {
                            bar.set_message("flushing to the disk");
                        }
                    }
                    None => say(&line(unit, done(), total, began.elapsed())),
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        };
        // If the thread cannot start, nothing is shown.
        let _shown = thread::Builder::new().name("progress".into()).spawn_scoped(scope, show);
        let result = work();
        drop(end);
        result
    })
}

fn bar(unit: Unit, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match (unit, total) {
        (Unit::Bytes, Some(_)) => {
            "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} \
            left {msg}"
        }
        (Unit::Bytes, None) => "{spinner} {binary_bytes}, {binary_bytes_per_sec}",
        (Unit::Batches, Some(_)) => {
            "{wide_bar} {human_pos} of {human_len} batches, {per_sec}, {eta} left"
        }
        (Unit::Batches, None) => "{spinner} {human_pos} batches, {per_sec}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// `35 % of 1.20 GiB, 210.00 MiB/s, 4 seconds left`
fn line(unit: Unit, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let amount = |count: u64| match unit {
        Unit::Bytes => BinaryBytes(count).to_string(),
        Unit::Batches => format!("{count} batches"),
    };
    let each_second = u128::from(done) * 1000 / elapsed.as_millis().max(1);
    let rate = amount(u64::try_from(each_second).unwrap_or(u64::MAX));
    match total {
        None => format!("{}, {rate}/s", amount(done)),
        Some(total) if done >= total => {
            format!("100 % of {}, {rate}/s, flushing to the disk", amount(total))
        }
        Some(total) => {
            let percent = u128::from(done) * 100 / u128::from(total);
            let left = match done {
                0 => "time left unknown".into(),
                _ => {
                    let left = elapsed.as_secs_f64() * (total - done) as f64 / done as f64;
                    let left = Duration::try_from_secs_f64(left.ceil()).unwrap_or(Duration::MAX);
                    format!("{} left", HumanDuration(left))
                }
            };
            format!("{percent} % of {}, {rate}/s, {left}", amount(total))
        }
    }
}

fn say(line: &str) {
    // Progress is optional: errors of stderr are ignored.
    let _ignored = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_far_how_fast_and_how_long() {
        let mib = 1 << 20;
        let after = Duration::from_secs(2);
        assert_eq!(
            line(Unit::Bytes, 100 * mib, Some(400 * mib), after),
            "25 % of 400.00 MiB, 50.00 MiB/s, 6 seconds left"
        );
        assert_eq!(
            line(Unit::Bytes, 400 * mib, Some(400 * mib), after),
            "100 % of 400.00 MiB, 200.00 MiB/s, flushing to the disk"
        );
        assert_eq!(
            line(Unit::Bytes, 0, Some(mib), after),
            "0 % of 1.00 MiB, 0 B/s, time left unknown"
        );
        assert_eq!(line(Unit::Batches, 50, None, after), "50 batches, 25 batches/s");
        assert_eq!(
            line(Unit::Batches, 50, Some(51), Duration::ZERO),
            "98 % of 51 batches, 50000 batches/s, 0 seconds left"
        );
        assert_eq!(
            line(Unit::Bytes, 0, Some(0), after),
            "100 % of 0 B, 0 B/s, flushing to the disk"
        );
    }
}
