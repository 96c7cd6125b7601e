//! Files written from front to back: made, replaced, made longer.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;

use crate::case::{ATOMIC, IN_PLACE, NO_CACHE, ONE_CONNECTION};
use crate::check::{OrFail, fails, holds};
use crate::files::{append, bytes, close, get, has, put, try_put};
use crate::place::Place;
use crate::shell::{program, sh, succeeds};

cases! {
    files_of_every_size_are_stored.smoke().also(&[NO_CACHE, ONE_CONNECTION, ATOMIC, IN_PLACE]),
    touch_makes_an_empty_file.smoke(),
    echo_makes_and_replaces.smoke().also(&[NO_CACHE, ONE_CONNECTION, ATOMIC, IN_PLACE]),
    append_with_shell.smoke().also(&[NO_CACHE, ONE_CONNECTION, ATOMIC, IN_PLACE]),
    appends_of_two_handles_keep_their_order.smoke().also(&[IN_PLACE]),
    append_to_a_large_file.seeded(seed_large).also(&[ATOMIC]),
    an_append_makes_the_file.smoke(),
    replaced_content_is_shorter_or_longer.smoke().also(&[IN_PLACE]),
    replacing_keeps_mode_and_inode.smoke(),
    emptying_an_empty_file_leaves_nothing_else.smoke().also(&[ATOMIC]),
    truncating_open_empties_even_without_a_write.smoke().also(&[ATOMIC, IN_PLACE]),
    written_bytes_are_read_before_the_close.smoke(),
    the_size_grows_while_writing.smoke(),
    fsync_stores_while_the_file_is_open.smoke().also(&[ONE_CONNECTION, ATOMIC]),
    sync_in_the_shell_stores.smoke(),
    children_that_write_nothing_do_not_disturb.smoke().also(&[NO_CACHE]),
    who_makes_a_read_only_file_writes_it_to_the_end.smoke().also(&[ATOMIC, IN_PLACE]),
    writes_after_a_close_of_another_descriptor_arrive.smoke(),
    a_redirected_group_writes_one_file.smoke(),
    a_file_inherited_by_children_is_written_by_all.smoke(),
    odd_write_sizes_arrive.smoke(),
    a_large_file_is_stored.seconds(240),
    several_files_are_written_in_turn.also(&[ONE_CONNECTION]),
    tee_and_dd_write.smoke(),
    a_file_is_replaced_many_times.smoke(),
    reading_a_write_only_handle_fails.smoke(),
    a_pipe_into_a_file_arrives_whole,
}

fn seed_large(dir: &Path) {
    put(&dir.join("log"), &bytes(9, 5_000_001));
}

fn files_of_every_size_are_stored(place: &Place) {
    for size in [
        0, 1, 4095, 4096, 4097, 65_537, 131_072, 262_143, 1_048_576, 1_048_577, 5_000_000,
    ] {
        let name = format!("{size}");
        put(&place.here.join(&name), &bytes(21, size));
        has(&place.there.join(&name), &bytes(21, size));
        has(&place.here.join(&name), &bytes(21, size));
        let len = fs::metadata(place.here.join(&name)).or_fail("stat").len();
        assert_eq!(len, size as u64, "size of {name}");
    }
    let fresh = place.fresh_look();
    for size in [0, 4097, 5_000_000] {
        has(&fresh.here.join(size.to_string()), &bytes(21, size));
    }
}

fn touch_makes_an_empty_file(place: &Place) {
    sh(&place.here, "touch new; touch new; : > other");
    has(&place.there.join("new"), b"");
    has(&place.there.join("other"), b"");
    holds(&place.here, ["new", "other"]);
}

fn echo_makes_and_replaces(place: &Place) {
    for (said, content) in [
        ("first and longest line", "first and longest line\n"),
        ("second", "second\n"),
        ("a third line", "a third line\n"),
    ] {
        sh(&place.here, &format!("echo '{said}' > file"));
        has(&place.there.join("file"), content.as_bytes());
        assert_eq!(sh(&place.here, "cat file"), content, "cat");
    }
}

fn append_with_shell(place: &Place) {
    let mut expected = Vec::new();
    for n in 0..10 {
        sh(&place.here, &format!("echo line {n} >> log"));
        expected.extend_from_slice(format!("line {n}\n").as_bytes());
        has(&place.there.join("log"), &expected);
        has(&place.here.join("log"), &expected);
    }
}

