//! Files changed in the middle, cut, made longer, mapped.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::case::{ATOMIC, IN_PLACE, ONE_CONNECTION};
use crate::check::{OrFail, same_bytes};
use crate::files::{Dice, bytes, close, get, has, put, rest};
use crate::place::Place;
use crate::shell::sh;
use crate::sys::map_for_writing;

cases! {
    a_small_file_is_patched.seeded(seed_small).smoke().also(&[ATOMIC, IN_PLACE, ONE_CONNECTION]),
    a_file_of_64_mib_is_patched.seeded(seed_large).seconds(300),
    a_large_file_is_patched_and_appended.seeded(seed_middle).smoke().also(&[IN_PLACE]),
    read_modify_write.seeded(seed_small).smoke().also(&[ATOMIC, IN_PLACE, ONE_CONNECTION]),
    truncate_by_path_cuts_and_extends.seeded(seed_middle).smoke().also(&[ATOMIC, IN_PLACE]),
    ftruncate_cuts_and_extends.seeded(seed_middle).smoke().also(&[IN_PLACE, ONE_CONNECTION]),
    truncate_while_a_writer_is_open.smoke(),
    truncate_command_of_the_shell.seeded(seed_small).smoke(),
    a_hole_reads_as_zeros.smoke(),
    a_new_file_is_written_back_to_front.smoke().also(&[IN_PLACE]),
    a_write_behind_the_front_is_kept.smoke().also(&[IN_PLACE, ONE_CONNECTION]),
    written_and_read_in_turn_through_one_handle.smoke(),
    mmap_writes_arrive.seeded(seed_middle).smoke(),
    mmap_of_a_new_file.smoke(),
    dd_notrunc_patches.seeded(seed_small).smoke(),
    space_is_allocated_in_advance.smoke(),
    a_model_of_random_writes.seconds(240).also(&[IN_PLACE, ONE_CONNECTION]),
    two_handles_write_their_halves.smoke(),
    an_unchanged_file_opened_for_writing_stays.seeded(seed_middle).smoke(),
}

const MIDDLE: usize = 3_000_000;
const LARGE: usize = 64 * 1024 * 1024;

fn seed_small(dir: &Path) {
    put(&dir.join("file"), &bytes(41, 20_000));
}

fn seed_middle(dir: &Path) {
    put(&dir.join("file"), &bytes(42, MIDDLE));
}

fn seed_large(dir: &Path) {
    put(&dir.join("file"), &bytes(43, LARGE));
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .or_fail("open for reading and writing")
}

/// Writes both to the file and to what it should become.
fn patch(file: &File, expected: &mut Vec<u8>, at: usize, piece: &[u8]) {
    file.write_all_at(piece, at.try_into().unwrap())
        .or_fail("write");
    if expected.len() < at + piece.len() {
        expected.resize(at + piece.len(), 0);
    }
    expected[at..at + piece.len()].copy_from_slice(piece);
}

fn a_small_file_is_patched(place: &Place) {
    let mut expected = bytes(41, 20_000);
    for (n, at) in [0, 19_990, 1, 4095, 12_000, 19_999].into_iter().enumerate() {
        let writer = OpenOptions::new()
            .write(true)
            .open(place.here.join("file"))
            .or_fail("open");
        patch(&writer, &mut expected, at, &bytes(n as u64, 10));
        close(writer).or_fail("close");
        has(&place.there.join("file"), &expected);
        has(&place.here.join("file"), &expected);
    }
}

fn a_file_of_64_mib_is_patched(place: &Place) {
    let mut expected = bytes(43, LARGE);
    let mut dice = Dice::new(1);
    let file = open(&place.here.join("file"));
    for n in 0..20 {
        let len = 1 + dice.below(50_000);
        let at = dice.below(LARGE - len);
        patch(&file, &mut expected, at, &bytes(n, len));
    }
    let mut piece = vec![0; 1000];
    file.read_exact_at(&mut piece, 40_000_000).or_fail("read");
    same_bytes(
        "between the writes",
        &piece,
        &expected[40_000_000..40_001_000],
    );
    close(file).or_fail("close");
    has(&place.there.join("file"), &expected);
    let fresh = place.fresh_look();
    has(&fresh.here.join("file"), &expected);
}

