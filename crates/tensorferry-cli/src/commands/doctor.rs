//! `tensorferry doctor`: what a bug report needs.

use crate::doctor::{self, Findings, Host};
use crate::outcome::{Failure, Outcome};
use std::io::Write;
use tensorferry::Error;
use tensorferry::dataset::CancelToken;

/// Show what a bug report needs: versions, this machine and its limits, and problems
///
/// Run by the Python package, it also imports each installed framework in a process of its own, and
/// tries it. The exit status is 1 if something is broken.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How long a framework may take; 0 imports none
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

/// Something is broken.
const BROKEN: u8 = 1;

impl Doctor {
    pub(crate) fn run(
        &self,
        host: Option<&dyn Host>,
        out: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Outcome {
        let mut all = Findings::default();
        for part in doctor::parts(host, self.timeout) {
            if cancel.is_cancelled() {
                return Err(Error::Interrupted.into());
            }
            if !self.json {
                doctor::write(out, &part)?;
            }
            all.append(part);
        }
        let broken = !all.problems().is_empty();
        if self.json {
            doctor::write_json(out, all)?;
        } else {
            doctor::write_verdict(out, all.problems())?;
        }
        if broken { Err(Failure::Reported(BROKEN)) } else { Ok(()) }
    }
}
