//! Ctrl-C, SIGTERM and the end of a terminal (SIGHUP): what is under way stops, and takes its
//! temporary files away.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use tensorferry::dataset::CancelToken;

/// The signal that came; 0 for none.
static CAME: AtomicI32 = AtomicI32::new(0);

/// What the first signal stops. A second one ends the process where it is.
pub(crate) fn stop() -> CancelToken {
    let stop = CancelToken::default();
    // A file that grows past the limit of the process is an error like others, and does not end it.
    let _received = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    // Where signals or threads are not to be had, a signal ends the process as it always does.
    let ignored = ignored();
    let wanted =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    if let Ok(mut signals) = Signals::new(wanted.clone()) {
        let stop = stop.clone();
        let wait = move || {
            for signal in signals.forever() {
                if CAME.swap(signal, Ordering::Relaxed) != 0 {
                    let _ends_the_process = emulate_default_handler(signal);
                }
                stop.cancel();
            }
        };
        if thread::Builder::new().name("signals".into()).spawn(wait).is_err() {
            for signal in wanted {
                let _ends_the_process = signal_hook::flag::register_conditional_default(
                    signal,
                    Arc::new(AtomicBool::new(true)),
                );
            }
        }
    }
    stop
}

/// The signals that whoever started this process had it ignore, as nohup does, a bit for each: they
/// stay ignored.
#[cfg(target_os = "linux")]
fn ignored() -> u64 {
    procfs::process::Process::myself()
        .and_then(|process| process.status())
        .map_or(0, |status| status.sigign)
}

#[cfg(not(target_os = "linux"))]
fn ignored() -> u64 {
    // Nobody can be asked: a lost terminal ends the process as it always does.
    1 << (SIGHUP - 1)
}

/// The exit status of a process that a signal ended, as shells have it, if one came.
pub(crate) fn status() -> Option<u8> {
    match CAME.load(Ordering::Relaxed) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}
