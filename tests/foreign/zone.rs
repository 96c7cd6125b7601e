//! `tz=`: the times of a server that tells them in its own zone.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::folder::url;
use crate::support::mounted::Mounted;
use crate::support::scripted::{Conversation, Scripted, script};

/// As it is listed, and in seconds since 1970, where the zone is that of Berlin.
const FILES: [(&str, &str, u64); 6] = [
    ("winter", "2025-01-15 12:00", 1_736_938_800),
    ("summer", "2025-07-15 12:00", 1_752_573_600),
    ("before", "2025-03-30 01:59", 1_743_296_340),
    ("after", "2025-03-30 03:00", 1_743_296_400),
    ("still", "2025-10-26 01:59", 1_761_436_740),
    ("again", "2025-10-26 03:00", 1_761_444_000),
];

/// A server with LIST, and nothing that tells times otherwise.
fn only_lists(c: &mut Conversation) {
    c.greet(&[]);
    while let Some(line) = c.command() {
        match line.split(' ').next().unwrap_or_default() {
            "LIST" => {
                let line = |(name, listed, _): &(&str, &str, u64)| {
                    format!("-rw-r--r-- 1 u g 5 {listed} {name}\r\n")
                };
                let lines: String = FILES.iter().map(line).collect();
                c.send_data(lines.as_bytes());
                c.send("226 done");
            }
            "QUIT" => c.send("221 bye"),
            _ => c.send("502 not known"),
        }
    }
}

fn times(option: &str) -> Vec<SystemTime> {
    let scripts = (0..8).map(|_| script(only_lists)).collect();
    let server = Scripted::start(scripts);
    let mount = Mounted::new(&url(&server, ""), &[option]);
    let time = |name: &str| fs::metadata(mount.at(name)).unwrap().modified().unwrap();
    let found = FILES.iter().map(|(name, ..)| time(name)).collect();
    assert_eq!(mount.unmount(), Some(0));
    server.finish();
    found
}

#[test]
fn each_time_is_read_by_the_clock_of_its_day() {
    let expected = FILES.map(|(.., seconds)| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(times("tz=Europe/Berlin"), expected);
}

#[test]
fn an_offset_is_the_same_all_year() {
    // Those in winter are right, and those in summer an hour late.
    let hour = |name: &str| u64::from(["summer", "after", "still"].contains(&name)) * 3600;
    let expected = FILES.map(|(name, _, seconds)| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds + hour(name))
    });
    assert_eq!(times("tz=+01:00"), expected);
    let hour = Duration::from_secs(3600);
    assert_eq!(times("tz=utc"), expected.map(|time| time + hour));
}
