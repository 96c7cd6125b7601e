//! The listings of many servers, parsed and compared with what they must give, entry by entry.

#![allow(
    clippy::unwrap_used,
    reason = "the helpers of a test fail like the test itself"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ftpfs::ftp::listing::{
    Entry, EntryKind, ListingClock, ListingFormat, ParsedListing, Precision, parse,
};
use serde_json::Value;

struct Sample {
    name: String,
    bytes: Vec<u8>,
    expected: Value,
}

impl Sample {
    fn format(&self) -> ListingFormat {
        match self.expected["command"].as_str().unwrap() {
            "MLSD" => ListingFormat::Mlsd,
            _ => ListingFormat::List,
        }
    }

    fn clock(&self) -> ListingClock {
        let now: jiff::Timestamp = self.expected["now"].as_str().unwrap().parse().unwrap();
        let tz = self.expected["tz"].as_str().unwrap();
        let (hours, minutes) = tz[1..].split_once(':').unwrap();
        let seconds = hours.parse::<i32>().unwrap() * 3600 + minutes.parse::<i32>().unwrap() * 60;
        ListingClock {
            now: now.into(),
            utc_offset: if tz.starts_with('-') {
                -seconds
            } else {
                seconds
            },
        }
    }

    fn parse(&self) -> ParsedListing {
        parse(self.format(), &self.bytes, self.clock())
    }
}

fn corpus() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/listings");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    paths.sort();
    let sample = |path: PathBuf| Sample {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        bytes: fs::read(&path).unwrap(),
        expected: serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap(),
    };
    paths.into_iter().map(sample).collect()
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The bytes of `key`, or of `key_hex`.
fn bytes(entry: &Value, key: &str) -> Option<Vec<u8>> {
    if let Some(text) = entry[key].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let hex = entry[format!("{key}_hex")].as_str()?;
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    Some((0..hex.len()).step_by(2).map(byte).collect())
}

/// Milliseconds since 1970.
fn milliseconds(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128 / 1_000_000,
        Err(before) => -(before.duration().as_nanos() as i128) / 1_000_000,
    }
}

fn moment(text: &str) -> i128 {
    let time: jiff::Timestamp = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        17 => text.replace('Z', ":00Z"),
        _ => text.to_owned(),
    }
    .parse()
    .unwrap();
    milliseconds(time.into())
}

/// What is expected, in the words of the JSON files.
fn described(expected: &Value) -> String {
    let mut line = String::new();
    write!(line, "{} ", text(&bytes(expected, "name").unwrap())).unwrap();
    if let Some(target) = bytes(expected, "target") {
        write!(line, "-> {} ", text(&target)).unwrap();
    }
    let mtime = expected["mtime"].as_str().map(moment);
    let precision = expected["precision"].as_str();
    let size = expected["size"].as_u64();
    let mode = expected["mode"].as_str();
    let kind = expected["type"].as_str().unwrap();
    write!(line, "{kind} {size:?} {mtime:?} {precision:?} {mode:?}").unwrap();
    line
}

/// What was found, in the same words.
fn found(entry: &Entry) -> String {
    let mut line = format!("{} ", text(&entry.name));
    if let Some(target) = &entry.target {
        write!(line, "-> {} ", text(target)).unwrap();
    }
    let kind = match entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "dir",
        EntryKind::Symlink => "symlink",
        EntryKind::Other => "other",
    };
    let mtime = entry.modified.map(|m| milliseconds(m.time));
    let precision = entry.modified.map(|m| match m.precision {
        Precision::Day => "day",
        Precision::Minute => "minute",
        Precision::Second => "second",
        Precision::Subsecond => "subsecond",
    });
    let mode = entry.mode.map(|mode| format!("{mode:04o}"));
    let mode = mode.as_deref();
    let size = entry.size;
    write!(line, "{kind} {size:?} {mtime:?} {precision:?} {mode:?}").unwrap();
    line
}

#[test]
fn every_sample_comes_out_exactly() {
    let mut samples = corpus();
    samples.retain(|s| {
        ["dos", "mac", "mlsd", "unix"]
            .iter()
            .any(|form| s.name.starts_with(form))
    });
    assert_eq!(samples.len(), 29);
    let mut differences = String::new();
    for sample in &samples {
        let expected: Vec<String> = sample.expected["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(described)
            .collect();
        let listing = sample.parse();
        let found: Vec<String> = listing.entries.iter().map(found).collect();
        if expected == found {
            continue;
        }
        writeln!(differences, "== {}", sample.name).unwrap();
        for n in 0..expected.len().max(found.len()) {
            let (e, f) = (expected.get(n), found.get(n));
            if e != f {
                writeln!(differences, "  expected {e:?}\n  found    {f:?}").unwrap();
            }
        }
        for line in &listing.unparsed {
            writeln!(differences, "  unparsed {}", text(line)).unwrap();
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// Headers, totals and `.` are silent; whatever else gives no entry is told, byte for byte.
#[test]
fn what_gives_no_entry_is_told() {
    let cases: [(&str, &[&str]); 7] = [
        ("mlsd-proftpd", &[]),
        (
            "mlsd-variants",
            &[
                "type=file;size=5;modify=20250101000000;",
                "type=file;size=5;modify=20250101000000; ",
                "type=dir;size=1;modify=20250101000000; ../escape",
                "type=dir;modify=20250101000000; /abs/path/in/mlsd",
                "type=file;size=1;modify=20250101000000; nul\0x",
            ],
        ),
        (
            "unix-inetutils-ls",
            &[
                "n/dir: No such file or directory",
                "ls: cannot open directory secret: Permission denied",
                "x",
            ],
        ),
        ("unix-localized", &[]),
        ("unix-recursive", &[]),
        ("unix-vsftpd", &[]),
        ("dos-iis", &[]),
    ];
    let samples = corpus();
    for (name, expected) in cases {
        let sample = samples.iter().find(|s| s.name == name).unwrap();
        let unparsed = sample.parse().unparsed;
        let found: Vec<&str> = unparsed
            .iter()
            .map(|l| std::str::from_utf8(l).unwrap())
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// A listing that was cut, or lines in another order, must not change the lines that remain.
#[test]
fn any_beginning_of_a_listing_parses() {
    for sample in corpus() {
        let clock = sample.clock();
        for end in 0..sample.bytes.len() {
            let listing = parse(sample.format(), &sample.bytes[..end], clock);
            for entry in &listing.entries {
                assert!(
                    !entry.name.is_empty() && !entry.name.contains(&b'/'),
                    "{}",
                    sample.name
                );
            }
        }
    }
    let later = Duration::from_secs(1 << 40);
    let far = ListingClock {
        now: SystemTime::UNIX_EPOCH + later,
        utc_offset: i32::MAX,
    };
    for sample in corpus() {
        assert_eq!(
            parse(sample.format(), &sample.bytes, far).entries.len(),
            sample.parse().entries.len(),
            "{}",
            sample.name
        );
    }
}
