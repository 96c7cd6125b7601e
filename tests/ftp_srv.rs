//! ftp-srv, the server of many programs written for Node, and its ways.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;

use support::mounted::Mounted;
use support::server::{Brand, Server};

fn mounted() -> (Server, Mounted) {
    let server = Server::start(Brand::FtpSrv);
    let mounted = Mounted::new(&server.url, &["timeout=10"]);
    (server, mounted)
}

fn names(mounted: &Mounted, folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(mounted.at(folder)).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect()
}

/// Its answer to SIZE of an empty file holds no number.
#[test]
fn empty_files_are_empty_and_folders_too() {
    let (server, mounted) = mounted();
    fs::write(server.at("empty"), "").unwrap();
    fs::create_dir(server.at("nothing")).unwrap();
    assert_eq!(fs::read(mounted.at("empty")).unwrap(), b"");
    assert!(names(&mounted, "nothing").is_empty());
    fs::write(mounted.at("made"), "").unwrap();
    assert_eq!(fs::metadata(server.at("made")).unwrap().len(), 0);
    fs::write(mounted.at("made"), "no longer").unwrap();
    assert_eq!(fs::read(server.at("made")).unwrap(), b"no longer");
    fs::write(mounted.at("made"), "").unwrap();
    assert_eq!(fs::metadata(server.at("made")).unwrap().len(), 0);
    assert_eq!(mounted.unmount(), Some(0));
}

#[test]
fn a_day_of_work() {
    let (server, mounted) = mounted();
    fs::create_dir_all(mounted.at("a/b")).unwrap();
    for n in 0..40 {
        fs::write(mounted.at(format!("a/b/{n}")), n.to_string()).unwrap();
    }
    let expected: BTreeSet<_> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(names(&mounted, "a/b"), expected);
    let fresh = Mounted::new(&server.url, &[]);
    for n in 0..40 {
        let path = format!("a/b/{n}");
        assert_eq!(fs::read(fresh.at(&path)).unwrap(), n.to_string().as_bytes());
    }
    fs::rename(mounted.at("a/b"), mounted.at("c")).unwrap();
    assert_eq!(fs::read(server.at("c/17")).unwrap(), b"17");
    fs::remove_dir_all(mounted.at("c")).unwrap();
    assert_eq!(names(&mounted, ""), BTreeSet::from(["a".to_owned()]));
    assert!(fs::metadata(mounted.at("c")).is_err());
    assert_eq!(fresh.unmount(), Some(0));
    assert_eq!(mounted.unmount(), Some(0));
}

/// REST and STOR cut its files: they are replaced as a whole.
#[test]
fn a_change_in_the_middle_keeps_the_rest() {
    let (server, mounted) = mounted();
    let mut content: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    fs::write(server.at("large"), &content).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mounted.at("large"))
        .unwrap();
    file.write_all_at(b"changed", 1 << 20).unwrap();
    drop(file);
    content[1 << 20..][..7].copy_from_slice(b"changed");
    assert!(fs::read(server.at("large")).unwrap() == content);
    assert_eq!(fs::read_dir(&server.root).unwrap().count(), 1);
    assert_eq!(mounted.unmount(), Some(0));
}

/// It never answers a transfer that was ended early.
#[test]
fn who_reads_only_the_beginning_waits_for_nobody() {
    let (server, mounted) = mounted();
    for n in 0..20 {
        fs::write(server.at(format!("large{n}")), vec![n; 4 << 20]).unwrap();
    }
    for n in 0..20 {
        let mut start = [0; 100];
        let mut file = File::open(mounted.at(format!("large{n}"))).unwrap();
        file.read_exact(&mut start).unwrap();
        assert_eq!(start, [n; 100]);
    }
    assert_eq!(names(&mounted, "").len(), 20);
    assert_eq!(mounted.unmount(), Some(0));
}

/// It leaves `"` out of names.
#[test]
fn names_that_it_would_change_are_refused() {
    let (server, mounted) = mounted();
    assert!(fs::write(mounted.at("quo\"te"), "x").is_err());
    assert!(fs::create_dir(mounted.at("quo\"te")).is_err());
    fs::write(mounted.at("quote"), "right").unwrap();
    assert_eq!(names(&mounted, ""), BTreeSet::from(["quote".to_owned()]));
    assert_eq!(fs::read_dir(&server.root).unwrap().count(), 1);
    assert_eq!(mounted.unmount(), Some(0));
}