fn appends_of_two_handles_keep_their_order(place: &Place) {
    let path = place.here.join("log");
    put(&path, b"start\n");
    let open = || OpenOptions::new().append(true).open(&path).or_fail("open");
    let (mut one, mut two) = (open(), open());
    let mut expected = b"start\n".to_vec();
    for n in 0..20 {
        let line = format!("line {n}\n");
        let writer = if n % 3 == 0 { &mut one } else { &mut two };
        writer.write_all(line.as_bytes()).or_fail("append");
        expected.extend_from_slice(line.as_bytes());
        has(&path, &expected);
    }
    close(one).or_fail("close the first");
    has(&place.there.join("log"), &expected);
    two.write_all(b"end\n").or_fail("append");
    close(two).or_fail("close the second");
    expected.extend_from_slice(b"end\n");
    has(&place.there.join("log"), &expected);
}

fn append_to_a_large_file(place: &Place) {
    let mut expected = bytes(9, 5_000_001);
    for n in 0..3 {
        append(&place.here.join("log"), &bytes(n, 1000));
        expected.extend_from_slice(&bytes(n, 1000));
        has(&place.there.join("log"), &expected);
    }
    has(&place.here.join("log"), &expected);
}

fn an_append_makes_the_file(place: &Place) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(place.here.join("new"))
        .or_fail("open");
    file.write_all(b"one").or_fail("write");
    file.write_all(b"two").or_fail("write");
    close(file).or_fail("close");
    has(&place.there.join("new"), b"onetwo");
}

fn replaced_content_is_shorter_or_longer(place: &Place) {
    let path = place.here.join("file");
    for (seed, size) in [
        (1, 100_000),
        (2, 10),
        (3, 2_000_000),
        (4, 0),
        (5, 4096),
        (6, 4096),
    ] {
        put(&path, &bytes(seed, size));
        has(&place.there.join("file"), &bytes(seed, size));
        has(&path, &bytes(seed, size));
    }
    holds(&place.there, ["file"]);
}

fn replacing_keeps_mode_and_inode(place: &Place) {
    let path = place.here.join("program");
    put(&path, b"#!/bin/sh\necho old\n");
    if place.facts.modes {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).or_fail("chmod");
    }
    let before = fs::metadata(&path).or_fail("stat");
    put(&path, b"#!/bin/sh\necho new and longer\n");
    append(&path, b"# end\n");
    let after = fs::metadata(&path).or_fail("stat");
    assert_eq!(after.ino(), before.ino(), "inode number");
    assert_eq!(after.mode(), before.mode(), "mode");
    has(
        &place.there.join("program"),
        b"#!/bin/sh\necho new and longer\n# end\n",
    );
    if place.facts.modes {
        let mode = fs::metadata(place.there.join("program"))
            .or_fail("stat")
            .mode();
        assert_eq!(mode & 0o7777, 0o751, "mode on the server");
    }
}

fn emptying_an_empty_file_leaves_nothing_else(place: &Place) {
    let path = place.here.join("file");
    for _ in 0..3 {
        put(&path, b"");
    }
    holds(&place.there, ["file"]);
}

fn truncating_open_empties_even_without_a_write(place: &Place) {
    let path = place.here.join("file");
    put(&path, b"something");
    let file = File::create(&path).or_fail("open with O_TRUNC");
    assert_eq!(
        file.metadata().or_fail("fstat").len(),
        0,
        "size after the open"
    );
    close(file).or_fail("close");
    has(&place.there.join("file"), b"");
    has(&path, b"");
}

fn written_bytes_are_read_before_the_close(place: &Place) {
    let path = place.here.join("file");
    put(&path, &bytes(1, 300_000));
    let mut writer = File::create(&path).or_fail("open");
    let content = bytes(2, 150_000);
    for piece in content.chunks(40_000) {
        writer.write_all(piece).or_fail("write");
        let so_far = get(&path);
        assert!(
            content.starts_with(&so_far) && so_far.ends_with(piece),
            "another reader: expected what is written so far, found {} bytes",
            so_far.len()
        );
    }
    has(&path, &content);
    close(writer).or_fail("close");
    has(&path, &content);
    has(&place.there.join("file"), &content);
}

