//! Prints what the parsers make of a saved directory listing, as JSON.
//!
//! `parse-listing FILE [--now RFC3339] [--tz OFFSET]`: `FILE` holds the bytes of one listing as the
//! server sent them (`-`: standard input); `--now` is when it came (default: now), `--tz` the zone of
//! the server's wall clock (`+02:00`; default: UTC). Whether it is the answer to MLSD or to LIST is
//! seen from the content. Lines that give no entry are told on standard error.

use std::io::{Read as _, Write as _};
use std::time::SystemTime;
use std::{env, fs, io, process};

use ftpfs::ftp::listing::{
    Entry, EntryKind, ListingClock, ListingFormat, Modified, Precision, parse,
};
use ftpfs::ftp::printable;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

const USAGE: &str = "usage: parse-listing FILE [--now RFC3339] [--tz OFFSET]";

fn main() {
    if let Err(message) = run(env::args().skip(1)) {
        eprintln!("parse-listing: {message}");
        process::exit(2);
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<(), String> {
    let mut file = None;
    let mut clock = ListingClock {
        now: SystemTime::now(),
        utc_offset: 0,
    };
    while let Some(arg) = args.next() {
        let (option, inline) = match arg.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        let mut value = || inline.clone().or_else(|| args.next()).ok_or(USAGE);
        match option {
            "--now" => {
                let now = value()?;
                let now: Timestamp = now.parse().map_err(|e| format!("--now {now}: {e}"))?;
                clock.now = now.into();
            }
            "--tz" => {
                let tz = value()?;
                clock.utc_offset =
                    offset(&tz).ok_or(format!("--tz {tz}: not an offset like +02:00"))?;
            }
            _ if file.is_none() => file = Some(arg),
            _ => return Err(USAGE.to_owned()),
        }
    }
    let file = file.ok_or(USAGE)?;
    let bytes = read(&file).map_err(|e| format!("{file}: {e}"))?;
    let listing = parse(format_of(&bytes), &bytes, clock);
    for line in &listing.unparsed {
        eprintln!("no entry: {}", printable(line));
    }
    let entries: Vec<Value> = listing.entries.iter().map(entry).collect();
    let text = serde_json::to_string_pretty(&json!({ "entries": entries }));
    let text = text.map_err(|e| e.to_string())?;
    writeln!(io::stdout(), "{text}").map_err(|e| e.to_string())
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    if file != "-" {
        return fs::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Seconds ahead of UTC: `+02:00`, `-0530`, `+2`, `Z`.
fn offset(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "z" | "UTC") {
        return Some(0);
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 && digits.is_ascii() => digits.split_at(2),
        None => (digits, "00"),
    };
    let part = |text: &str, most: i32| -> Option<i32> {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n| digits && *n <= most)
    };
    Some(sign * (part(hours, 25)? * 3600 + part(minutes, 59)? * 60))
}

/// MLSD if most lines begin with facts that tell a type: RFC 3659 asks it of every line, and a name
/// with a line break may look like anything.
fn format_of(bytes: &[u8]) -> ListingFormat {
    let has_type = |line: &&[u8]| {
        let facts = line.split(|b| *b == b' ').next().unwrap_or_default();
        facts.split(|b| *b == b';').any(|fact| {
            fact.get(..5)
                .is_some_and(|key| key.eq_ignore_ascii_case(b"type="))
        })
    };
    let lines = bytes.split(|b| *b == b'\n').filter(|line| line.len() > 1);
    let (mlsd, other): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(has_type);
    match mlsd.len() > other.len() {
        true => ListingFormat::Mlsd,
        false => ListingFormat::List,
    }
}

fn entry(entry: &Entry) -> Value {
    let mut object = Map::new();
    text_or_hex(&mut object, "name", &entry.name);
    let kind = match entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "dir",
        EntryKind::Symlink => "symlink",
        EntryKind::Other => "other",
    };
    object.insert("type".into(), kind.into());
    object.insert("size".into(), entry.size.into());
    let (mtime, precision) = entry.modified.and_then(time).unzip();
    object.insert("mtime".into(), mtime.into());
    object.insert("precision".into(), precision.into());
    let mode = entry.mode.map(|mode| format!("{mode:04o}"));
    object.insert("mode".into(), mode.into());
    match (&entry.target, entry.kind) {
        (Some(target), _) => text_or_hex(&mut object, "target", target),
        (None, EntryKind::Symlink) => {
            object.insert("target".into(), Value::Null);
        }
        (None, _) => {}
    }
    Value::Object(object)
}

fn text_or_hex(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(key.into(), text.into()),
        Err(_) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            object.insert(format!("{key}_hex"), hex.into())
        }
    };
}

/// The time in UTC, with no more digits than were told, and what was told.
fn time(modified: Modified) -> Option<(String, &'static str)> {
    let (format, precision) = match modified.precision {
        Precision::Day => ("%Y-%m-%d", "day"),
        Precision::Minute => ("%Y-%m-%dT%H:%MZ", "minute"),
        Precision::Second => ("%Y-%m-%dT%H:%M:%SZ", "second"),
        Precision::Subsecond => ("%Y-%m-%dT%H:%M:%S.%3fZ", "subsecond"),
    };
    let time = Timestamp::try_from(modified.time).ok()?;
    Some((time.strftime(format).to_string(), precision))
}
