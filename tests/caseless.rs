//! A server that takes names differing by case alone for the same, as those under Windows do.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use support::mounted::Mounted;
use support::server::{Brand, Server};

fn mounted() -> (Server, Mounted) {
    let server = Server::start_with(Brand::Pyftpdlib, &[("FTPFS_CASELESS", "1")]);
    let mounted = Mounted::new(&server.url, &[]);
    (server, mounted)
}

#[track_caller]
fn holds(folder: &Path, expected: &[&str]) {
    let found: BTreeSet<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected.iter().map(|n| (*n).to_owned()).collect());
}

#[test]
fn a_name_is_given_another_case() {
    let (server, mounted) = mounted();
    fs::write(mounted.at("foo"), "content").unwrap();
    fs::create_dir(mounted.at("folder")).unwrap();
    fs::write(mounted.at("folder/inner"), "inner").unwrap();
    fs::rename(mounted.at("foo"), mounted.at("Foo")).unwrap();
    fs::rename(mounted.at("folder"), mounted.at("FOLDER")).unwrap();
    for folder in [mounted.path(), server.root.as_path()] {
        holds(folder, &["FOLDER", "Foo"]);
        assert_eq!(fs::read(folder.join("Foo")).unwrap(), b"content");
        assert_eq!(fs::read(folder.join("FOLDER/inner")).unwrap(), b"inner");
    }
    assert!(!mounted.at("foo").exists());
    assert_eq!(mounted.unmount(), Some(0));
}

#[test]
fn an_exclusive_create_replaces_no_file_of_another_case() {
    let (server, mounted) = mounted();
    fs::write(mounted.at("Lock"), "mine").unwrap();
    let error = File::create_new(mounted.at("LOCK")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    fs::write(mounted.at("other"), "other").unwrap();
    let (from, to) = (mounted.at("other"), mounted.at("lOCK"));
    let replaced = renameat2(
        AT_FDCWD,
        &from,
        AT_FDCWD,
        &to,
        RenameFlags::RENAME_NOREPLACE,
    );
    assert_eq!(replaced, Err(Errno::EEXIST));
    holds(mounted.path(), &["Lock", "other"]);
    assert_eq!(fs::read(server.at("Lock")).unwrap(), b"mine");
    let error = fs::create_dir(mounted.at("lock")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(mounted.unmount(), Some(0));
}
