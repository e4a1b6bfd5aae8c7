//! Examines the machine: its disk and file system, descriptors, memory and clock.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use reg_api::clock::{self, CLOCKS_DIFFER_MAX};
use reg_api::doctor::{Finding, Subject};
use reg_api::fault::FaultKind;
use reg_api::size::Size;

use crate::daemon::config::Config;
use crate::daemon::home::Home;
use crate::daemon::open_files;
use crate::daemon::place::{Strange, strange};
use crate::store::free_space;

/// Memory that a node needs beside what the system can give now: pieces of a few downloads, and the catalogue.
const MEMORY_MIN: u64 = 256 << 20;

/// The time that a server has told, in seconds since 1970, and its name.
pub(super) type ToldTime = (String, u64);

/// Examines them all.
pub(super) fn all(home: &Home, config: &Config, told: &[ToldTime]) -> Vec<Finding> {
    let mut found = vec![disk(home, config)];
    found.extend(file_system(home));
    found.push(descriptors(open_files::of_daemon()));
    found.extend(available_memory().map(memory));
    let newest = newest_file(&home.data_dir);
    found.push(time_of_day(clock::now(), told, newest.as_ref()));
    found
}

fn disk(home: &Home, config: &Config) -> Finding {
    let dir = home.store();
    let Some(free) = free_space(&dir) else {
        return Finding::ok(Subject::Disk, "this system does not say how much is free");
    };
    let (shown, min_free) = (dir.display(), config.cache.min_free);
    if free < min_free || free == 0 {
        let what = format!(
            "{} are free on the disk of {shown}, and cache.min_free keeps {}",
            Size(free),
            Size(min_free)
        );
        return Finding::fault(
            Subject::Disk,
            FaultKind::DiskFull,
            what,
            "nothing can be pulled or published: remove models or other files, or set a smaller cache.min_free",
        )
        .try_with("reg gc");
    }
    Finding::ok(Subject::Disk, format!("{} are free on the disk of {shown}", Size(free)))
}

fn file_system(home: &Home) -> Vec<Finding> {
    let mut found: Vec<Finding> = strange(&home.data_dir).into_iter().map(of_strange).collect();
    if found.is_empty() {
        found.push(Finding::ok(Subject::FileSystem, "it is of this machine"));
    }
    found
}

fn of_strange(strange: Strange) -> Finding {
    match strange {
        Strange::Remote { path, kind } => Finding::warning(
            Subject::FileSystem,
            format!("{} is on another machine ({kind})", path.display()),
            "only one machine at a time may use it, its locks must work, and it is slow: --home DIR names a folder of a disk \
             here",
        ),
        Strange::OfAnotherUser { path, owner } => Finding::warning(
            Subject::FileSystem,
            format!("root runs in {}, which belongs to user {owner}", path.display()),
            "new files will be root's: run it as that user, or name another folder with --home DIR",
        ),
    }
}

fn descriptors((allowed, needed): (Option<u64>, u64)) -> Finding {
    match allowed {
        Some(allowed) if allowed < needed => Finding::fault(
            Subject::OpenFiles,
            FaultKind::Internal,
            format!("a process may have {allowed} files open at once, and a daemon needs {needed}"),
            "raise the hard limit: LimitNOFILE=65536 in a service of systemd, or in a shell of root",
        )
        .try_with("ulimit -Hn 65536"),
        Some(allowed) => Finding::ok(
            Subject::OpenFiles,
            format!("{allowed} may be open at once, and a daemon needs {needed}"),
        ),
        None => Finding::ok(Subject::OpenFiles, "there is no limit"),
    }
}

fn memory(available: u64) -> Finding {
    if available < MEMORY_MIN {
        return Finding::warning(
            Subject::Memory,
            format!("{} of memory are available, and a node may need {}", Size(available), Size(MEMORY_MIN)),
            "end other programs, or give the service or the container more memory",
        );
    }
    Finding::ok(Subject::Memory, format!("{} are available", Size(available)))
}