fn the_size_grows_while_writing(place: &Place) {
    let path = place.here.join("file");
    let mut writer = File::create(&path).or_fail("open");
    for n in 1..=20u64 {
        writer.write_all(&[7; 1234]).or_fail("write");
        assert_eq!(
            fs::metadata(&path).or_fail("stat").len(),
            n * 1234,
            "stat of the path"
        );
        assert_eq!(writer.metadata().or_fail("fstat").len(), n * 1234, "fstat");
    }
    close(writer).or_fail("close");
    assert_eq!(
        fs::metadata(&path).or_fail("stat").len(),
        20 * 1234,
        "size at the end"
    );
}

fn fsync_stores_while_the_file_is_open(place: &Place) {
    let path = place.here.join("file");
    let mut writer = File::create(&path).or_fail("open");
    let mut expected = Vec::new();
    for n in 0..4 {
        let piece = bytes(n, 70_000);
        writer.write_all(&piece).or_fail("write");
        expected.extend_from_slice(&piece);
        if n % 2 == 0 {
            writer.sync_all().or_fail("fsync");
        } else {
            writer.sync_data().or_fail("fdatasync");
        }
        has(&place.there.join("file"), &expected);
    }
    writer.write_all(b"the end").or_fail("write");
    expected.extend_from_slice(b"the end");
    close(writer).or_fail("close");
    has(&place.there.join("file"), &expected);
}

/// As git does with its packs.
fn who_makes_a_read_only_file_writes_it_to_the_end(place: &Place) {
    let path = place.here.join("pack");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o444);
    let mut file = options.open(&path).or_fail("create");
    file.write_all(b"head body").or_fail("write");
    file.sync_all().or_fail("fsync");
    file.write_all(b" tail").or_fail("append");
    file.sync_all().or_fail("fsync after an append");
    has(&place.there.join("pack"), b"head body tail");
    file.write_all_at(b"HEAD", 0).or_fail("write at the front");
    file.sync_all().or_fail("fsync after a change");
    close(file).or_fail("close");
    has(&place.there.join("pack"), b"HEAD body tail");
    if place.facts.modes {
        for path in [path, place.there.join("pack")] {
            let mode = fs::metadata(&path).or_fail("stat").mode() & 0o777;
            assert_eq!(mode, 0o444, "mode of {}", path.display());
        }
    }
}

/// Each child closes what it inherited, and so stores the file as it is.
fn children_that_write_nothing_do_not_disturb(place: &Place) {
    for n in 0..2 {
        sh(
            &place.here,
            "exec 3> log; /bin/true; echo one >&3; /bin/true; echo two >&3",
        );
        has(&place.there.join("log"), b"one\ntwo\n");
        sh(&place.here, "exec 3>> log; /bin/true; echo three >&3");
        has(&place.there.join("log"), b"one\ntwo\nthree\n");
        let path = place.here.join(format!("{n}"));
        put(&path, b"before");
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .truncate(true)
            .open(&path)
            .or_fail("open");
        file.sync_all().or_fail("fsync");
        file.write_all(b"after")
            .or_fail("write after a commit of nothing");
        close(file).or_fail("close");
        has(&place.there.join(format!("{n}")), b"after");
    }
}

fn sync_in_the_shell_stores(place: &Place) {
    sh(
        &place.here,
        &format!(
            "exec 3> file; echo one >&3; sync file; cmp file '{there}/file'; echo two >&3; exec 3>&-; cmp file '{there}/file'",
            there = place.there.display()
        ),
    );
    has(&place.there.join("file"), b"one\ntwo\n");
}

fn writes_after_a_close_of_another_descriptor_arrive(place: &Place) {
    let path = place.here.join("file");
    let mut first = File::create(&path).or_fail("open");
    let mut second = first.try_clone().or_fail("dup");
    first.write_all(b"one ").or_fail("write");
    close(first).or_fail("close the first descriptor");
    has(&place.there.join("file"), b"one ");
    second.write_all(b"two ").or_fail("write");
    let mut third = second.try_clone().or_fail("dup");
    close(second).or_fail("close the second descriptor");
    has(&place.there.join("file"), b"one two ");
    third.write_all(b"three").or_fail("write");
    close(third).or_fail("close the third descriptor");
    has(&place.there.join("file"), b"one two three");
}

fn a_redirected_group_writes_one_file(place: &Place) {
    sh(
        &place.here,
        "{ echo a; cat /dev/null; echo b; (echo c); } > group; (echo d; echo e) >> group",
    );
    has(&place.there.join("group"), b"a\nb\nc\nd\ne\n");
    sh(
        &place.here,
        "for n in 1 2 3 4 5; do echo $n; done | sort -r > sorted",
    );
    has(&place.there.join("sorted"), b"5\n4\n3\n2\n1\n");
}