fn a_large_file_is_patched_and_appended(place: &Place) {
    let mut expected = bytes(42, MIDDLE);
    let file = open(&place.here.join("file"));
    patch(&file, &mut expected, MIDDLE - 5, b"over the end");
    patch(&file, &mut expected, 1_000_000, b"in the middle");
    let end = expected.len();
    patch(&file, &mut expected, end, &bytes(7, 100_000));
    close(file).or_fail("close");
    has(&place.there.join("file"), &expected);
    has(&place.here.join("file"), &expected);
}

fn read_modify_write(place: &Place) {
    let mut expected = bytes(41, 20_000);
    let mut file = open(&place.here.join("file"));
    for at in [100usize, 10_000, 4000, 19_000] {
        let mut piece = vec![0; 500];
        file.seek(SeekFrom::Start(at as u64)).or_fail("seek");
        file.read_exact(&mut piece).or_fail("read");
        same_bytes("what was read", &piece, &expected[at..at + 500]);
        for byte in &mut piece {
            *byte = byte.wrapping_add(1);
        }
        file.seek(SeekFrom::Start(at as u64)).or_fail("seek");
        file.write_all(&piece).or_fail("write");
        expected[at..at + 500].copy_from_slice(&piece);
    }
    close(file).or_fail("close");
    has(&place.there.join("file"), &expected);
}

fn truncate_by_path_cuts_and_extends(place: &Place) {
    let path = place.here.join("file");
    let mut expected = bytes(42, MIDDLE);
    for size in [2_000_000, 2_000_000, 1_999_999, 2_100_000, 5, 0, 70_000] {
        nix::unistd::truncate(&path, size.try_into().unwrap()).or_fail("truncate");
        expected.resize(size, 0);
        assert_eq!(
            fs::metadata(&path).or_fail("stat").len(),
            size as u64,
            "size"
        );
        has(&place.there.join("file"), &expected);
        has(&path, &expected);
    }
}

fn ftruncate_cuts_and_extends(place: &Place) {
    let path = place.here.join("file");
    let mut expected = bytes(42, MIDDLE);
    let mut file = open(&path);
    for size in [1_000_000, 1_500_000, 3, 0, 40_000] {
        file.set_len(size as u64).or_fail("ftruncate");
        expected.resize(size, 0);
        assert_eq!(file.metadata().or_fail("fstat").len(), size as u64, "size");
        file.seek(SeekFrom::Start(0)).or_fail("seek");
        same_bytes("through the handle", &rest(&file), &expected);
        file.seek(SeekFrom::End(0)).or_fail("seek");
        file.write_all(b"behind").or_fail("write");
        expected.extend_from_slice(b"behind");
    }
    close(file).or_fail("close");
    has(&place.there.join("file"), &expected);
    has(&path, &expected);
}

fn truncate_while_a_writer_is_open(place: &Place) {
    let path = place.here.join("file");
    let mut writer = File::create(&path).or_fail("open");
    writer.write_all(&bytes(1, 10_000)).or_fail("write");
    nix::unistd::truncate(&path, 4000).or_fail("truncate");
    // Its error would be nobody's else.
    has(&place.there.join("file"), &bytes(1, 4000));
    assert_eq!(writer.metadata().or_fail("fstat").len(), 4000, "size");
    writer.write_all(b"further on").or_fail("write at 10000");
    close(writer).or_fail("close");
    let mut expected = bytes(1, 4000);
    expected.resize(10_000, 0);
    expected.extend_from_slice(b"further on");
    has(&place.there.join("file"), &expected);
    has(&path, &expected);
}

