//! Times that are known better than a listing tells them: those of our own writes, and those that
//! the server told to the second before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::listing::{Entries, Remembered};
use crate::ftp::listing::{EntryKind, Modified, Precision};
use crate::remote::FileVersion;

/// The time of a file that we wrote.
#[derive(Debug, Clone, Copy)]
pub struct OwnTime {
    /// What programs were shown while the file was written, and go on being shown.
    pub shown: SystemTime,
    /// What the server had after our commit: as long as a listing agrees with it, the file is as we
    /// left it.
    pub stored: FileVersion,
}

/// A listing tells minutes: a time told to the second is still true if that minute had passed by this
/// much when it was told, for any later change falls into another minute.
const SETTLED: Duration = Duration::from_secs(120);

/// Keeps what the old listing, fetched at `told`, knew better of files that the new one lists unchanged.
pub(super) fn keep_known_times(new: &mut Entries, old: &Entries, told: SystemTime) {
    for (name, found) in new.iter_mut() {
        let Some(before) = old.get(name) else {
            continue;
        };
        if found.entry.kind != EntryKind::File || before.entry.kind != EntryKind::File {
            continue;
        }
        match before.own {
            Some(own) if agrees(found, own.stored) => {
                found.own = Some(own);
                found.entry.modified = Some(Modified {
                    time: own.shown,
                    precision: Precision::Subsecond,
                });
            }
            Some(_) => {}
            None => keep_exact(found, before, told),
        }
    }
}

fn keep_exact(found: &mut Remembered, before: &Remembered, told: SystemTime) {
    let (Some(new), Some(old)) = (found.entry.modified, before.entry.modified) else {
        return;
    };
    let settled = new.time + Duration::from_secs(60) + SETTLED < told;
    let exact = old.precision >= Precision::Second;
    if new.precision == Precision::Minute
        && exact
        && settled
        && found.entry.size == before.entry.size
        && minute(old.time) == minute(new.time)
    {
        found.entry.modified = Some(old);
    }
}

/// Whether a listed file can be the one that we stored, as exactly as the listing tells.
fn agrees(found: &Remembered, stored: FileVersion) -> bool {
    if found.entry.size.is_some_and(|size| size != stored.size) {
        return false;
    }
    let (Some(listed), Some(stored)) = (found.entry.modified, stored.modified) else {
        return true;
    };
    match listed.precision {
        Precision::Second | Precision::Subsecond => second(listed.time) == second(stored),
        Precision::Minute => minute(listed.time) == minute(stored),
        // A day in the server's own calendar, whatever its zone is.
        Precision::Day => second(listed.time).abs_diff(second(stored)) < 2 * 86_400,
    }
}

/// Files whose time is known to the minute at best.
pub(super) fn missing_times(entries: &Entries) -> Vec<Vec<u8>> {
    entries
        .iter()
        .filter(|(_, found)| found.entry.lacks_seconds())
        .map(|(name, _)| name.clone())
        .collect()
}

fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map(|d| d.as_secs())
        .unwrap_or(0)
}

fn minute(time: SystemTime) -> u64 {
    second(time) / 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::listing::Entry;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn listed(size: u64, seconds: u64, precision: Precision, own: Option<OwnTime>) -> Entries {
        let entry = Entry {
            name: b"f".to_vec(),
            kind: EntryKind::File,
            size: Some(size),
            modified: Some(Modified {
                time: at(seconds),
                precision,
            }),
            mode: None,
            target: None,
            perm: None,
        };
        Entries::from([(b"f".to_vec(), Remembered { entry, own })])
    }

    fn shown(entries: &Entries) -> SystemTime {
        entries[&b"f"[..]].entry.modified.unwrap().time
    }

    #[test]
    fn the_time_of_our_own_write_stays_while_the_listing_agrees() {
        let own = OwnTime {
            shown: at(6000) + Duration::from_millis(5),
            stored: FileVersion {
                size: 3,
                modified: Some(at(6030)),
            },
        };
        let old = listed(3, 6030, Precision::Second, Some(own));
        let cases = [
            (3, 6000, Precision::Minute, own.shown),
            (3, 6030, Precision::Second, own.shown),
            (3, 6031, Precision::Second, at(6031)),
            (3, 6060, Precision::Minute, at(6060)),
            (4, 6000, Precision::Minute, at(6000)),
        ];
        for (size, time, precision, expected) in cases {
            let mut new = listed(size, time, precision, None);
            keep_known_times(&mut new, &old, at(6100));
            assert_eq!(shown(&new), expected, "size {size}, {time} {precision:?}");
        }
    }

    #[test]
    fn a_second_told_before_is_kept_once_its_minute_is_over() {
        let old = listed(3, 6042, Precision::Second, None);
        for (told, expected) in [(6043, 6000), (6300, 6042)] {
            let mut new = listed(3, 6000, Precision::Minute, None);
            keep_known_times(&mut new, &old, at(told));
            assert_eq!(shown(&new), at(expected), "told at {told}");
        }
    }

    #[test]
    fn only_files_need_exact_times() {
        assert_eq!(
            missing_times(&listed(1, 60, Precision::Minute, None)),
            [b"f".to_vec()]
        );
        assert!(missing_times(&listed(1, 60, Precision::Second, None)).is_empty());
        let mut directory = listed(1, 60, Precision::Minute, None);
        directory.get_mut(&b"f"[..]).unwrap().entry.kind = EntryKind::Directory;
        assert!(missing_times(&directory).is_empty());
    }
}
