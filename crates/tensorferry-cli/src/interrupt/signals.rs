//! Handlers of signals.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use tensorferry::dataset::CancelToken;

/// The signal that was received; 0 for none.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// A token that the first signal cancels. A second signal ends the process at once.
pub(crate) fn cancel_token() -> CancelToken {
    let cancel = CancelToken::default();
    // A file larger than the process's limit is an I/O error, and does not end the process.
    let _received = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    // If handlers or threads are unavailable, a signal ends the process as by default.
    let ignored = ignored();
    let wanted =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    if let Ok(mut signals) = Signals::new(wanted.clone()) {
        let cancel = cancel.clone();
        let wait = move || {
            for signal in signals.forever() {
                if RECEIVED.swap(signal, Ordering::Relaxed) != 0 {
                    let _ends_the_process = emulate_default_handler(signal);
                }
                cancel.cancel();
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
    cancel
}

/// The signals that are ignored since before the process started, as by nohup, a bit for each.
/// They stay ignored.
#[cfg(target_os = "linux")]
fn ignored() -> u64 {
    procfs::process::Process::myself()
        .and_then(|process| process.status())
        .map_or(0, |status| status.sigign)
}

#[cfg(not(target_os = "linux"))]
fn ignored() -> u64 {
    // Unknown here: a lost terminal ends the process as by default.
    1 << (SIGHUP - 1)
}

/// The exit status for a received signal, as shells report it.
pub(crate) fn status() -> Option<u8> {
    match RECEIVED.load(Ordering::Relaxed) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}
