//! `Value`: what stands behind an option's name, read as time, size, number or yes and no.

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::ftp::{OwnAddress, printable};

/// The bytes behind `=`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a>(pub(super) &'a [u8]);

/// Longest time that any option takes, one year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Value<'_> {
    pub(super) fn bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }

    pub(super) fn text(self) -> Result<String, String> {
        let text = std::str::from_utf8(self.0).map_err(|_| self.wrong("not UTF-8 text"))?;
        Ok(text.to_owned())
    }

    /// A path, made absolute: in the background the working directory is `/`.
    pub(super) fn path(self) -> Result<PathBuf, String> {
        std::path::absolute(OsStr::from_bytes(self.0))
            .map_err(|e| self.wrong(&format!("not a path: {e}")))
    }

    pub(super) fn yes(self) -> Result<bool, String> {
        match self.0 {
            b"yes" | b"true" | b"on" | b"1" => Ok(true),
            b"no" | b"false" | b"off" | b"0" => Ok(false),
            _ => Err(self.wrong("not yes or no")),
        }
    }

    pub(super) fn command(self) -> OsString {
        OsStr::from_bytes(self.0).to_owned()
    }

    /// A SHA-256 in hexadecimal digits, with or without colons.
    pub(super) fn fingerprint(self) -> Result<[u8; 32], String> {
        let wrong = || self.wrong("not a SHA-256: 64 hexadecimal digits");
        let digits: Vec<u8> = self
            .0
            .iter()
            .filter(|b| **b != b':')
            .map(|b| (*b as char).to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect();
        match digits.len() {
            64 => bytes.try_into().map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    /// `30`, `30s`, `5m`, `2h`, `500ms`, and the sum of such, as in `1h30m`.
    pub(super) fn time(self) -> Result<Duration, String> {
        let mut sum = Duration::ZERO;
        let mut rest = self;
        loop {
            let (number, unit) = rest.number_and_unit().ok_or_else(|| self.no_time())?;
            let end = unit
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(unit.len());
            let (unit, behind) = unit.split_at(end);
            let time = match unit {
                "" | "s" => Duration::from_secs(number),
                "ms" => Duration::from_millis(number),
                "m" | "min" => Duration::from_secs(number.saturating_mul(60)),
                "h" => Duration::from_secs(number.saturating_mul(3600)),
                "d" => Duration::from_secs(number.saturating_mul(24 * 3600)),
                _ => return Err(self.no_time()),
            };
            sum = sum.saturating_add(time).min(LONGEST);
            if behind.is_empty() {
                return Ok(sum);
            }
            rest = Value(&self.0[self.0.len() - behind.len()..]);
        }
    }

    /// A time for which something may take, so at least a tenth of a second.
    pub(super) fn timeout(self) -> Result<Duration, String> {
        let time = self.time()?;
        if time < Duration::from_millis(100) {
            return Err(self.wrong("every wait has an end, and 100ms is the least"));
        }
        Ok(time)
    }

    /// Bytes: `4096`, `64K`, `64M`, `10G`, also `64MiB` and `64MB`; powers of 1024.
    pub(super) fn size(self) -> Result<u64, String> {
        let no_size = || self.wrong("not a size such as 512K, 64M or 10G");
        let (number, unit) = self.number_and_unit().ok_or_else(no_size)?;
        let unit = unit.to_ascii_lowercase();
        let letter = unit.trim_end_matches('b').trim_end_matches('i');
        let shift = match letter {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return Err(no_size()),
        };
        number.checked_mul(1 << shift).ok_or_else(no_size)
    }

    pub(super) fn number(self, allowed: RangeInclusive<u32>) -> Result<u32, String> {
        let number: Option<u32> = self.text()?.parse().ok();
        number.filter(|n| allowed.contains(n)).ok_or_else(|| {
            self.wrong(&format!(
                "not a number from {} to {}",
                allowed.start(),
                allowed.end()
            ))
        })
    }

    pub(super) fn port(self) -> Result<u16, String> {
        let number = self.number(1..=u32::from(u16::MAX))?;
        u16::try_from(number).map_err(|_| self.wrong("not a port"))
    }

    /// `FIRST-LAST`, or one port.
    pub(super) fn ports(self) -> Result<RangeInclusive<u16>, String> {
        let text = self.text()?;
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        port(first)
            .zip(port(last))
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| first..=last)
            .ok_or_else(|| self.wrong("not a range of ports such as 50000-50100"))
    }

    /// An address of this machine, or one that leads to it: numbers, an interface, or `-` for whichever is used.
    pub(super) fn own_address(self) -> Result<OwnAddress, String> {
        let text = self.text()?;
        if matches!(text.as_str(), "" | "-") {
            return Ok(OwnAddress::OfControl);
        }
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Ok(ip) = inner.unwrap_or(&text).parse() {
            return Ok(OwnAddress::Literal(ip));
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.wrong(&format!(
                "neither an address nor an interface; the server's port is typed port={text}"
            )));
        }
        // As long as the kernel takes names.
        let is_name = text.len() < 16 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        match is_name {
            true => Ok(OwnAddress::Interface(text)),
            false => Err(self.wrong("neither an address of numbers nor an interface")),
        }
    }

    /// Permission bits in octal, as umask(1) takes them.
    pub(super) fn mask(self) -> Result<u16, String> {
        u16::from_str_radix(&self.text()?, 8)
            .ok()
            .filter(|mask| *mask <= 0o777)
            .ok_or_else(|| self.wrong("not an octal mask such as 022"))
    }

    /// "timeout=abc: not a time" for the value that was given.
    pub(super) fn wrong(self, why: &str) -> String {
        format!("{}: {why}", printable(self.0))
    }

    fn no_time(self) -> String {
        self.wrong("not a time such as 30, 30s or 5m")
    }

    fn number_and_unit(self) -> Option<(u64, String)> {
        let text = std::str::from_utf8(self.0).ok()?;
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        Some((number.parse().ok()?, unit.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("0", Some(0.0)),
            ("30", Some(30.0)),
            ("30s", Some(30.0)),
            ("5m", Some(300.0)),
            ("2h", Some(7200.0)),
            ("250ms", Some(0.25)),
            ("99999999999999", Some(LONGEST.as_secs_f64())),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1d", Some(86400.0)),
            ("1h30m", Some(5400.0)),
            ("5m0s", Some(300.0)),
            ("1m5", Some(65.0)),
            ("1w", None),
            ("1h-30m", None),
            ("5m s", None),
            ("1 s", None),
        ] {
            let found = Value(text.as_bytes()).time().ok();
            assert_eq!(found.map(|d| d.as_secs_f64()), seconds, "{text}");
        }
        assert!(Value(b"0").timeout().is_err());
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("64K", Some(65536)),
            ("64M", Some(64 << 20)),
            ("10g", Some(10 << 30)),
            ("1MiB", Some(1 << 20)),
            ("1MB", Some(1 << 20)),
            ("99999999T", None),
            ("M", None),
            ("1X", None),
        ] {
            assert_eq!(Value(text.as_bytes()).size().ok(), bytes, "{text}");
        }
    }

    #[test]
    fn ports_and_addresses() {
        for (text, ports) in [
            ("50000-50100", Some(50_000..=50_100)),
            ("2121", Some(2121..=2121)),
            ("1-65535", Some(1..=65_535)),
            ("0-9", None),
            ("9-8", None),
            ("1-65536", None),
            ("-", None),
            ("a-b", None),
            ("", None),
        ] {
            assert_eq!(Value(text.as_bytes()).ports().ok(), ports, "{text}");
        }
        let literal = |text: &str| Some(OwnAddress::Literal(text.parse().unwrap()));
        for (text, address) in [
            ("", Some(OwnAddress::OfControl)),
            ("-", Some(OwnAddress::OfControl)),
            ("192.0.2.7", literal("192.0.2.7")),
            ("2001:db8::7", literal("2001:db8::7")),
            ("[2001:db8::7]", literal("2001:db8::7")),
            ("eth0.7", Some(OwnAddress::Interface("eth0.7".into()))),
            ("my.host.example.org", None),
            ("a b", None),
            ("a/b", None),
        ] {
            assert_eq!(Value(text.as_bytes()).own_address().ok(), address, "{text}");
        }
    }

    #[test]
    fn masks_and_numbers() {
        assert_eq!(Value(b"022").mask(), Ok(0o022));
        assert!(Value(b"1777").mask().is_err());
        assert!(Value(b"9").mask().is_err());
        assert_eq!(Value(b"6").number(1..=64), Ok(6));
        assert!(Value(b"0").number(1..=64).is_err());
    }
}
