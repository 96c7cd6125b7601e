//! Uploads into a file that has to be the one that was seen: asked in the same segment, decided before any byte.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ftpfs::remote::{ErrorKind, FileVersion, Remote, Upload, UploadMode};

use crate::support::scripted::{Conversation, Script, Scripted, read_all, script};
use crate::{path, remote};

const STAMP: &str = "20240102030405";
const APPEND: UploadMode = UploadMode::Append { size: 5 };
const PATCH: UploadMode = UploadMode::Patch { offset: 2, size: 5 };

fn seen() -> FileVersion {
    FileVersion {
        size: 5,
        modified: Some(UNIX_EPOCH + Duration::from_secs(1_704_164_645)),
    }
}

/// Shows that it takes several commands at once.
fn in_order(c: &mut Conversation) {
    c.greet(&[]);
    for number in 1..=4 {
        c.answer(&format!("MDTM /{number}"), "550 no");
    }
}

fn on(scripts: Vec<Script>, check: impl FnOnce(&Arc<Remote>)) {
    let server = Scripted::start(scripts);
    let remote = remote(&server, 1);
    let paths: Vec<_> = (1..=4).map(|n| path(&format!("/{n}"))).collect();
    remote.modified_times(&paths).unwrap();
    check(&remote);
    remote.close();
    server.finish();
}

/// The four commands come before any answer.
fn expect_together(c: &mut Conversation, mode: UploadMode) {
    c.expect("SIZE /f");
    c.expect("MDTM /f");
    if mode == APPEND {
        c.expect("APPE /f");
    } else {
        c.expect("REST 2");
        c.expect("STOR /f");
    }
}

fn answer(c: &mut Conversation, mode: UploadMode, [size, time, first]: [&str; 3]) {
    c.send(size);
    c.send(time);
    if mode != APPEND {
        c.send("350 ok");
    }
    c.send(first);
}

#[test]
fn what_is_as_it_was_is_changed_in_one_round_trip() {
    for (mode, after) in [(APPEND, 7), (PATCH, 5)] {
        let only = script(move |c| {
            in_order(c);
            expect_together(c, mode);
            answer(c, mode, ["213 5", &format!("213 {STAMP}"), "150 go"]);
            assert_eq!(read_all(&mut c.data()).unwrap(), b"xy");
            c.send("226 done");
            c.version("/f", after, STAMP);
            c.until_the_end();
        });
        on(vec![only], |remote| {
            let mut upload = Upload::open_checked(remote, &path("/f"), mode, seen()).unwrap();
            upload.write(b"xy").unwrap();
            assert_eq!(upload.finish().unwrap().size, after);
        });
    }
}

#[test]
fn what_has_changed_gets_no_byte_and_a_clean_end() {
    let stamp = format!("213 {STAMP}");
    let other = "213 20240102030406".to_owned();
    for (size, time) in [
        ("213 6", stamp.clone()),
        ("213 5", other),
        ("550 /f: No such file or directory", stamp.clone()),
        // It may be there again by the time when anybody looks.
        ("550 Could not get file size.", stamp),
    ] {
        for mode in [APPEND, PATCH] {
            let time = time.clone();
            let only = script(move |c| {
                in_order(c);
                expect_together(c, mode);
                answer(c, mode, [size, &time, "150 go"]);
                assert_eq!(read_all(&mut c.data()).unwrap(), b"");
                c.send("226 done");
                // The session is as good as before.
                c.version("/f", 9, STAMP);
                c.until_the_end();
            });
            on(vec![only], |remote| {
                let error = Upload::open_checked(remote, &path("/f"), mode, seen()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Changed, "{mode:?} {size}");
                assert_eq!(remote.version(&path("/f")).unwrap().size, 9);
            });
        }
    }
}

#[test]
fn without_pipelining_it_is_asked_before() {
    let only = script(|c| {
        c.greet(&[]);
        c.version("/f", 6, STAMP);
        c.version("/f", 5, STAMP);
        c.expect("APPE /f");
        c.send("150 go");
        assert_eq!(read_all(&mut c.data()).unwrap(), b"xy");
        c.send("226 done");
        c.version("/f", 7, STAMP);
        c.until_the_end();
    });
    let server = Scripted::start(vec![only]);
    let remote = remote(&server, 1);
    let open = || Upload::open_checked(&remote, &path("/f"), APPEND, seen());
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Changed);
    let mut upload = open().unwrap();
    upload.write(b"xy").unwrap();
    assert_eq!(upload.finish().unwrap().size, 7);
    remote.close();
    server.finish();
}

#[test]
fn an_append_that_is_not_allowed_is_told_as_such() {
    let only = script(|c| {
        in_order(c);
        expect_together(c, APPEND);
        let time = format!("213 {STAMP}");
        answer(c, APPEND, ["213 5", &time, "502 APPE not implemented"]);
        c.until_the_end();
    });
    on(vec![only], |remote| {
        for _ in 0..2 {
            let error = Upload::open_checked(remote, &path("/f"), APPEND, seen()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    });
}