/// Returns the bytes of memory that the system, and the group of this process, can still give; `None` where neither says.
fn available_memory() -> Option<u64> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let text = fs::read_to_string("/proc/meminfo").ok();
    let of_system = text.as_deref().and_then(|text| {
        let line = text.lines().find_map(|it| it.strip_prefix("MemAvailable:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    });
    let of_group = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ]
    .iter()
    .find_map(|(max, used)| Some(number(max)?.saturating_sub(number(used)?)));
    of_system.into_iter().chain(of_group).min()
}

/// Returns the file of a folder that was written last, and when, in seconds since 1970.
fn newest_file(dir: &Path) -> Option<ToldTime> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let written = entries.filter_map(|entry| {
        let time = entry.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some((entry.path().display().to_string(), time.as_secs()))
    });
    written.max_by_key(|(_, time)| *time)
}

/// Compares the clock with the times that servers have told, and with the file that was written last: no file is of the future.
fn time_of_day(now: u64, told: &[ToldTime], newest: Option<&ToldTime>) -> Finding {
    let off = |than: &str, time: u64| {
        let (by, way) = (clock::age(now.abs_diff(time)), if now > time { "ahead of" } else { "behind" });
        let what = format!("the clock says {}, {by} {way} {than}", clock::date(now));
        let remedy = "set the clock: tags and certificates have dates";
        Finding::fault(Subject::Clock, FaultKind::Internal, what, remedy).try_with("timedatectl set-ntp true")
    };
    if let Some((server, time)) = told.iter().find(|(_, time)| now.abs_diff(*time) > CLOCKS_DIFFER_MAX) {
        return off(&format!("that of {server}"), *time);
    }
    if let Some((file, time)) = newest.filter(|(_, time)| *time > now.saturating_add(CLOCKS_DIFFER_MAX)) {
        return off(&format!("the time at which {file} was written"), *time);
    }
    let by = match told.first() {
        Some((server, _)) => format!("and agrees with {server}"),
        None => "and no server of gateway.upstream and transfer.web_seeds has told the time".to_owned(),
    };
    Finding::ok(Subject::Clock, format!("it says {}, {by}", clock::date(now)))
}

#[cfg(test)]
mod tests {
    use reg_api::doctor::Verdict;

    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_clock_that_is_off_by_a_day_is_named_both_ways() {
        let now = 1_796_106_000;
        let told = |time| [("https://hub.example".to_owned(), time)];
        for (time, way) in [(now - DAY, "24 h ahead of"), (now + DAY, "24 h behind")] {
            let found = time_of_day(now, &told(time), None);
            assert!(found.verdict == Verdict::Fault && found.what.contains(way), "{found:?}");
        }
        let file = |time| ("/srv/reg/gateway".to_owned(), time);
        let found = time_of_day(now, &told(now + 5), Some(&file(now + DAY)));
        assert!(found.what.contains("/srv/reg/gateway"), "{found:?}");
        for newest in [None, Some(file(now - DAY)), Some(file(now + 60))] {
            assert_eq!(time_of_day(now, &told(now - 9), newest.as_ref()).verdict, Verdict::Ok);
            assert_eq!(time_of_day(now, &[], newest.as_ref()).verdict, Verdict::Ok);
        }
    }

    #[test]
    fn little_memory_few_descriptors_and_strange_folders_are_named() {
        assert_eq!(memory(100 << 20).verdict, Verdict::Warning);
        assert_eq!(memory(4 << 30).verdict, Verdict::Ok);
        for (allowed, verdict) in [
            (Some(24), Verdict::Fault),
            (Some(511), Verdict::Fault),
            (Some(512), Verdict::Ok),
            (None, Verdict::Ok),
        ] {
            assert_eq!(descriptors((allowed, 512)).verdict, verdict, "{allowed:?}");
        }
        let remote = of_strange(Strange::Remote { path: "/home/me".into(), kind: "NFS" });
        assert!(remote.verdict == Verdict::Warning && remote.what.contains("NFS"), "{remote:?}");
    }
}
