//! What ftpfs makes of a directory listing, as JSON: for bug reports, and for servers that nobody here has seen.
//!
//! `cargo run --release --example parse-listing -- FILE [--now 2026-03-10T12:00:00Z] [--tz +02:00]`; FILE holds
//! the bytes of an MLSD or a LIST as they came over the data connection (`curl ftp://HOST/DIR/` gives a
//! LIST, `curl -X MLSD ftp://HOST/DIR/` an MLSD). `-` is standard input.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use ftpfs::ftp::listing::{
    Entry, EntryKind, ListingClock, ListingFormat, Modified, Precision, parse,
};
use serde_json::{Map, Value, json};

/// What ftpfs makes of a directory listing, as JSON.
#[derive(Parser)]
struct Args {
    /// The listing as it came from the server; `-` is standard input.
    file: String,
    /// When it came: years that a listing leaves out follow from it.
    #[arg(long, value_name = "RFC3339")]
    now: Option<jiff::Timestamp>,
    /// How far the server's clock is ahead of UTC: `+02:00`, `-0500`, `0`.
    #[arg(long, value_name = "OFFSET", default_value = "+00:00", value_parser = offset, allow_hyphen_values = true)]
    tz: i32,
    /// What it is; without this its first line tells.
    #[arg(long, value_parser = ["mlsd", "list"])]
    format: Option<String>,
}

/// Seconds.
fn offset(text: &str) -> Result<i32, String> {
    let wrong = || format!("{text:?} is not an offset such as +02:00");
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = match digits.len() {
        1 | 2 => (&digits[..], "0"),
        4 => digits.split_at(2),
        _ => return Err(wrong()),
    };
    let part = |part: &str| part.parse::<i32>().map_err(|_| wrong());
    let seconds = part(hours)? * 3600 + part(minutes)? * 60;
    match seconds <= 15 * 3600 {
        true => Ok(sign * seconds),
        false => Err(wrong()),
    }
}

/// A line of MLSD begins with facts (RFC 3659 section 7.2), or with a blank where there are none.
fn is_mlsd(bytes: &[u8]) -> bool {
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
    let fact = first.split(|byte| *byte == b';').next().unwrap_or_default();
    match fact.iter().position(|byte| *byte == b'=') {
        Some(0) | None => false,
        Some(end) => fact[..end]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')),
    }
}

/// Text, or `KEY_hex` where the bytes are none.
fn put(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(key.to_owned(), json!(text)),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            object.insert(format!("{key}_hex"), json!(hex))
        }
    };
}

fn moment(modified: Modified) -> Result<(String, &'static str), jiff::Error> {
    let time = jiff::Timestamp::try_from(modified.time)?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    Ok(match modified.precision {
        Precision::Day => (time.strftime("%Y-%m-%d").to_string(), "day"),
        Precision::Minute => (time.strftime("%Y-%m-%dT%H:%MZ").to_string(), "minute"),
        Precision::Second => (time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), "second"),
        Precision::Subsecond => (
            time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            "subsecond",
        ),
    })
}

fn object(entry: &Entry) -> Result<Value, jiff::Error> {
    let mut object = Map::new();
    put(&mut object, "name", &entry.name);
    let kind = match entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "dir",
        EntryKind::Symlink => "symlink",
        EntryKind::Other => "other",
    };
    object.insert("type".into(), json!(kind));
    object.insert("size".into(), json!(entry.size));
    let (mtime, precision) = entry.modified.map(moment).transpose()?.unzip();
    object.insert("mtime".into(), json!(mtime));
    object.insert("precision".into(), json!(precision));
    let mode = entry.mode.map(|mode| format!("{mode:04o}"));
    object.insert("mode".into(), json!(mode));
    if entry.kind == EntryKind::Symlink {
        match &entry.target {
            Some(target) => put(&mut object, "target", target),
            None => {
                object.insert("target".into(), Value::Null);
            }
        }
    }
    Ok(Value::Object(object))
}

fn run(args: &Args) -> Result<String, Box<dyn std::error::Error>> {
    let mut bytes = Vec::new();
    if args.file == "-" {
        std::io::stdin().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(&args.file).map_err(|e| format!("{}: {e}", args.file))?;
    }
    let format = match args.format.as_deref() {
        Some("mlsd") => ListingFormat::Mlsd,
        Some(_) => ListingFormat::List,
        None if is_mlsd(&bytes) => ListingFormat::Mlsd,
        None => ListingFormat::List,
    };
    let clock = ListingClock {
        now: args.now.map_or_else(SystemTime::now, SystemTime::from),
        utc_offset: args.tz,
    };
    let listing = parse(format, &bytes, clock);
    let entries = listing
        .entries
        .iter()
        .map(object)
        .collect::<Result<Vec<_>, _>>()?;
    let unparsed: Vec<String> = listing
        .unparsed
        .iter()
        .map(|line| line.escape_ascii().to_string())
        .collect();
    let all = json!({ "entries": entries, "unparsed": unparsed });
    Ok(serde_json::to_string_pretty(&all)?)
}

fn main() -> ExitCode {
    let printed = run(&Args::parse()).and_then(|text| Ok(writeln!(std::io::stdout(), "{text}")?));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parse-listing: {error}");
            ExitCode::FAILURE
        }
    }
}
