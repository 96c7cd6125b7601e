//! The listings of many servers, parsed and compared with what they must give, entry by entry.

#![allow(
    clippy::unwrap_used,
    reason = "the helpers of a test fail like the test itself"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use ftpfs::ftp::check_name;
use ftpfs::ftp::listing::{
    Entry, EntryKind, ListingClock, ListingFormat, ParsedListing, Precision, parse,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
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
    let samples = corpus();
    assert_eq!(samples.len(), 41);
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

/// The example that people are asked to run prints the same, whatever form it has to guess.
#[test]
fn the_example_prints_every_sample() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/listings");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = std::process::Command::new(cargo)
        .args(["build", "-q", "--example", "parse-listing"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success());
    let examples = Path::new(env!("CARGO_BIN_EXE_ftpfs")).with_file_name("examples");
    for sample in corpus() {
        let output = std::process::Command::new(examples.join("parse-listing"))
            .arg(folder.join(format!("{}.txt", sample.name)))
            .args(["--now", sample.expected["now"].as_str().unwrap()])
            .args(["--tz", sample.expected["tz"].as_str().unwrap()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {output:?}", sample.name);
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut expected = sample.expected["entries"].clone();
        for entry in expected.as_array_mut().unwrap() {
            entry.as_object_mut().unwrap().remove("line");
        }
        assert_eq!(printed["entries"], expected, "{}", sample.name);
    }
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
        ("unix-recursive", &["./sub:"]),
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

/// One name that the kernel does not take would cost the whole directory.
#[test]
fn names_longer_than_the_kernel_takes_are_told() {
    let clock = ListingClock {
        now: SystemTime::UNIX_EPOCH,
        utc_offset: 0,
    };
    let (mlsd, list) = (ListingFormat::Mlsd, ListingFormat::List);
    let cases = [
        (mlsd, "type=file;size=1; ", ""),
        (mlsd, "type=dir; ", ""),
        (list, "-rw-r--r-- 1 u g 1 Jan 1 1970 ", ""),
        (list, "lrwxrwxrwx 1 u g 1 Jan 1 1970 ", " -> x"),
        (list, "01-01-70  12:00AM  <DIR>  ", ""),
        (list, "+r,s1,\t", ""),
    ];
    for (format, front, behind) in cases {
        for (length, fits) in [(255, true), (1024, true), (1025, false), (5000, false)] {
            let line = |name: &str| format!("{front}{name}{behind}");
            let long = "n".repeat(length);
            let lines = [line("a"), line(&long), line("z")];
            let listing = parse(format, lines.join("\r\n").as_bytes(), clock);
            let names: Vec<_> = listing.entries.iter().map(|e| text(&e.name)).collect();
            let told: Vec<_> = listing.unparsed.iter().map(|line| text(line)).collect();
            if fits {
                assert_eq!(names, ["a", &*long, "z"], "{front}");
                assert!(told.is_empty(), "{told:?}");
            } else {
                assert_eq!(names, ["a", "z"], "{front}");
                assert_eq!(told, [lines[1].escape_default().to_string()]);
            }
        }
    }
}

/// Whatever comes: names are legal and taken from the input, and no line counts twice.
fn check(format: ListingFormat, bytes: &[u8], clock: ListingClock) {
    let listing = parse(format, bytes, clock);
    let lines = bytes.split(|b| *b == b'\n').count();
    assert!(listing.entries.len() + listing.unparsed.len() <= lines);
    for entry in &listing.entries {
        assert_eq!(check_name(&entry.name), Ok(()));
        assert!(entry.name.len() <= 1024);
        let here = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(here(&entry.name), "{}", text(&entry.name));
        assert!(entry.target.as_deref().is_none_or(here));
        assert!(entry.mode.is_none_or(|mode| mode <= 0o7777));
        assert!(entry.size.is_none() || entry.kind == EntryKind::File);
    }
}

#[test]
fn any_beginning_of_a_listing_parses() {
    for sample in corpus() {
        for end in 0..sample.bytes.len() {
            check(sample.format(), &sample.bytes[..end], sample.clock());
        }
    }
}

#[test]
fn clocks_at_the_ends_of_time_parse() {
    for sample in corpus() {
        for seconds in [0, 1 << 33, 1 << 40, 1 << 62] {
            for utc_offset in [i32::MIN, -93_599, 93_599, i32::MAX] {
                let after = Duration::from_secs(seconds);
                for now in [
                    SystemTime::UNIX_EPOCH + after,
                    SystemTime::UNIX_EPOCH - after,
                ] {
                    check(
                        sample.format(),
                        &sample.bytes,
                        ListingClock { now, utc_offset },
                    );
                }
            }
        }
    }
}

/// Bytes that mean something to one parser or another.
const TELLING: &[u8] = b" \t\r\n\0;:=/\\,.-+*<>[]dlr019AaZx?%\x80\xe6\xff";

/// What is done to a line of the corpus.
#[derive(Debug, Clone)]
enum Change {
    Put(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Swap(usize, usize),
}

impl Change {
    /// Any number means some place in `bytes`.
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        match *self {
            Change::Put(at, byte) => bytes[at % len] = byte,
            Change::Swap(a, b) => bytes.swap(a % len, b % len),
            Change::Remove(at, count) => {
                bytes.drain(at % len..(at % len + count).min(len));
            }
            Change::Repeat(at, count) => {
                let part = bytes[at % len..(at % len + count).min(len)].to_vec();
                bytes.splice(at % len..at % len, part);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![select(TELLING), any::<u8>()];
    prop_oneof![
        (any::<usize>(), byte).prop_map(|(at, byte)| Change::Put(at, byte)),
        (any::<usize>(), 1..20usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<usize>(), 1..40usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Change::Swap(a, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_bytes_parse(
        bytes in vec(prop_oneof![select(TELLING), any::<u8>()], 0..300),
        utc_offset in any::<i32>(),
    ) {
        let clock = ListingClock { now: SystemTime::UNIX_EPOCH, utc_offset };
        check(ListingFormat::Mlsd, &bytes, clock);
        check(ListingFormat::List, &bytes, clock);
    }

    #[test]
    fn changed_samples_parse(sample in any::<usize>(), changes in vec(change(), 1..30)) {
        static CORPUS: LazyLock<Vec<Sample>> = LazyLock::new(corpus);
        let sample = &CORPUS[sample % CORPUS.len()];
        let mut bytes = sample.bytes.clone();
        for change in changes {
            change.apply(&mut bytes);
        }
        check(sample.format(), &bytes, sample.clock());
    }
}