fn a_file_inherited_by_children_is_written_by_all(place: &Place) {
    sh(
        &place.here,
        "exec 5> shared; for n in 1 2 3; do sh -c \"echo child $n >&5\"; done; echo parent >&5; exec 5>&-",
    );
    has(
        &place.there.join("shared"),
        b"child 1\nchild 2\nchild 3\nparent\n",
    );
}

fn odd_write_sizes_arrive(place: &Place) {
    for (name, piece, count) in [
        ("ones", 1, 3000),
        ("threes", 3000, 200),
        ("primes", 65_537, 40),
    ] {
        let content = bytes(33, piece * count);
        let mut writer = File::create(place.here.join(name)).or_fail("open");
        for part in content.chunks(piece) {
            writer.write_all(part).or_fail("write");
        }
        close(writer).or_fail("close");
        has(&place.there.join(name), &content);
        has(&place.here.join(name), &content);
    }
}

fn a_large_file_is_stored(place: &Place) {
    let content = bytes(77, 64 * 1024 * 1024 + 17);
    put(&place.here.join("large"), &content);
    has(&place.there.join("large"), &content);
    let fresh = place.fresh_look();
    has(&fresh.here.join("large"), &content);
}

fn several_files_are_written_in_turn(place: &Place) {
    let contents: Vec<Vec<u8>> = (0..12).map(|n| bytes(n, 200_000)).collect();
    let name = |n: usize| format!("part{n}");
    let mut writers: Vec<File> = (0..contents.len())
        .map(|n| File::create(place.here.join(name(n))).or_fail("open"))
        .collect();
    for from in (0..200_000).step_by(25_000) {
        for (writer, content) in writers.iter_mut().zip(&contents) {
            writer
                .write_all(&content[from..from + 25_000])
                .or_fail("write");
        }
    }
    for (n, writer) in writers.into_iter().enumerate() {
        close(writer).or_fail("close");
        has(&place.there.join(name(n)), &contents[n]);
    }
}

fn tee_and_dd_write(place: &Place) {
    sh(
        &place.here,
        "echo one | tee out > /dev/null; echo two | tee -a out > copy",
    );
    has(&place.there.join("out"), b"one\ntwo\n");
    has(&place.there.join("copy"), b"two\n");
    let out = place.here.join("dd");
    let from = tempfile::NamedTempFile::new().or_fail("make a file");
    fs::write(from.path(), bytes(5, 1_000_000)).or_fail("write");
    succeeds(
        program(&place.here, "dd")
            .arg(format!("if={}", from.path().display()))
            .arg(format!("of={}", out.display()))
            .args(["bs=7000", "conv=fsync", "status=none"]),
    );
    has(&place.there.join("dd"), &bytes(5, 1_000_000));
}

fn a_file_is_replaced_many_times(place: &Place) {
    let path = place.here.join("status");
    for n in 0..60u64 {
        let len = usize::try_from(n * 37 % 50).unwrap();
        put(&path, &bytes(n, len));
        has(&place.there.join("status"), &bytes(n, len));
    }
    holds(&place.there, ["status"]);
}

fn reading_a_write_only_handle_fails(place: &Place) {
    use std::os::unix::fs::FileExt;
    let path = place.here.join("file");
    put(&path, b"text");
    let writer = OpenOptions::new().write(true).open(&path).or_fail("open");
    fails("read", writer.read_at(&mut [0; 4], 0), Errno::EBADF);
    let reader = File::open(&path).or_fail("open");
    fails("write", reader.write_at(b"no", 0), Errno::EBADF);
    close(writer).or_fail("close");
    fails(
        "write to a folder",
        try_put(&place.here, b"no"),
        Errno::EISDIR,
    );
    has(&place.there.join("file"), b"text");
}

fn a_pipe_into_a_file_arrives_whole(place: &Place) {
    sh(
        &place.here,
        "seq 1 300000 > numbers; seq 1 300000 | gzip -c > numbers.gz",
    );
    let expected = sh(&place.here, "seq 1 300000");
    has(&place.there.join("numbers"), expected.as_bytes());
    assert_eq!(
        sh(&place.there, "gzip -dc numbers.gz"),
        expected,
        "what was compressed"
    );
}
