//! Times as `YYYYMMDDHHMMSS[.sss]` in UTC (RFC 3659 section 2.3).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;

/// Reads a time. `None` for what is none, and for years of five digits: servers that print
/// `19100` for 2000 have no time to tell.
pub(super) fn parse_stamp(text: &[u8]) -> Option<SystemTime> {
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    if whole.len() != 14 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        whole[from..to]
            .iter()
            .fold(0_i64, |n, d| n * 10 + i64::from(d - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    let (hour, minute, second) = (number(8, 10), number(10, 12), number(12, 14));
    let last_day = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let valid = year > 0
        && (1..=12).contains(&month)
        && (1..=last_day).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let nanos = fraction
        .iter()
        .chain(b"000000000")
        .take(9)
        .fold(0_u32, |n, d| n * 10 + u32::from(d - b'0'));
    let magnitude = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(magnitude)?
    } else {
        UNIX_EPOCH.checked_add(magnitude)?
    };
    time.checked_add(Duration::from_nanos(u64::from(nanos)))
}

/// A time as a command carries it: 14 digits, no fraction, which pyftpdlib would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp([u16; 6]);

impl Stamp {
    /// Rounded down to the second. `None` outside the years 1 to 9999.
    pub(super) fn of(time: SystemTime) -> Option<Self> {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_secs()).ok()?,
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).ok()?;
                -whole - i64::from(before.subsec_nanos() > 0)
            }
        };
        let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        if !(1..=9999).contains(&year) {
            return None;
        }
        let mut fields = [0; 6];
        let numbers = [year, month, day, rest / 3600, rest / 60 % 60, rest % 60];
        for (field, number) in fields.iter_mut().zip(numbers) {
            *field = u16::try_from(number).ok()?;
        }
        Some(Self(fields))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, rest @ ..] = self.0;
        write!(f, "{year:04}")?;
        rest.iter().try_for_each(|field| write!(f, "{field:02}"))
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap
/// day is the last one.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_both_ways() {
        for (text, seconds) in [
            ("19700101000000", 0),
            ("20000229235959", 951_868_799),
            ("20240301000000", 1_709_251_200),
            ("20380119031408", 2_147_483_648),
            ("21000228235959", 4_107_542_399),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse_stamp(text.as_bytes()), Some(time), "{text}");
            assert_eq!(Stamp::of(time).unwrap().to_string(), text);
        }
        let before = UNIX_EPOCH - Duration::from_millis(500);
        assert_eq!(Stamp::of(before).unwrap().to_string(), "19691231235959");
        assert_eq!(
            parse_stamp(b"19691231235959"),
            Some(UNIX_EPOCH - Duration::from_secs(1))
        );
    }

    #[test]
    fn every_day_of_eight_centuries() {
        for day in -150_000..150_000 {
            let (y, m, d) = civil_from_days(day);
            assert_eq!(days_from_civil(y, m, d), day);
        }
    }

    #[test]
    fn fractions_are_kept_and_nonsense_refused() {
        let half = UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(parse_stamp(b"19700101000001.5"), Some(half));
        for text in [
            "",
            "1970",
            "191000101000000",
            "20240230000000",
            "20241301000000",
            "20240101240000",
            "2024010100000x",
            "20240101000000 x",
            "00000101000000",
            "20230229000000",
        ] {
            assert_eq!(parse_stamp(text.as_bytes()), None, "{text}");
        }
    }
}
