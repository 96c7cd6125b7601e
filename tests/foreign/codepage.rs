//! `codepage=`: what programs see, and what goes over the wire.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::folder::{folder, names, url};
use crate::support::mounted::Mounted;
use crate::support::scripted::Scripted;

fn listed(dir: &Path) -> BTreeSet<Vec<u8>> {
    let names = fs::read_dir(dir).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_vec())
        .collect()
}

fn set<const N: usize>(names: [&[u8]; N]) -> BTreeSet<Vec<u8>> {
    names.iter().map(|name| name.to_vec()).collect()
}

/// Whether the server has got a line with this command, from any connection.
#[track_caller]
fn sent(server: &Scripted, command: &str) {
    let lines = server.lines();
    let is_it = |line: &String| {
        line.split_once(' ')
            .is_some_and(|(_, line)| line == command)
    };
    assert!(lines.iter().any(is_it), "no {command}: {lines:?}");
}

/// Each name is read, renamed and deleted by what is shown.
#[track_caller]
fn works_by_its_name(mount: &Mounted, server: &Scripted, shown: &[u8], wire: &str) {
    let path = mount.at(OsStr::from_bytes(shown));
    assert_eq!(fs::read(&path).unwrap(), wire.as_bytes(), "{wire}");
    sent(server, &format!("RETR /{wire}"));
    fs::rename(&path, mount.at("plain")).unwrap();
    sent(server, &format!("RNFR /{wire}"));
    fs::remove_file(mount.at("plain")).unwrap();
}

#[test]
fn latin1_names() {
    let (server, files) = folder(&["caf\\xe9", "plain.txt", "\\x80"], &["UTF8"]);
    let mount = Mounted::new(&url(&server, ""), &["codepage=latin1"]);
    let expected = set(["café".as_bytes(), b"plain.txt", "€".as_bytes()]);
    assert_eq!(listed(mount.path()), expected);
    fs::write(mount.at("grün"), "new").unwrap();
    fs::rename(mount.at("grün"), mount.at("größer")).unwrap();
    assert_eq!(fs::read(mount.at("größer")).unwrap(), b"new");
    sent(&server, "STOR /gr\\xfcn");
    sent(&server, "RNTO /gr\\xf6\\xdfer");
    assert!(names(&files).contains(&"gr\\xf6\\xdfer".to_owned()));
    works_by_its_name(&mount, &server, "café".as_bytes(), "caf\\xe9");
    works_by_its_name(&mount, &server, "€".as_bytes(), "\\x80");
    assert_eq!(mount.unmount(), Some(0));
    assert_eq!(server.count("OPTS"), 0, "{:?}", server.lines());
    assert_eq!(names(&files), ["gr\\xf6\\xdfer", "plain.txt"]);
    server.finish();
}

#[test]
fn what_latin1_cannot_write_is_refused_and_nothing_is_sent() {
    let (server, files) = folder(&["file", "\\xed\\x95\\x9c"], &[]);
    let mount = Mounted::new(&url(&server, ""), &["codepage=ISO-8859-1"]);
    for name in ["日本".as_bytes(), b"\xe9", "smile \u{1f600}".as_bytes()] {
        let path = mount.at(OsStr::from_bytes(name));
        let results = [
            fs::write(&path, "x"),
            fs::create_dir(&path),
            fs::rename(mount.at("file"), &path),
            std::os::unix::fs::symlink("file", &path),
        ];
        for result in results {
            let errno = result.unwrap_err().raw_os_error();
            assert_eq!(errno, Some(libc::EILSEQ), "{name:x?}");
        }
        assert!(!path.exists());
    }
    // Its UTF-8 is on the server, where it is another text.
    assert_eq!(
        fs::metadata(mount.at("한")).unwrap_err().raw_os_error(),
        Some(libc::ENOENT)
    );
    let target = std::os::unix::fs::symlink("日本", mount.at("link"));
    assert_eq!(target.unwrap_err().raw_os_error(), Some(libc::EILSEQ));
    assert_eq!(fs::read(mount.at("file")).unwrap(), b"file");
    assert_eq!(mount.unmount(), Some(0));
    assert_eq!(names(&files), ["\\xed\\x95\\x9c", "file"]);
    for verb in ["STOR", "MKD", "RNFR"] {
        assert_eq!(server.count(verb), 0, "{verb}");
    }
    server.finish();
}

#[test]
fn sjis_names_and_bytes_that_are_none() {
    // The second byte of a character may be a backslash; half of one is none, and 87 90 has another code.
    let wire = ["\\x93\\xfa\\x96{.txt", "\\x83\\", "x\\x93", "\\x87\\x90"];
    let shown: [&[u8]; 4] = [
        "日本.txt".as_bytes(),
        "ソ".as_bytes(),
        b"x\x93",
        b"\x87\x90",
    ];
    let (server, files) = folder(&wire, &[]);
    let mount = Mounted::new(&url(&server, ""), &["codepage=SJIS"]);
    assert_eq!(listed(mount.path()), set(shown));
    fs::write(mount.at("表"), "new").unwrap();
    sent(&server, "STOR /\\x95\\");
    for (shown, wire) in shown.into_iter().zip(wire) {
        works_by_its_name(&mount, &server, shown, wire);
    }
    assert_eq!(mount.unmount(), Some(0));
    assert_eq!(names(&files), ["\\x95\\"]);
    server.finish();
}

/// What somebody has to tell the server's administrator.
#[test]
fn messages_show_the_bytes_of_the_server() {
    let (server, _) = folder(&["caf\\xe9"], &[]);
    let mount = Mounted::new(&url(&server, ""), &["codepage=latin1"]);
    fs::create_dir(mount.at("grün")).unwrap_err();
    let log = mount.log();
    assert!(log.contains("/gr\\xfcn"), "{log}");
    assert_eq!(mount.unmount(), Some(0));
    server.finish();
}

#[test]
fn two_names_are_never_one() {
    // In Greek the first is Ϊ, and so are the bytes of the second for UTF-8: it gets a mark.
    let (server, files) = folder(&["\\xda", "\u{3aa}"], &[]);
    let mount = Mounted::new(&url(&server, ""), &["codepage=cp1253"]);
    let expected = set(["Ϊ".as_bytes(), b"\xce\xaa\xff"]);
    assert_eq!(listed(mount.path()), expected);
    works_by_its_name(&mount, &server, b"\xce\xaa\xff", "\u{3aa}");
    assert_eq!(names(&files), ["\\xda"]);
    works_by_its_name(&mount, &server, "Ϊ".as_bytes(), "\\xda");
    assert_eq!(mount.unmount(), Some(0));
    server.finish();
}

#[test]
fn the_folder_of_the_address_is_typed_in_either_way() {
    for typed in ["gr%C3%BCn", "gr%fcn", "grün"] {
        let (server, _) = folder(&[], &[]);
        let mount = Mounted::new(&url(&server, typed), &["codepage=latin1"]);
        sent(&server, "CWD /gr\\xfcn");
        assert_eq!(mount.unmount(), Some(0));
        server.finish();
    }
}

#[test]
fn utf8_is_asked_for_where_names_are_that() {
    for options in [&[][..], &["codepage=utf-8"]] {
        let (server, _) = folder(&["caf\\xe9", "ok"], &["UTF8"]);
        let mount = Mounted::new(&url(&server, ""), options);
        assert_eq!(listed(mount.path()), set([b"caf\xe9", b"ok"]));
        assert_eq!(mount.unmount(), Some(0));
        sent(&server, "OPTS UTF8 ON");
        server.finish();
    }
}
