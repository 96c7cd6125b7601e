//! `Sidecar`: all that has to be known of a kept file beside its bytes, as lines of text.
//!
//! One `word: value` a line; paths are percent-encoded, times are seconds since 1970, `-` stands for what is
//! not there. Words that are not known are passed over.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

use super::{ByteRanges, Left};
use crate::ftp::RemotePath;
use crate::remote::FileVersion;

/// The first line; another number is another format.
const HEAD: &str = "ftpfs kept file 1";

/// The largest offset of a file on Linux.
const MAX_SIZE: u64 = i64::MAX as u64;

const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// A path as one word of a line.
pub(super) fn encoded(path: &RemotePath) -> String {
    percent_encode(path.as_bytes(), ENCODED).to_string()
}

/// What [`encoded`] has made; `None` if it is no path.
pub(super) fn decoded(word: &str) -> Option<RemotePath> {
    RemotePath::parse(&percent_decode_str(word).collect::<Vec<u8>>()).ok()
}

/// What a [`FileWriter`](super::FileWriter) knew when its commit had failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sidecar {
    pub(super) path: RemotePath,
    pub(super) size: u64,
    /// Which bytes of the data file count.
    pub(super) staged: ByteRanges,
    pub(super) resized: bool,
    /// The name is a link that the server follows.
    pub(super) is_link: bool,
    pub(super) base: Option<FileVersion>,
    /// Bytes in front of this are those of `base` where they are not staged.
    pub(super) base_valid: u64,
    pub(super) mode: Option<u16>,
    pub(super) set_modified: Option<SystemTime>,
    pub(super) when: SystemTime,
    pub(super) left: Left,
    pub(super) reason: String,
    /// The data file, where it is not beside the sidecar.
    pub(super) data: Option<PathBuf>,
}

impl Sidecar {
    pub(super) fn encode(&self) -> String {
        let ranges: Vec<_> = self
            .staged
            .iter()
            .map(|range| format!("{}-{}", range.start, range.end))
            .collect();
        let left = match self.left {
            Left::Nothing => "nothing".into(),
            Left::Unknown => "unknown".into(),
            Left::File(version) => version_text(version),
        };
        let reason: String = self
            .reason
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let data = self.data.as_deref().map_or_else(dash, |path| {
            percent_encode(path.as_os_str().as_bytes(), ENCODED).to_string()
        });
        [
            HEAD.into(),
            format!("path: {}", encoded(&self.path)),
            format!("size: {}", self.size),
            format!("staged: {}", ranges.join(" ")),
            format!("resized: {}", self.resized),
            format!("link: {}", self.is_link),
            format!("base: {}", self.base.map_or_else(dash, version_text)),
            format!("base_valid: {}", self.base_valid),
            format!(
                "mode: {}",
                self.mode.map_or_else(dash, |mode| format!("{mode:o}"))
            ),
            format!("modified: {}", time_text(self.set_modified)),
            format!("when: {}", time_text(Some(self.when))),
            format!("left: {left}"),
            format!("data: {data}"),
            format!("reason: {reason}"),
            String::new(),
        ]
        .join("\n")
    }

    /// `None` if the text is of another format, or damaged.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return None;
        }
        let lines: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        let get = |word: &str| {
            let found = lines.iter().find(|(known, _)| *known == word);
            found.map(|(_, value)| *value)
        };
        let size = number(get("size")?)?;
        let mut staged = ByteRanges::default();
        for range in get("staged")?.split(' ').filter(|word| !word.is_empty()) {
            let (start, end) = range.split_once('-')?;
            let (start, end) = (number(start)?, number(end)?);
            if start > end || end > size {
                return None;
            }
            staged.insert(start..end);
        }
        let base = match get("base")? {
            "-" => None,
            text => Some(version(text)?),
        };
        let base_valid = number(get("base_valid")?)?;
        if base_valid > base.map_or(0, |base| base.size) {
            return None;
        }
        Some(Self {
            path: decoded(get("path")?)?,
            size,
            staged,
            resized: get("resized")? == "true",
            is_link: get("link") == Some("true"),
            base,
            base_valid,
            mode: match get("mode")? {
                "-" => None,
                text => Some(u16::from_str_radix(text, 8).ok()?),
            },
            set_modified: time(get("modified")?)?,
            when: time(get("when")?)??,
            left: match get("left")? {
                "nothing" => Left::Nothing,
                "unknown" => Left::Unknown,
                text => Left::File(version(text)?),
            },
            data: match get("data").unwrap_or("-") {
                "-" => None,
                text => {
                    let bytes: Vec<u8> = percent_decode_str(text).collect();
                    Some(Path::new(OsStr::from_bytes(&bytes)).to_owned())
                }
            },
            reason: get("reason").unwrap_or_default().to_owned(),
        })
    }
}