fn truncate_command_of_the_shell(place: &Place) {
    sh(
        &place.here,
        "truncate -s 100 file; truncate -s +50 file; truncate -s 10 new",
    );
    let mut expected = bytes(41, 100);
    expected.resize(150, 0);
    has(&place.there.join("file"), &expected);
    has(&place.there.join("new"), &[0; 10]);
}

fn a_hole_reads_as_zeros(place: &Place) {
    let path = place.here.join("sparse");
    let file = File::create(&path).or_fail("open");
    file.write_all_at(b"far away", 1_000_000).or_fail("write");
    close(file).or_fail("close");
    let mut expected = vec![0; 1_000_000];
    expected.extend_from_slice(b"far away");
    has(&path, &expected);
    has(&place.there.join("sparse"), &expected);
}

fn a_new_file_is_written_back_to_front(place: &Place) {
    let content = bytes(8, 300_000);
    let path = place.here.join("file");
    let file = File::create(&path).or_fail("open");
    for at in (0..300_000)
        .step_by(10_000)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        file.write_all_at(&content[at..at + 10_000], at as u64)
            .or_fail("write");
    }
    close(file).or_fail("close");
    has(&place.there.join("file"), &content);
    has(&path, &content);
}

fn a_write_behind_the_front_is_kept(place: &Place) {
    // Long enough for the front to be on its way already.
    let mut expected = bytes(6, 4_000_000);
    let path = place.here.join("archive");
    let mut file = File::create(&path).or_fail("open");
    file.write_all(&expected).or_fail("write");
    patch(&file, &mut expected, 0, b"the header comes last");
    file.write_all(b"and a tail").or_fail("write");
    expected.extend_from_slice(b"and a tail");
    close(file).or_fail("close");
    has(&place.there.join("archive"), &expected);
    has(&path, &expected);
}

fn written_and_read_in_turn_through_one_handle(place: &Place) {
    let path = place.here.join("file");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .or_fail("open");
    let mut expected = Vec::new();
    let mut dice = Dice::new(2);
    for n in 0..60 {
        let at = dice.below(expected.len() + 500);
        let len = dice.below(5000);
        patch(&file, &mut expected, at, &bytes(n, len));
        let from = dice.below(expected.len());
        let mut piece = vec![0; 1 + dice.below(expected.len() - from)];
        file.read_exact_at(&mut piece, from as u64).or_fail("read");
        same_bytes("read back", &piece, &expected[from..from + piece.len()]);
    }
    close(file).or_fail("close");
    has(&place.there.join("file"), &expected);
}

fn mmap_writes_arrive(place: &Place) {
    let mut expected = bytes(42, MIDDLE);
    let path = place.here.join("file");
    let file = open(&path);
    let mut map = map_for_writing(&file).or_fail("mmap");
    for at in [0, 4095, 1_234_567, MIDDLE - 3] {
        map[at..at + 3].copy_from_slice(b"map");
        expected[at..at + 3].copy_from_slice(b"map");
    }
    map.flush().or_fail("msync");
    same_bytes("the map", &map, &expected);
    map[2_000_000] ^= 0xff;
    expected[2_000_000] ^= 0xff;
    drop(map);
    close(file).or_fail("close");
    has(&path, &expected);
    has(&place.there.join("file"), &expected);
}

fn mmap_of_a_new_file(place: &Place) {
    let path = place.here.join("database");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .or_fail("open");
    file.set_len(100_000).or_fail("ftruncate");
    let mut map = map_for_writing(&file).or_fail("mmap");
    map[50_000..50_006].copy_from_slice(b"middle");
    map.flush().or_fail("msync");
    file.sync_all().or_fail("fsync");
    let mut expected = vec![0; 100_000];
    expected[50_000..50_006].copy_from_slice(b"middle");
    has(&place.there.join("database"), &expected);
    map[0..5].copy_from_slice(b"first");
    expected[0..5].copy_from_slice(b"first");
    drop(map);
    close(file).or_fail("close");
    has(&place.there.join("database"), &expected);
    has(&path, &expected);
}

