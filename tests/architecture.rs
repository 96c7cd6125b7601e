//! The floors of the house: which room may name which, and how large a file may be.

#![allow(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the ground up. A room may name rooms of lower floors only; rooms of one floor do not
/// know each other.
const FLOORS: [&[&str]; 11] = [
    &["daemon", "logging", "memory", "shell", "status", "workers"],
    &["net"],
    &["ftp"],
    &["pool"],
    &["remote"],
    &["cache", "writeback"],
    &["fs"],
    &["fuse"],
    &["mount"],
    &["cli"],
    &["main"],
];

/// Outside crates that belong to some rooms alone.
const OWNED_CRATES: [(&str, &[&str]); 13] = [
    ("clap", &["cli"]),
    ("encoding_rs", &["fuse"]),
    ("env_logger", &["logging"]),
    ("fuser", &["fs", "fuse"]),
    ("indicatif", &["mount"]),
    ("lru", &["cache"]),
    ("rustls", &["net"]),
    ("rustls_native_certs", &["net"]),
    ("socket2", &["net"]),
    ("rpassword", &["cli"]),
    ("sd_notify", &["mount"]),
    ("serde", &["status"]),
    ("serde_json", &["status"]),
];

const MAX_LINES: usize = 500;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    assert!(
        files.len() > 20,
        "found only {} files under {}",
        files.len(),
        root.display()
    );
    files
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let room = name
                .split('/')
                .next()
                .unwrap()
                .trim_end_matches(".rs")
                .to_owned();
            (name, room, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The code of a file without comments and without its unit tests, which may reach further.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]").next().unwrap_or(text);
    body.lines()
        .map(|l| l.split("//").next().unwrap_or(""))
        .collect::<Vec<_>>()
        .join("\n")
}

fn words_after<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(prefix).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let rest = &code[at + prefix.len()..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        Some(&rest[..end])
    })
}

#[test]
fn rooms_name_only_lower_floors() {
    let floor: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(n, rooms)| rooms.iter().map(move |room| (*room, n)))
        .collect();
    for (name, room, text) in all_sources() {
        if room == "lib" {
            continue;
        }
        let own = *floor
            .get(room.as_str())
            .unwrap_or_else(|| panic!("src/{name}: no floor for {room}"));
        let code = code(&text);
        assert!(
            !code.contains("use crate::{"),
            "src/{name}: name one room per `use`"
        );
        for prefix in ["crate::", "ftpfs::"] {
            for other in words_after(&code, prefix) {
                let Some(theirs) = floor.get(other) else {
                    continue;
                };
                assert!(
                    other == room || *theirs < own,
                    "src/{name}: room `{room}` (floor {own}) names `{other}` (floor {theirs})"
                );
            }
        }
    }
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    for (name, room, text) in all_sources() {
        let code = code(&text);
        for (owned, rooms) in OWNED_CRATES {
            let used = code.contains(&format!("{owned}::"));
            assert!(
                !used || rooms.contains(&room.as_str()),
                "src/{name} uses {owned}; only {rooms:?} may"
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (name, _, text) in all_sources() {
        assert!(
            text.starts_with("//! "),
            "src/{name} does not begin with `//! `"
        );
    }
}

#[test]
fn files_stay_small() {
    for (name, _, text) in all_sources() {
        let lines = text.lines().count();
        assert!(
            lines <= MAX_LINES,
            "src/{name} has {lines} lines, more than {MAX_LINES}"
        );
    }
}

/// The picture for developers is read in one go.
#[test]
fn the_picture_stays_small() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
    let lines = std::fs::read_to_string(page).unwrap().lines().count();
    assert!(lines <= 200, "ARCHITECTURE.md has {lines} lines");
}
