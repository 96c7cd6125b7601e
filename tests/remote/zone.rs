//! Listings without a zone: what calibrates them is not asked again.

use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use ftpfs::ftp::listing::{Modified, Precision};

use crate::support::scripted::{Conversation, Scripted, script};
use crate::{path, remote};

/// A day ago, in a form of date(1).
fn yesterday(form: &str) -> String {
    let mut date = Command::new("date");
    let date = date
        .args(["-u", "-d", "1 day ago 03:04:05", form])
        .env("LC_ALL", "C");
    let told = date.output().unwrap().stdout;
    String::from_utf8(told).unwrap().trim().to_owned()
}

/// Listed two hours ahead of UTC.
fn lines(names: &[&str]) -> String {
    let day = yesterday("+%b %e");
    let line = |name| format!("-rw-r--r-- 1 u g 5 {day} 05:04 {name}\r\n");
    names.iter().map(line).collect()
}

fn list(c: &mut Conversation, lines: &str) {
    c.expect("LIST -a");
    c.send_data(lines.as_bytes());
    c.send("226 done");
}

#[test]
fn one_batch_calibrates_and_tells_the_seconds() {
    let only = script(|c| {
        c.greet(&[]);
        for number in 1..=4 {
            c.answer(&format!("MDTM /{number}"), "550 no");
        }
        list(c, &lines(&["a", "b", "gone"]));
        // All of them come before any answer.
        c.expect("MDTM /a");
        c.expect("MDTM /b");
        c.expect("MDTM /gone");
        let stamp = yesterday("+%Y%m%d%H%M%S");
        c.send(&format!("213 {stamp}"));
        c.send(&format!("213 {stamp}"));
        c.send("550 no such file");
        list(c, &lines(&["a"]));
        c.until_the_end();
    });
    let server = Scripted::start(vec![only]);
    let remote = remote(&server, 1);
    let paths: Vec<_> = (1..=4).map(|n| path(&format!("/{n}"))).collect();
    remote.modified_times(&paths).unwrap();
    let exact = UNIX_EPOCH + Duration::from_secs(yesterday("+%s").parse().unwrap());
    let modified = |time, precision| Some(Modified { time, precision });
    let minute = exact - Duration::from_secs(5);
    let entries = remote.list(&path("/")).unwrap().entries;
    for (entry, expected) in entries.iter().zip([
        modified(exact, Precision::Second),
        modified(exact, Precision::Second),
        modified(minute, Precision::Minute),
    ]) {
        assert_eq!(entry.modified, expected, "{entry:?}");
    }
    assert_eq!(entries.len(), 3);
    let again = remote.list(&path("/")).unwrap().entries;
    assert_eq!(again[0].modified, modified(minute, Precision::Minute));
    remote.close();
    server.finish();
}

#[test]
fn one_by_one_a_single_answer_is_enough() {
    let only = script(|c| {
        c.greet(&[]);
        list(c, &lines(&["a", "b"]));
        let stamp = yesterday("+%Y%m%d%H%M%S");
        c.answer("MDTM /a", &format!("213 {stamp}"));
        c.answer("MDTM /b", &format!("213 {stamp}"));
        c.until_the_end();
    });
    let server = Scripted::start(vec![only]);
    let remote = remote(&server, 1);
    let entries = remote.list(&path("/")).unwrap().entries;
    let precision = |n: usize| entries[n].modified.map(|m| m.precision);
    assert_eq!(precision(0), Some(Precision::Second));
    assert_eq!(precision(1), Some(Precision::Minute));
    let times = remote.modified_times(&[path("/b")]).unwrap();
    assert_eq!(times[0], entries[0].modified.map(|m| m.time));
    remote.close();
    server.finish();
}
