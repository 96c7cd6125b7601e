//! Mountpoints that cannot be one: said before anything is asked of the network.

use std::fs;

use crate::run::Ftpfs;

/// Nobody listens here: a mount that gets this far fails with status 5.
const NOBODY: &str = "ftp://127.0.0.1:1/";

#[test]
fn missing() {
    Ftpfs::new().args([NOBODY, "/nonexistent/mnt"]).fails(
        2,
        &["/nonexistent/mnt: there is no such folder", "mkdir -p"],
    );
}

#[test]
fn a_file() {
    Ftpfs::new()
        .args([NOBODY, "/etc/passwd"])
        .fails(2, &["/etc/passwd: not a folder"]);
}

#[test]
fn not_empty() {
    let ftpfs = Ftpfs::new();
    fs::write(ftpfs.mountpoint().join("f"), "").unwrap();
    ftpfs.mount(NOBODY).fails(2, &["not empty", "nonempty"]);
    let ftpfs = Ftpfs::new().args(["-o", "nonempty"]);
    fs::write(ftpfs.mountpoint().join("f"), "").unwrap();
    ftpfs.mount(NOBODY).fails(5, &[]);
}
