//! How much memory this process may use.
#![forbid(unsafe_code)]

use crate::memory::pages::physical_memory;
use std::fs;
use std::path::Path;

/// Whether `bytes` is at most half of the limit or, without one, of the usable memory.
pub(crate) fn holds(bytes: u64, limit: Option<usize>) -> bool {
    bytes <= limit.map_or_else(usable, |limit| limit as u64) / 2
}

/// Number of bytes of memory that this process may use.
pub(crate) fn usable() -> u64 {
    let least = group().into_iter().chain(address_space()).min();
    (physical_memory() as u64).min(least.unwrap_or(u64::MAX))
}

/// The lowest limit of the control groups of this process.
pub(crate) fn group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().filter_map(group_limit).min()
}

/// The lowest limit of a control group and its parents, from a line of `/proc/self/cgroup`:
/// `0::/a/b` (version 2), `4:memory:/a/b` (version 1).
fn group_limit(line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':');
    let (root, name) = match (fields.next()?, fields.next()?) {
        ("0", "") => ("/sys/fs/cgroup", "memory.max"),
        (_, controllers) if controllers.split(',').any(|one| one == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group = Path::new(root).join(fields.next()?.trim_start_matches('/'));
    let limit = |group: &Path| fs::read_to_string(group.join(name)).ok()?.trim().parse().ok();
    group.ancestors().take_while(|group| group.starts_with(root)).filter_map(limit).min()
}

/// The soft limit on the address space of this process.
pub(crate) fn address_space() -> Option<u64> {
    soft_limit(&limits(), "Max address space")
}

/// Maximum number of files that this process may have open.
pub(crate) fn open_files() -> Option<u64> {
    soft_limit(&limits(), "Max open files")
}

fn limits() -> String {
    fs::read_to_string("/proc/self/limits").unwrap_or_default()
}

/// The soft limit from `/proc/self/limits`: `Max address space  1073741824  unlimited  bytes`.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let limits = "\
            Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max address space         1073741824           unlimited            bytes     \n";
        assert_eq!(soft_limit(limits, "Max address space"), Some(1 << 30));
        assert_eq!(
            soft_limit(&limits.replace("1073741824", "unlimited "), "Max address space"),
            None
        );
        assert_eq!(group_limit("7:blkio:/"), None);
        assert_eq!(group_limit("1:name=systemd:/no/such/group"), None);
        assert_eq!(group_limit("nonsense"), None);
    }

    #[test]
    fn what_fits_is_less_than_what_there_is() {
        assert!(usable() > 1 << 20);
        assert!(holds(1 << 16, None));
        assert!(!holds(usable(), None));
        assert!(holds(50, Some(100)) && !holds(51, Some(100)));
    }
}
