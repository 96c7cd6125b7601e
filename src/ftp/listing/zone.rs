//! `ListingZone`: the time zone of a LIST, where somebody knows it.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{self, Offset, TimeZone};

/// No zone is further from UTC, in minutes.
const FURTHEST: i32 = 14 * 60;

/// A time zone, by its offset or by its name; what it was in summer and winter of each year is in the
/// system's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingZone(TimeZone);

impl ListingZone {
    /// `utc`, `local`, `+0200`, `-03:30`, `+2`, or `Area/City`.
    ///
    /// # Errors
    /// What is wrong with it, and which name is near.
    pub fn named(name: &str) -> Result<Self, String> {
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Self(TimeZone::UTC));
        }
        if name.eq_ignore_ascii_case("local") {
            return TimeZone::try_system()
                .map(Self)
                .map_err(|e| format!("the zone of this machine cannot be found: {e}"));
        }
        if name.starts_with(['+', '-']) {
            let offset = offset(name).ok_or("not an offset such as +0200 or -03:30")?;
            return Ok(Self(TimeZone::fixed(offset)));
        }
        let zones = tz::db();
        if name.contains('/')
            && let Ok(zone) = zones.get(name)
        {
            return Ok(Self(zone));
        }
        let known: Vec<String> = zones.available().map(|known| known.to_string()).collect();
        let likeness = |known: &&String| {
            let city = known.rsplit('/').next().unwrap_or_default();
            let most_of = |known| strsim::normalized_damerau_levenshtein(name, known);
            most_of(known).max(most_of(city))
        };
        let places = known.iter().filter(|known| known.contains('/'));
        let nearest = places.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        Err(match nearest {
            Some(near) => format!(
                "not auto, utc, local, an offset such as +0200, or a place; perhaps {near}"
            ),
            None => "not auto, utc, local, or an offset such as +0200 (this machine has no time zone database)".into(),
        })
    }

    /// Seconds that the server's wall clock is ahead of UTC at this moment.
    pub fn offset_at(&self, moment: SystemTime) -> i32 {
        let moment = Timestamp::try_from(moment).unwrap_or(Timestamp::UNIX_EPOCH);
        self.0.to_offset(moment).seconds()
    }

    /// The zone that is always ahead of UTC by so much.
    pub(super) fn fixed(offset: Offset) -> Self {
        Self(TimeZone::fixed(offset))
    }

    /// The wall clock at this moment.
    pub(super) fn wall_clock(&self, moment: Timestamp) -> DateTime {
        self.0.to_datetime(moment)
    }

    /// When the wall clock shows this. What it shows twice, in autumn, is the earlier of the two; what it
    /// leaves out, in spring, is read as if it had not been put forward yet.
    pub(super) fn moment(&self, shown: DateTime) -> Option<Timestamp> {
        self.0.to_timestamp(shown).ok()
    }
}

/// `+H`, `+HH`, `+HHMM` or `+HH:MM`, and the same behind the sign that points west.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = match (digits.split_once(':'), digits.len()) {
        (Some(parts), 5) => parts,
        (None, 4) => digits.split_at_checked(2)?,
        (None, 1 | 2) => (digits, "0"),
        _ => return None,
    };
    let number = |digits: &str| {
        let only = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i32>().ok().filter(|_| only)
    };
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|m| *m < 60)?);
    let total = Some(hours * 60 + minutes).filter(|total| *total <= FURTHEST)?;
    let ahead = if sign == "-" { -total } else { total };
    Offset::from_seconds(ahead * 60).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> SystemTime {
        text.parse::<Timestamp>().unwrap().into()
    }

    #[test]
    fn zones_and_what_they_are_ahead() {
        let (winter, summer) = ("2026-01-15T12:00:00Z", "2026-07-15T12:00:00Z");
        for (name, in_winter, in_summer) in [
            ("utc", 0, 0),
            ("UTC", 0, 0),
            ("+0200", 7200, 7200),
            ("+2", 7200, 7200),
            ("+02", 7200, 7200),
            ("-03:30", -12_600, -12_600),
            ("+14:00", 50_400, 50_400),
            ("Europe/Berlin", 3600, 7200),
            ("America/New_York", -18_000, -14_400),
            ("Australia/Lord_Howe", 39_600, 37_800),
            ("Asia/Kathmandu", 20_700, 20_700),
        ] {
            let zone = ListingZone::named(name).unwrap();
            assert_eq!(zone.offset_at(moment(winter)), in_winter, "{name}");
            assert_eq!(zone.offset_at(moment(summer)), in_summer, "{name}");
        }
        assert!(ListingZone::named("local").is_ok());
    }

    #[test]
    fn what_is_no_zone() {
        for (name, part) in [
            ("", "not auto"),
            ("Europe/Berlim", "perhaps Europe/Berlin"),
            ("Berlin", "perhaps Europe/Berlin"),
            ("CEST", "not auto, utc, local"),
            ("../../etc/passwd", "not auto"),
            ("+", "not an offset"),
            ("+1460", "not an offset"),
            ("+1401", "not an offset"),
            ("+02:0", "not an offset"),
            ("+2:00", "not an offset"),
            ("+-200", "not an offset"),
            ("-ä", "not an offset"),
        ] {
            let message = ListingZone::named(name).unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
        }
    }

    #[test]
    fn days_on_which_the_clock_changes() {
        let zone = ListingZone::named("Europe/Berlin").unwrap();
        for (shown, expected) in [
            ("2025-03-30T01:59", "2025-03-30T00:59:00Z"),
            // Left out: one hour later by the new clock.
            ("2025-03-30T02:30", "2025-03-30T01:30:00Z"),
            ("2025-03-30T03:00", "2025-03-30T01:00:00Z"),
            ("2025-10-26T01:59", "2025-10-25T23:59:00Z"),
            // Shown twice.
            ("2025-10-26T02:30", "2025-10-26T00:30:00Z"),
            ("2025-10-26T03:00", "2025-10-26T02:00:00Z"),
        ] {
            let found = zone.moment(shown.parse().unwrap());
            assert_eq!(found, expected.parse().ok(), "{shown}");
        }
    }
}
