//! The operating system and the processor.

use super::findings::{Findings, Section};
use std::fs::read_to_string;
use std::path::Path;
use std::thread::available_parallelism;

pub(super) fn findings() -> Findings {
    let mut section = Section::new("system");
    let release = read_to_string("/etc/os-release").unwrap_or_default();
    let name = value(&release, "PRETTY_NAME", '=').map(|name| name.trim_matches('"').to_owned());
    section.add("name", Some(name.unwrap_or_else(|| std::env::consts::OS.into())));
    section.add("kernel", line("/proc/sys/kernel/osrelease"));
    section.add("architecture", Some(std::env::consts::ARCH));
    #[cfg(target_os = "linux")]
    section.add_bytes("page size", Some(procfs::page_size()));
    let processors = read_to_string("/proc/cpuinfo").unwrap_or_default();
    section.add("processor", value(&processors, "model name", ':'));
    section.add("online CPUs", line("/sys/devices/system/cpu/online"));
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    section.add("allowed CPUs", value(&status, "Cpus_allowed_list", ':'));
    section.add("CPU quota", quota());
    if let Ok(threads) = available_parallelism() {
        section.add_as("threads", threads.get(), threads.to_string());
    }
    section.add("system calls", value(&status, "Seccomp", ':').map(filtered));
    section.into()
}

/// The first line of a file, if it is not empty.
pub(super) fn line(path: impl AsRef<Path>) -> Option<String> {
    let text = read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// The value of the first line `name: value`.
pub(super) fn value(text: &str, name: &str, sign: char) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(sign));
    pairs.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// The limit of the control group, in CPUs.
fn quota() -> Option<String> {
    let groups = read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let group = root.join(group);
    let limits =
        group.ancestors().take_while(|group| group.starts_with(root)).filter_map(|group| {
            let limit = line(group.join("cpu.max"))?;
            let (time, period) = limit.split_once(' ')?;
            Some(time.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
        });
    limits.min_by(f64::total_cmp).map(|cpus| format!("{cpus:.2}"))
}

/// What `Seccomp` of `/proc/self/status` means.
fn filtered(mode: String) -> String {
    match mode.as_str() {
        "0" => "not filtered".into(),
        "2" => "filtered by seccomp".into(),
        _ => format!("seccomp mode {mode}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let text = "processor\t: 0\nmodel name\t: A CPU @ 2: fast\nmodel\t\t: 7\n";
        assert_eq!(value(text, "model name", ':').as_deref(), Some("A CPU @ 2: fast"));
        assert_eq!(value(text, "model", ':').as_deref(), Some("7"));
        assert_eq!(value(text, "mod", ':'), None);
    }
}
