//! What a process holds: nothing of it may grow with the number of images.

use std::fs;
use std::time::Duration;

/// How many descriptors this process and those that it has started have when the renderer has let go of what it is behind with: the
/// least of a second.
pub fn settled_descriptors() -> usize {
    let count = |_| {
        std::thread::sleep(Duration::from_millis(50));
        descendants(std::process::id()).into_iter().map(descriptors).sum()
    };
    (0..20).map(count).min().unwrap()
}

/// Those of a process, 0 when it has ended.
fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// A process and all below it.
fn descendants(process: u32) -> Vec<u32> {
    let children = processes().into_iter().filter(|(_, parent)| *parent == process);
    [process].into_iter().chain(children.flat_map(|(child, _)| descendants(child))).collect()
}

/// Each process with its parent: behind the name, which may have any character, the second word of `stat`.
fn processes() -> Vec<(u32, u32)> {
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let with_parent = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((process, parent))
    };
    numbers.filter_map(with_parent).collect()
}

/// The memory of this process.
pub fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
