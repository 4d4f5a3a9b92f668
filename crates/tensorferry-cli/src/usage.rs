//! Resources that the system counts for this process.

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{drop_cached, now};
#[cfg(target_os = "linux")]
pub(crate) use linux::{drop_cached, now};

/// Resources used so far; `None` if the system does not count them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of processor time in user mode, of all threads.
    pub(crate) user: Option<f64>,
    /// Seconds of processor time in the kernel.
    pub(crate) system: Option<f64>,
    /// Seconds that threads waited for devices.
    pub(crate) device_wait: Option<f64>,
    /// Page faults that read no device.
    pub(crate) minor_faults: Option<u64>,
    /// Page faults that read a device.
    pub(crate) major_faults: Option<u64>,
    /// Bytes read from devices.
    pub(crate) device_bytes: Option<u64>,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// The peak of resident memory, including pages of mmapped files.
    pub(crate) peak: Option<u64>,
    /// Resident memory now, without pages of files.
    pub(crate) own: Option<u64>,
}

impl Usage {
    /// The resources used since an earlier moment.
    pub(crate) fn since(self, before: Self) -> Self {
        let seconds = |now: Option<f64>, before: Option<f64>| Some((now? - before?).max(0.0));
        let count = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Self {
            user: seconds(self.user, before.user),
            system: seconds(self.system, before.system),
            device_wait: seconds(self.device_wait, before.device_wait),
            minor_faults: count(self.minor_faults, before.minor_faults),
            major_faults: count(self.major_faults, before.major_faults),
            device_bytes: count(self.device_bytes, before.device_bytes),
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Memory, Usage};
    use procfs::process::Process;
    use rustix::fs::{Advice, fadvise};
    use std::fs::File;
    use std::path::Path;

    pub(crate) fn now() -> (Usage, Memory) {
        let Ok(process) = Process::myself() else { return Default::default() };
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let (stat, status) = (process.stat().ok(), process.status().ok());
        let counted = std::fs::read_to_string("/proc/sys/kernel/task_delayacct")
            .is_ok_and(|text| text.trim() == "1");
        let usage = Usage {
            user: stat.as_ref().map(|stat| seconds(stat.utime)),
            system: stat.as_ref().map(|stat| seconds(stat.stime)),
            device_wait: stat
                .as_ref()
                .filter(|_| counted)
                .and_then(|stat| stat.delayacct_blkio_ticks)
                .map(seconds),
            minor_faults: stat.as_ref().map(|stat| stat.minflt),
            major_faults: stat.as_ref().map(|stat| stat.majflt),
            device_bytes: process.io().ok().map(|io| io.read_bytes),
        };
        let kib = |kib: Option<u64>| kib.map(|kib| kib * 1024);
        let memory = Memory {
            peak: kib(status.as_ref().and_then(|status| status.vmhwm)),
            own: kib(status.as_ref().and_then(|status| status.rssanon)),
        };
        (usage, memory)
    }

    /// Drops a file from the page cache, except pages that are mmapped.
    pub(crate) fn drop_cached(path: &Path) -> std::io::Result<()> {
        let file = File::open(path)?;
        // Only pages that are on the disk can be dropped.
        file.sync_data()?;
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::{Memory, Usage};
    use std::path::Path;

    pub(crate) fn now() -> (Usage, Memory) {
        Default::default()
    }

    pub(crate) fn drop_cached(_path: &Path) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
