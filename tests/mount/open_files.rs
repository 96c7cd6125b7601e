//! Files that are removed while somebody has them open.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::case::{ATOMIC, ONE_CONNECTION};
use crate::check::{OrFail, holds, same_bytes};
use crate::files::{absent, bytes, close, has, put, rest};
use crate::place::Place;
use crate::shell::sh;

cases! {
    a_reader_goes_on_after_the_removal.seeded(seed_sizes).smoke().also(&[ONE_CONNECTION]),
    a_reader_in_the_middle_goes_on_after_the_removal.seeded(seed_sizes).smoke(),
    a_writer_goes_on_and_sends_nothing.smoke().also(&[ONE_CONNECTION, ATOMIC]),
    a_changed_file_is_removed_before_its_close.seeded(seed_sizes).smoke(),
    a_temporary_file_without_a_name.smoke(),
    a_name_made_again_is_another_file.smoke(),
    a_file_removed_by_the_shell_while_redirected.smoke(),
}

fn seed_sizes(dir: &Path) {
    put(&dir.join("small"), &bytes(1, 10_000));
    put(&dir.join("middle"), &bytes(2, 1_000_000));
    put(&dir.join("large"), &bytes(3, 6_000_000));
}

fn a_reader_goes_on_after_the_removal(place: &Place) {
    for (name, seed, size) in [
        ("small", 1, 10_000),
        ("middle", 2, 1_000_000),
        ("large", 3, 6_000_000),
    ] {
        let path = place.here.join(name);
        let reader = File::open(&path).or_fail("open");
        fs::remove_file(&path).or_fail("unlink");
        absent(&place.there.join(name));
        absent(&path);
        assert_eq!(
            reader.metadata().or_fail("fstat").len(),
            size as u64,
            "fstat of {name}"
        );
        same_bytes(name, &rest(&reader), &bytes(seed, size));
    }
    holds::<&str>(&place.here, []);
}

fn a_reader_in_the_middle_goes_on_after_the_removal(place: &Place) {
    let path = place.here.join("middle");
    let mut reader = File::open(&path).or_fail("open");
    let mut found = vec![0; 300_000];
    reader.read_exact(&mut found).or_fail("read");
    fs::remove_file(&path).or_fail("unlink");
    found.extend(rest(&reader));
    same_bytes("both parts", &found, &bytes(2, 1_000_000));
    let mut again = vec![0; 1000];
    reader
        .read_exact_at(&mut again, 0)
        .or_fail("read the beginning again");
    same_bytes("the beginning", &again, &bytes(2, 1_000_000)[..1000]);
}

fn a_writer_goes_on_and_sends_nothing(place: &Place) {
    let path = place.here.join("file");
    let mut writer = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .or_fail("open");
    writer.write_all(b"before ").or_fail("write");
    fs::remove_file(&path).or_fail("unlink");
    absent(&place.there.join("file"));
    writer.write_all(b"after").or_fail("write");
    let mut found = [0; 12];
    writer.read_exact_at(&mut found, 0).or_fail("read");
    same_bytes("through the handle", &found, b"before after");
    writer.sync_all().or_fail("fsync");
    close(writer).or_fail("close");
    absent(&path);
    holds::<&str>(&place.there, []);
}

fn a_changed_file_is_removed_before_its_close(place: &Place) {
    let path = place.here.join("middle");
    let writer = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .or_fail("open");
    writer.write_all_at(b"changed", 500_000).or_fail("write");
    fs::remove_file(&path).or_fail("unlink");
    let mut expected = bytes(2, 1_000_000);
    expected[500_000..500_007].copy_from_slice(b"changed");
    let mut found = vec![0; 1_000_000];
    writer.read_exact_at(&mut found, 0).or_fail("read");
    same_bytes("the changed file", &found, &expected);
    close(writer).or_fail("close");
    holds(&place.there, ["small", "large"]);
}

fn a_temporary_file_without_a_name(place: &Place) {
    let path = place.here.join("tmp");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .or_fail("open");
    fs::remove_file(&path).or_fail("unlink");
    file.write_all_at(&bytes(9, 2_000_000), 0).or_fail("write");
    file.set_len(1_500_000).or_fail("ftruncate");
    let mut found = vec![0; 1_500_000];
    file.read_exact_at(&mut found, 0).or_fail("read");
    same_bytes(
        "what was written",
        &found,
        &bytes(9, 2_000_000)[..1_500_000],
    );
    close(file).or_fail("close");
    holds::<&str>(&place.there, []);
}

fn a_name_made_again_is_another_file(place: &Place) {
    let path = place.here.join("file");
    put(&path, &bytes(1, 20_000));
    let old = File::open(&path).or_fail("open");
    fs::remove_file(&path).or_fail("unlink");
    put(&path, &bytes(2, 30_000));
    same_bytes("the old handle", &rest(&old), &bytes(1, 20_000));
    has(&path, &bytes(2, 30_000));
    has(&place.there.join("file"), &bytes(2, 30_000));
    let numbers = (
        old.metadata().or_fail("fstat").ino(),
        fs::metadata(&path).or_fail("stat").ino(),
    );
    assert_ne!(
        numbers.0, numbers.1,
        "inode numbers of the old and the new file"
    );
}

fn a_file_removed_by_the_shell_while_redirected(place: &Place) {
    let said = sh(
        &place.here,
        "exec 3<> scratch; echo one >&3; rm scratch; echo two >&3; test ! -e scratch; echo over; exec 3>&-",
    );
    assert_eq!(said, "over\n", "the script's end");
    holds::<&str>(&place.there, []);
}