fn dash() -> String {
    "-".into()
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= MAX_SIZE)
}

fn version_text(version: FileVersion) -> String {
    format!("{} {}", version.size, time_text(version.modified))
}

fn version(text: &str) -> Option<FileVersion> {
    let (size, modified) = text.split_once(' ')?;
    Some(FileVersion {
        size: number(size)?,
        modified: time(modified)?,
    })
}

/// Whole seconds: FTP tells and takes no others, and versions are compared by them.
fn time_text(time: Option<SystemTime>) -> String {
    match time.map(|time| time.duration_since(UNIX_EPOCH)) {
        None => dash(),
        Some(Ok(since)) => since.as_secs().to_string(),
        Some(Err(before)) => format!("-{}", before.duration().as_secs()),
    }
}

/// `Some(None)` is a time that is not there.
fn time(text: &str) -> Option<Option<SystemTime>> {
    if text == "-" {
        return Some(None);
    }
    let time = match text.strip_prefix('-') {
        Some(before) => UNIX_EPOCH.checked_sub(Duration::from_secs(number(before)?)),
        None => UNIX_EPOCH.checked_add(Duration::from_secs(number(text)?)),
    };
    time.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option::of;
    use proptest::prelude::*;

    fn at(seconds: i64) -> SystemTime {
        let length = Duration::from_secs(seconds.unsigned_abs());
        match seconds < 0 {
            true => UNIX_EPOCH - length,
            false => UNIX_EPOCH + length,
        }
    }

    fn times() -> impl Strategy<Value = SystemTime> {
        (-1_000_000_000_000i64..1_000_000_000_000).prop_map(at)
    }

    fn versions() -> impl Strategy<Value = FileVersion> {
        let parts = (0..=MAX_SIZE, of(times()));
        parts.prop_map(|(size, modified)| FileVersion { size, modified })
    }

    fn sidecars() -> impl Strategy<Value = Sidecar> {
        let name = proptest::collection::vec(any::<u8>(), 1..20);
        let ranges = proptest::collection::vec((0..1000u64, 0..1000u64), 0..5);
        let left = prop_oneof![
            Just(Left::Nothing),
            Just(Left::Unknown),
            versions().prop_map(Left::File)
        ];
        let parts = (
            (name.clone(), 2000..=MAX_SIZE, ranges, any::<bool>()),
            (of(versions()), of(0..0o7777u16), of(times())),
            (times(), left, "[ -~]*", of(name)),
        );
        parts.prop_filter_map("names that FTP cannot carry", |(file, old, rest)| {
            let (name, size, ranges, resized) = file;
            let (base, mode, set_modified) = old;
            let (when, left, reason, data) = rest;
            let path = RemotePath::root().join(&name).ok()?;
            let mut staged = ByteRanges::default();
            ranges
                .into_iter()
                .for_each(|(start, length)| staged.insert(start..start + length));
            Some(Sidecar {
                path,
                size,
                staged,
                resized,
                is_link: size % 2 == 1,
                base,
                base_valid: base.map_or(0, |base| base.size / 2),
                mode,
                set_modified,
                when,
                left,
                reason,
                data: data
                    .filter(|data| data != b"-")
                    .map(|data| Path::new(OsStr::from_bytes(&data)).to_owned()),
            })
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sidecar in sidecars()) {
            prop_assert_eq!(Sidecar::decode(&sidecar.encode()), Some(sidecar));
        }

        #[test]
        fn damage_is_no_panic(sidecar in sidecars(), at in any::<usize>(), with in "[ -~\n]{0,3}") {
            let mut text = sidecar.encode();
            let at = at % text.len();
            if text.is_char_boundary(at) {
                text.replace_range(at..=at, &with);
            }
            if let Some(read) = Sidecar::decode(&text) {
                prop_assert!(read.staged.iter().all(|range| range.end <= read.size));
            }
        }
    }
}
