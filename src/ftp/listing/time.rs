//! What a listing says of a time, and which moment that is.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use std::time::{Duration, SystemTime};

use super::line::{number, two_digits};
use super::{ListingClock, ListingZone, Modified, Precision};

/// A date as it stands in a line: of the right shape, though it may be impossible (`Feb 30`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// `None`: not told, the latest that is possible.
    pub(super) year: Option<i16>,
    /// 1 to 12, or a number that is no month.
    pub(super) month: i8,
    pub(super) day: i8,
    /// `None`: only the day is told.
    pub(super) time: Option<TimeOfDay>,
    /// Seconds that the time is ahead of UTC, where the line itself says so.
    pub(super) zone: Option<i32>,
}

/// A time of day as it stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeOfDay {
    pub(super) hour: i8,
    pub(super) minute: i8,
    pub(super) second: Option<i8>,
    pub(super) nanosecond: i32,
}

impl Stamp {
    /// A date of the right shape that never was: it costs the entry its time.
    pub(super) const IMPOSSIBLE: Stamp = Stamp {
        year: Some(0),
        month: 0,
        day: 0,
        time: None,
        zone: None,
    };

    /// A calendar day.
    pub(super) fn day(year: i16, month: i8, day: i8) -> Self {
        Self {
            year: Some(year),
            month,
            day,
            time: None,
            zone: None,
        }
    }

    /// The same day at this time of the server's clock.
    pub(super) fn at(self, time: TimeOfDay) -> Self {
        Self {
            time: Some(time),
            ..self
        }
    }

    /// The moment that this is in UTC; `None` if it cannot exist or has no year.
    pub(super) fn utc(&self) -> Option<Timestamp> {
        Offset::UTC.to_timestamp(self.civil(self.year?)?).ok()
    }

    /// The date in this year, in the time of the server's clock; `None` if there is none.
    fn civil(&self, year: i16) -> Option<DateTime> {
        let time = self.time.unwrap_or(TimeOfDay {
            hour: 0,
            minute: 0,
            second: None,
            nanosecond: 0,
        });
        // A leap second (RFC 3659 section 2.3 allows 60) has no place in Unix time.
        let second = match time.second.unwrap_or(0) {
            60 => 59,
            second => second,
        };
        DateTime::new(
            year,
            self.month,
            self.day,
            time.hour,
            time.minute,
            second,
            time.nanosecond,
        )
        .ok()
    }
}

impl TimeOfDay {
    /// `H:MM`, `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fraction`; hours may be impossible (`24:00`).
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut parts = text.splitn(3, |b| *b == b':');
        let hour = two_digits(parts.next()?)?;
        let minute = two_digits(parts.next().filter(|m| m.len() == 2)?)?;
        let (second, nanosecond) = match parts.next() {
            None => (None, 0),
            Some(rest) => {
                let (whole, fraction) = match rest.iter().position(|b| *b == b'.') {
                    Some(dot) => (&rest[..dot], nanoseconds(&rest[dot + 1..])?),
                    None => (rest, 0),
                };
                (
                    Some(two_digits(whole).filter(|_| whole.len() == 2)?),
                    fraction,
                )
            }
        };
        Some(Self {
            hour,
            minute,
            second,
            nanosecond,
        })
    }
}

/// The digits behind a decimal point, as nanoseconds.
pub(super) fn nanoseconds(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nine = (0..9).map(|n| digits.get(n).map_or(0, |b| i32::from(b - b'0')));
    Some(nine.fold(0, |value, digit| value * 10 + digit))
}

/// A year of two, three or four digits.
///
/// 70 to 99 are 19xx, 00 to 69 are 20xx; three digits count from 1900, as old OS/2 servers do.
pub(super) fn year(text: &[u8]) -> Option<i16> {
    let value = i16::try_from(number(text)?).ok()?;
    match (text.len(), value) {
        (2, 70..) => Some(1900 + value),
        (2, _) => Some(2000 + value),
        (3, _) => Some(1900 + value),
        (4, _) => Some(value),
        _ => None,
    }
}

/// Seconds since 1970, as `m` facts of EPLF and numeric listings give them.
pub(super) fn epoch(seconds: u64) -> Option<Modified> {
    let moment = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(Modified {
        time: moment.into(),
        precision: Precision::Second,
    })
}

/// Makes moments out of stamps.
pub(super) struct Clock {
    zone: ListingZone,
    /// A date without a year is never after this: a day after the listing arrived, because clocks
    /// and zones are wrong by less than that.
    latest: Timestamp,
    latest_year: i16,
}

impl Clock {
    pub(super) fn new(clock: ListingClock) -> Self {
        let offset = Offset::from_seconds(clock.utc_offset).unwrap_or(Offset::UTC);
        Self::in_zone(clock.now, ListingZone::fixed(offset))
    }

    pub(super) fn in_zone(now: SystemTime, zone: ListingZone) -> Self {
        let latest = now
            .checked_add(Duration::from_secs(24 * 60 * 60))
            .and_then(|time| Timestamp::try_from(time).ok())
            .unwrap_or(Timestamp::MAX);
        Self {
            latest,
            latest_year: zone.wall_clock(latest).year(),
            zone,
        }
    }

