//! fsx: thousands of random operations on one file, each read verified.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::tempdir;

use crate::case::{IN_PLACE, ONE_CONNECTION};
use crate::check::OrFail;
use crate::place::Place;
use crate::shell::{program, succeeds};

cases! {
    seed_1_with_mmap.smoke().seconds(400),
    seed_2_with_mmap.seconds(400),
    seed_3_with_mmap.seconds(400),
    seed_4_with_mmap.seconds(400),
    seed_5_with_mmap.seconds(400),
    seed_1_without_mmap.smoke().seconds(400).also(&[ONE_CONNECTION, IN_PLACE]),
    seed_2_without_mmap.seconds(400),
    seed_3_without_mmap.seconds(400),
    seed_4_without_mmap.seconds(400),
    seed_5_without_mmap.seconds(400),
}

/// Operations per run. Every fortieth or so sends the file to the server.
const OPERATIONS: &str = "3000";

/// fsx as `scripts/test` installs it, or anywhere in the path.
fn fsx() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/fsx");
    let target =
        env::var_os("CARGO_TARGET_DIR").map(|dir| PathBuf::from(dir).join("tools/bin/fsx"));
    let path = env::var_os("PATH").unwrap_or_default();
    target
        .into_iter()
        .chain([own])
        .chain(env::split_paths(&path).map(|dir| dir.join("fsx")))
        .find(|path| path.exists())
        .expect("fsx is installed (scripts/test does that: `cargo install fsx`)")
}

fn exercise(place: &Place, seed: u32, mapped: bool) {
    let local = tempdir().or_fail("make a folder");
    let config = local.path().join("fsx.toml");
    let map = if mapped { 10 } else { 0 };
    let weights = format!(
        "flen = 262144\n[weights]\nclose_open = 1\nread = 10\nwrite = 10\nmapread = {map}\nmapwrite = {map}\n\
         invalidate = {invalidate}\ntruncate = 5\nfsync = 1\nfdatasync = 1\nposix_fallocate = 0\n\
         punch_hole = 0\nsendfile = 2\nposix_fadvise = 1\ncopy_file_range = 0\n",
        invalidate = u8::from(mapped),
    );
    fs::write(&config, weights).or_fail("write the configuration");
    succeeds(
        program(&place.here, fsx())
            .arg("-f")
            .arg(&config)
            .arg("-P")
            .arg(local.path())
            .args(["-q", "-N", OPERATIONS, "-S", &seed.to_string(), "file"]),
    );
}

fn seed_1_with_mmap(place: &Place) {
    exercise(place, 1, true);
}

fn seed_2_with_mmap(place: &Place) {
    exercise(place, 2, true);
}

fn seed_3_with_mmap(place: &Place) {
    exercise(place, 3, true);
}

fn seed_4_with_mmap(place: &Place) {
    exercise(place, 4, true);
}

fn seed_5_with_mmap(place: &Place) {
    exercise(place, 5, true);
}

fn seed_1_without_mmap(place: &Place) {
    exercise(place, 1, false);
}

fn seed_2_without_mmap(place: &Place) {
    exercise(place, 2, false);
}

fn seed_3_without_mmap(place: &Place) {
    exercise(place, 3, false);
}

fn seed_4_without_mmap(place: &Place) {
    exercise(place, 4, false);
}

fn seed_5_without_mmap(place: &Place) {
    exercise(place, 5, false);
}