fn dd_notrunc_patches(place: &Place) {
    sh(
        &place.here,
        "printf PATCH | dd of=file bs=1 seek=5000 conv=notrunc status=none; \
         printf NEW | dd of=other bs=1 seek=100 status=none",
    );
    let mut expected = bytes(41, 20_000);
    expected[5000..5005].copy_from_slice(b"PATCH");
    has(&place.there.join("file"), &expected);
    let mut expected = vec![0; 100];
    expected.extend_from_slice(b"NEW");
    has(&place.there.join("other"), &expected);
}

fn space_is_allocated_in_advance(place: &Place) {
    // Where the file system cannot, the C library writes a byte into each block.
    sh(
        &place.here,
        "fallocate --posix --length 300000 file; printf end >> file",
    );
    let mut expected = vec![0; 300_000];
    expected.extend_from_slice(b"end");
    has(&place.there.join("file"), &expected);
}

fn a_model_of_random_writes(place: &Place) {
    let path = place.here.join("file");
    put(&path, b"");
    let mut model: Vec<u8> = Vec::new();
    let mut dice = Dice::new(99);
    for round in 0..12 {
        let file = open(&path);
        for n in 0..40 {
            match dice.below(10) {
                0 => {
                    let size = dice.below(400_000);
                    file.set_len(size as u64).or_fail("ftruncate");
                    model.resize(size, 0);
                }
                1 => {
                    let at = dice.below(400_000);
                    let mut piece = vec![0; dice.below(70_000)];
                    let mut found = 0;
                    while found < piece.len() {
                        let from = (at + found) as u64;
                        match file.read_at(&mut piece[found..], from).or_fail("read") {
                            0 => break,
                            n => found += n,
                        }
                    }
                    let end = model.len().min(at + piece.len());
                    let should = model.get(at..end).unwrap_or_default();
                    same_bytes(
                        &format!("round {round}, read {n} at {at}"),
                        &piece[..found],
                        should,
                    );
                }
                2 if n % 8 == 0 => {
                    file.sync_all().or_fail("fsync");
                    same_bytes("after fsync", &get(&place.there.join("file")), &model);
                }
                _ => {
                    let len = 1 + dice.below(30_000);
                    let at = dice.below(model.len() + 10_000);
                    patch(&file, &mut model, at, &bytes(dice.next(), len));
                }
            }
        }
        close(file).or_fail("close");
        same_bytes(
            &format!("round {round}, server"),
            &get(&place.there.join("file")),
            &model,
        );
        same_bytes(&format!("round {round}, mount"), &get(&path), &model);
    }
}

fn two_handles_write_their_halves(place: &Place) {
    let path = place.here.join("file");
    put(&path, &[0; 100_000]);
    let (one, two) = (open(&path), open(&path));
    let content = bytes(5, 100_000);
    for at in (0..50_000).step_by(5000) {
        one.write_all_at(&content[at..at + 5000], at as u64)
            .or_fail("write");
        let at = at + 50_000;
        two.write_all_at(&content[at..at + 5000], at as u64)
            .or_fail("write");
    }
    close(one).or_fail("close the first");
    has(&path, &content);
    close(two).or_fail("close the second");
    has(&place.there.join("file"), &content);
}

fn an_unchanged_file_opened_for_writing_stays(place: &Place) {
    let before = fs::metadata(place.there.join("file")).or_fail("stat");
    let file = open(&place.here.join("file"));
    let mut piece = [0; 10];
    file.read_exact_at(&mut piece, 1000).or_fail("read");
    close(file).or_fail("close");
    let after = fs::metadata(place.there.join("file")).or_fail("stat");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(after.ino(), before.ino(), "the same file on the server");
    assert_eq!(after.mtime_nsec(), before.mtime_nsec(), "nothing was sent");
    has(&place.there.join("file"), &bytes(42, MIDDLE));
}
