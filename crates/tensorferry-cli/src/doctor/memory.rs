//! Memory, and the limits of this process.

use super::findings::{Findings, Section};
use super::system::{line, value};
use std::fs::read_to_string;
use tensorferry::system;

pub(super) fn findings() -> Findings {
    let mut section = Section::new("memory");
    section.add_bytes("physical", Some(system::physical_memory()));
    let counted = read_to_string("/proc/meminfo").unwrap_or_default();
    section.add_bytes("available", kib(&counted, "MemAvailable"));
    section.add_bytes("swap", kib(&counted, "SwapTotal"));
    // The first version of control groups has a huge number for no limit.
    section.add_bytes("control group", system::group_memory().filter(|&limit| limit < 1 << 62));
    section.add_bytes("address space", system::address_space());
    section.add_bytes("usable", Some(system::usable_memory()));
    section.add_bytes("pool limit", Some(system::pool_limit() as u64));
    section.add("huge pages", huge_pages());
    if let Some(files) = system::open_files() {
        section.add_as("open files", files, files.to_string());
    }
    section.into()
}

/// A number of `/proc/meminfo`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    value(text, name, ':')?.strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The choice in brackets: `always [madvise] never`.
fn huge_pages() -> Option<String> {
    let choices = line("/sys/kernel/mm/transparent_hugepage/enabled")?;
    Some(choices.split_once('[')?.1.split_once(']')?.0.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_the_kernel_writes_them() {
        let text = "MemTotal:        8052112 kB\nMemAvailable:     512 kB\nHugePages_Total:   3\n";
        assert_eq!(kib(text, "MemAvailable"), Some(512 << 10));
        assert_eq!(kib(text, "HugePages_Total"), None);
        assert_eq!(kib(text, "SwapTotal"), None);
    }
}
