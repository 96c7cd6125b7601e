//! How far the server's wall clock is ahead of UTC: LIST gives local times, MDTM gives UTC.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::Remote;
use super::profile::Ability;
use crate::ftp::listing::{Entry, EntryKind, Modified, Precision};
use crate::ftp::{FtpError, RemotePath, Session};
use crate::pool::Lease;

/// Exact times are worth asking for in directories of at most this many files: a batch of a round trip or two.
pub const EXACT_TIMES: usize = 1000;

/// Older entries are listed without the time of day by most servers.
const RECENT: Duration = Duration::from_secs(170 * 86_400);
/// Files that somebody may still be writing prove nothing.
const SETTLED: Duration = Duration::from_secs(120);
/// Questions for one listing.
const MAX_QUESTIONS: usize = 3;
const QUARTER: i64 = 15 * 60;
/// From UTC-12 to UTC+14.
const MAX_OFFSET: i64 = 14 * 3600;

/// Times to the second, by name.
pub(super) type ExactTimes = HashMap<Vec<u8>, SystemTime>;

impl Remote {
    /// Compares listed times, parsed as if they were UTC, with MDTM: of a few files, or of all for which exact times
    /// are wanted, where they can be asked for together. Returns the difference, `None` if it stays unknown, and what
    /// MDTM has told.
    pub(super) fn learn_zone(
        &self,
        lease: &mut Lease,
        dir: &RemotePath,
        entries: &[Entry],
        now: SystemTime,
    ) -> (Option<i32>, ExactTimes) {
        let mut exact = ExactTimes::new();
        if self.profile.lacks(Ability::Mdtm) || candidates(entries, now).next().is_none() {
            return (None, exact);
        }
        let inexact: Vec<_> = entries.iter().filter(|e| e.lacks_seconds()).collect();
        let paths = inexact.iter().filter_map(|e| dir.join(&e.name).ok());
        let paths: Vec<_> = paths.filter(Session::fits_a_batch).collect();
        let all = lease.experience().pipelining() == Some(true) && inexact.len() <= EXACT_TIMES;
        if all {
            let mut told = Vec::with_capacity(paths.len());
            if let Err(error) = lease.modified_of_many(&paths, |time| told.push(time)) {
                log::debug!("{dir}: {error}");
                return (None, exact);
            }
            for (path, time) in paths.iter().zip(told) {
                self.take_exact(path, time, &mut exact);
            }
        }
        let questions = if all { usize::MAX } else { MAX_QUESTIONS };
        for (name, listed) in candidates(entries, now).take(questions) {
            let Ok(path) = dir.join(name) else { continue };
            if !all {
                let told = lease.modified(&path);
                self.take_exact(&path, told, &mut exact);
            }
            let exactly = exact.get(name);
            if let Some(offset) = exactly.and_then(|exact| offset_between(listed, *exact)) {
                log::debug!("the server's clock is {offset} s ahead of UTC");
                self.profile.learn_zone(offset);
                return (Some(offset), exact);
            }
            if !lease.is_in_step() || self.profile.lacks(Ability::Mdtm) {
                break;
            }
        }
        self.profile.zone_not_found();
        (None, exact)
    }

    fn take_exact(
        &self,
        path: &RemotePath,
        told: Result<SystemTime, FtpError>,
        exact: &mut ExactTimes,
    ) {
        match told {
            Ok(time) => {
                exact.insert(path.name().to_vec(), time);
            }
            Err(error) => {
                self.learn_if_unknown(Ability::Mdtm, &error);
                log::debug!("{path}: {error}");
            }
        }
    }
}

/// Puts the times that are known to the second into the entries.
pub(super) fn keep_exact(entries: &mut [Entry], exact: &ExactTimes) {
    for entry in entries.iter_mut().filter(|entry| entry.lacks_seconds()) {
        if let Some(time) = exact.get(&entry.name) {
            entry.modified = Some(Modified {
                time: *time,
                precision: Precision::Second,
            });
        }
    }
}

fn candidates(entries: &[Entry], now: SystemTime) -> impl Iterator<Item = (&[u8], SystemTime)> {
    entries.iter().filter_map(move |entry| {
        let modified = entry.modified?;
        let offset = Duration::from_secs(MAX_OFFSET.unsigned_abs());
        let recent = modified.time + RECENT > now;
        let settled = modified.time + SETTLED + offset < now || modified.time > now + SETTLED;
        let usable =
            entry.kind == EntryKind::File && modified.precision >= Precision::Minute && recent;
        // Without a settled one among them, a fresh one is better than none.
        (usable && (settled || entries.len() < 50))
            .then_some((entry.name.as_slice(), modified.time))
    })
}

/// Seconds from the exact time to the listed one, if that can be a zone.
fn offset_between(listed: SystemTime, exact: SystemTime) -> Option<i32> {
    let seconds = match listed.duration_since(exact) {
        Ok(ahead) => i64::try_from(ahead.as_secs()).ok()?,
        Err(behind) => -i64::try_from(behind.duration().as_secs()).ok()?,
    };
    let offset = (seconds + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
    let remainder = (seconds - offset).abs();
    // Listed to the minute, so up to a minute early.
    (offset.abs() <= MAX_OFFSET && remainder <= 61)
        .then(|| i32::try_from(offset).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn offsets_are_quarters_of_hours() {
        let exact = UNIX_EPOCH + Duration::from_secs(1_700_000_059);
        let minute = UNIX_EPOCH + Duration::from_secs(1_700_000_040);
        let hour = Duration::from_secs(3600);
        assert_eq!(offset_between(minute, exact), Some(0));
        assert_eq!(offset_between(minute + hour, exact), Some(3600));
        assert_eq!(offset_between(minute - 5 * hour, exact), Some(-18_000));
        let nepal = Duration::from_secs(5 * 3600 + 45 * 60);
        assert_eq!(offset_between(minute + nepal, exact), Some(20_700));
        assert_eq!(offset_between(minute + 40 * hour, exact), None);
        assert_eq!(
            offset_between(minute + Duration::from_secs(300), exact),
            None
        );
    }
}
