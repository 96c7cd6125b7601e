//! `Sidecar`: all that has to be known of a kept file beside its bytes, as lines of text.
//!
//! One `word: value` a line; paths are percent-encoded, times are seconds since 1970, `-` stands for what is
//! not there. Words that are not known are passed over.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

use super::patch::Patched;
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
    /// An APPE may still arrive.
    pub(super) append_unsure: bool,
    /// Ranges of it may have arrived.
    pub(super) patched: Option<Patched>,
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
    pub(super) replaces: Replaces,
}

/// Which notes of the same process and file this one stands for: where they are still there, they were about to be
/// removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Replaces {
    /// All that are older: it was begun empty.
    Everything,
    /// This one, of the same content at an earlier time: the name without its ending.
    Note(String),
    Nothing,
}

impl Replaces {
    fn encode(&self) -> String {
        match self {
            Self::Everything => "everything".into(),
            Self::Note(note) => note.clone(),
            Self::Nothing => dash(),
        }
    }

    /// What stands for the file `note`.
    pub(super) fn note(note: &Path) -> Self {
        let stem = note.file_stem().unwrap_or_default();
        Self::Note(stem.to_string_lossy().into_owned())
    }
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
            format!("append_unsure: {}", self.append_unsure),
            format!("patched: {}", self.patched.map_or_else(dash, patched_text)),
            format!("base: {}", self.base.map_or_else(dash, version_text)),
            format!("base_valid: {}", self.base_valid),
            format!(
                "mode: {}",
                self.mode.map_or_else(dash, |mode| format!("{mode:o}"))
            ),
            format!("modified: {}", time_text(self.set_modified)),
            format!("when: {}", time_text(Some(self.when))),
            format!("nanoseconds: {}", nanoseconds(self.when)),
            format!("left: {left}"),
            format!("data: {data}"),
            format!("replaces: {}", self.replaces.encode()),
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
            append_unsure: get("append_unsure") == Some("true"),
            patched: match get("patched").unwrap_or("-") {
                "-" => None,
                text => Some(patched(text)?),
            },
            base,
            base_valid,
            mode: match get("mode")? {
                "-" => None,
                text => Some(u16::from_str_radix(text, 8).ok()?),
            },
            set_modified: time(get("modified")?)?,
            when: {
                let nanoseconds = get("nanoseconds").and_then(|text| text.parse().ok());
                let more = Duration::from_nanos(nanoseconds.unwrap_or(0));
                time(get("when")?)??.checked_add(more)?
            },
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
            replaces: match get("replaces") {
                // Before there was this word a whole content was newer than all else.
                None if base_valid == 0 => Replaces::Everything,
                None | Some("-") => Replaces::Nothing,
                Some("everything") => Replaces::Everything,
                Some(note) => Replaces::Note(note.to_owned()),
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

fn patched_text(patched: Patched) -> String {
    let [before, since, until] =
        [patched.before, Some(patched.since), Some(patched.until)].map(time_text);
    format!("{before} {since} {until}")
}

fn patched(text: &str) -> Option<Patched> {
    let mut words = text.split(' ');
    Some(Patched {
        before: time(words.next()?)?,
        since: time(words.next()?)??,
        until: time(words.next()?)??,
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

/// What tells notes of one second apart.
fn nanoseconds(time: SystemTime) -> u32 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos())
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
impl Sidecar {
    /// Of a whole content.
    pub(super) fn example(path: RemotePath, size: u64) -> Self {
        let mut staged = ByteRanges::default();
        staged.insert(0..size);
        Self {
            path,
            size,
            staged,
            resized: false,
            is_link: false,
            append_unsure: false,
            patched: None,
            base: None,
            base_valid: 0,
            mode: None,
            set_modified: None,
            when: SystemTime::now(),
            left: Left::Unknown,
            reason: "why".into(),
            data: None,
            replaces: Replaces::Everything,
        }
    }
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
                append_unsure: size % 3 == 1,
                patched: (size % 3 == 2).then_some(Patched {
                    before: set_modified,
                    since: when,
                    until: when,
                }),
                base,
                base_valid: base.map_or(0, |base| base.size / 2),
                mode,
                set_modified,
                when: when
                    + Duration::from_nanos(if when < UNIX_EPOCH {
                        0
                    } else {
                        size % 1_000_000_000
                    }),
                left,
                reason,
                replaces: match size % 5 {
                    0 => Replaces::Everything,
                    1 => Replaces::Note("12.345-6".into()),
                    _ => Replaces::Nothing,
                },
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
