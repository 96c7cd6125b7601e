//! How far the server's wall clock is ahead of UTC: LIST gives local times, MDTM gives UTC.

use std::time::{Duration, SystemTime};

use super::Remote;
use super::profile::Ability;
use crate::ftp::RemotePath;
use crate::ftp::listing::{Entry, EntryKind, Precision};
use crate::pool::Lease;

/// Older entries are listed without the time of day by most servers.
const RECENT: Duration = Duration::from_secs(170 * 86_400);
/// Files that somebody may still be writing prove nothing.
const SETTLED: Duration = Duration::from_secs(120);
/// Questions for one listing.
const MAX_QUESTIONS: usize = 3;
const QUARTER: i64 = 15 * 60;
/// From UTC-12 to UTC+14.
const MAX_OFFSET: i64 = 14 * 3600;

impl Remote {
    /// Compares listed times, parsed as if they were UTC, with MDTM. `None` if it stays unknown.
    pub(super) fn learn_zone(
        &self,
        lease: &mut Lease,
        dir: &RemotePath,
        entries: &[Entry],
        now: SystemTime,
    ) -> Option<i32> {
        if self.profile.lacks(Ability::Mdtm) {
            return None;
        }
        let mut asked = false;
        for (name, listed) in candidates(entries, now).take(MAX_QUESTIONS) {
            let Ok(path) = dir.join(name) else { continue };
            asked = true;
            match lease.modified(&path) {
                Ok(exact) => {
                    if let Some(offset) = offset_between(listed, exact) {
                        log::debug!("the server's clock is {offset} s ahead of UTC");
                        self.profile.learn_zone(offset);
                        return Some(offset);
                    }
                }
                Err(e) if self.learn_if_unknown(Ability::Mdtm, &e) => return None,
                Err(e) => {
                    log::debug!("{path}: {e}");
                    if !lease.is_in_step() {
                        break;
                    }
                }
            }
        }
        if asked {
            self.profile.zone_not_found();
        }
        None
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