    /// The moment; `None` if it cannot exist.
    pub(super) fn modified(&self, stamp: &Stamp) -> Option<Modified> {
        let Some(time) = stamp.time else {
            return Some(Modified {
                time: stamp.utc()?.into(),
                precision: Precision::Day,
            });
        };
        let moment = |year: i16| {
            let shown = stamp.civil(year)?;
            match stamp.zone {
                Some(seconds) => Offset::from_seconds(seconds).ok()?.to_timestamp(shown).ok(),
                None => self.zone.moment(shown),
            }
        };
        let moment = match stamp.year {
            Some(year) => moment(year)?,
            // Leap years are at most eight years apart (1896, 1904).
            None => (0..=8)
                .filter_map(|ago| moment(self.latest_year.checked_sub(ago)?))
                .find(|found| *found <= self.latest)?,
        };
        let precision = match time {
            TimeOfDay { second: None, .. } => Precision::Minute,
            TimeOfDay { nanosecond: 0, .. } => Precision::Second,
            _ => Precision::Subsecond,
        };
        Some(Modified {
            time: moment.into(),
            precision,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(now: &str, utc_offset: i32) -> Clock {
        let now = now.parse::<Timestamp>().unwrap().into();
        Clock::new(ListingClock { now, utc_offset })
    }

    fn stamp(year: Option<i16>, month: i8, day: i8, time: &str) -> Stamp {
        Stamp {
            year,
            ..Stamp::day(0, month, day)
        }
        .at(TimeOfDay::read(time.as_bytes()).unwrap())
    }

    #[test]
    fn the_year_is_the_latest_that_is_possible() {
        let cases = [
            (
                "2026-01-02T12:00:00Z",
                0,
                (1, 3),
                "12:00",
                Some("2026-01-03T12:00:00Z"),
            ),
            (
                "2026-01-02T12:00:00Z",
                0,
                (1, 3),
                "12:01",
                Some("2025-01-03T12:01:00Z"),
            ),
            (
                "2025-12-31T23:30:00Z",
                0,
                (1, 1),
                "00:10",
                Some("2026-01-01T00:10:00Z"),
            ),
            (
                "2026-03-10T12:00:00Z",
                0,
                (2, 29),
                "10:00",
                Some("2024-02-29T10:00:00Z"),
            ),
            (
                "2024-02-28T09:00:00Z",
                0,
                (2, 29),
                "10:00",
                Some("2020-02-29T10:00:00Z"),
            ),
            (
                "1903-06-01T00:00:00Z",
                0,
                (2, 29),
                "10:00",
                Some("1896-02-29T10:00:00Z"),
            ),
            ("2026-03-10T12:00:00Z", 0, (2, 30), "10:00", None),
            ("2026-03-10T12:00:00Z", 0, (3, 1), "24:00", None),
            // 11:59 UTC is 06:59 in New York, and midnight there comes five hours later.
            (
                "2026-03-10T12:00:00Z",
                -18_000,
                (3, 11),
                "07:00",
                Some("2026-03-11T12:00:00Z"),
            ),
            (
                "2026-03-10T12:00:00Z",
                -18_000,
                (3, 11),
                "07:01",
                Some("2025-03-11T12:01:00Z"),
            ),
            (
                "2025-12-31T20:00:00Z",
                18_000,
                (1, 1),
                "00:59",
                Some("2025-12-31T19:59:00Z"),
            ),
        ];
        for (now, offset, (month, day), time, expected) in cases {
            let found = clock(now, offset).modified(&stamp(None, month, day, time));
            let expected = expected.map(|e| SystemTime::from(e.parse::<Timestamp>().unwrap()));
            assert_eq!(
                found.map(|m| m.time),
                expected,
                "{now} {month}-{day} {time}"
            );
        }
    }

    #[test]
    fn precision_is_what_was_told() {
        let clock = clock("2026-03-10T12:00:00Z", 3600);
        for (time, expected) in [
            ("9:05", Precision::Minute),
            ("09:05:00", Precision::Second),
            ("09:05:00.000", Precision::Second),
            ("09:05:00.25", Precision::Subsecond),
            ("23:59:60", Precision::Second),
        ] {
            let found = clock.modified(&stamp(Some(2020), 2, 29, time)).unwrap();
            assert_eq!(found.precision, expected, "{time}");
        }
        let day = clock.modified(&Stamp::day(1900, 2, 28)).unwrap();
        assert_eq!(day.precision, Precision::Day);
        assert_eq!(clock.modified(&Stamp::day(1900, 2, 29)), None);
        assert_eq!(clock.modified(&Stamp::IMPOSSIBLE), None);
    }

    #[test]
    fn years_of_two_three_and_four_digits() {
        for (text, expected) in [
            ("70", Some(1970)),
            ("69", Some(2069)),
            ("103", Some(2003)),
            ("1899", Some(1899)),
            ("5", None),
            ("12345", None),
        ] {
            assert_eq!(year(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn times_that_are_none() {
        for text in [
            "",
            ":",
            "1:2",
            "123:00",
            "12:345",
            "12:00:0",
            "12:00:00.",
            "12:00:00:00",
        ] {
            assert_eq!(TimeOfDay::read(text.as_bytes()), None, "{text}");
        }
    }
}
