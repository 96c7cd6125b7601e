//! Operations that lose their session, and what is learned of servers that can less.

use std::time::{Duration, UNIX_EPOCH};

use ftpfs::remote::{ErrorKind, FileVersion, Remote};

use crate::support::scripted::{Conversation, Script, Scripted, script};
use crate::{path, remote};

/// A session that is lost when this command comes.
fn lost_at(command: &'static str) -> Script {
    script(move |c| {
        c.greet(&[]);
        c.expect(command);
    })
}

fn then(steps: &'static [(&'static str, &'static str)]) -> Script {
    script(move |c| {
        c.greet(&[]);
        for (command, answer) in steps {
            c.answer(command, answer);
        }
        c.until_the_end();
    })
}

fn on(scripts: Vec<Script>, check: impl FnOnce(&Remote)) {
    let server = Scripted::start(scripts);
    let remote = remote(&server, 1);
    check(&remote);
    remote.close();
    server.finish();
}

#[test]
fn questions_are_asked_again() {
    let steps: &[_] = &[("SIZE /f", "213 5"), ("MDTM /f", "213 20240102030405")];
    on(
        vec![lost_at("SIZE /f"), lost_at("SIZE /f"), then(steps)],
        |remote| {
            let version = remote.version(&path("/f")).unwrap();
            let modified = Some(UNIX_EPOCH + Duration::from_secs(1_704_164_645));
            assert_eq!(version, FileVersion { size: 5, modified });
        },
    );
}

#[test]
fn attempts_are_counted() {
    let scripts = (0..4).map(|_| lost_at("SIZE /f")).collect();
    on(scripts, |remote| {
        let error = remote.version(&path("/f")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
    });
}

#[test]
fn what_the_lost_attempt_has_done_is_done() {
    on(
        vec![lost_at("MKD /d"), then(&[("MKD /d", "550 exists")])],
        |remote| remote.make_directory(&path("/d")).unwrap(),
    );
    let gone: &[_] = &[("DELE /f", "550 no"), ("SIZE /f", "550 no")];
    on(vec![lost_at("DELE /f"), then(gone)], |remote| {
        remote.remove_file(&path("/f")).unwrap();
    });
    let renamed: &[_] = &[
        ("RNFR /a", "550 no such file"),
        ("SIZE /b", "213 1"),
        ("SIZE /a", "550 no"),
    ];
    let lost = script(|c| {
        c.greet(&[]);
        c.answer("RNFR /a", "350 and?");
        c.expect("RNTO /b");
    });
    let after = script(move |c| {
        c.greet(&[]);
        for (command, answer) in renamed {
            c.answer(command, answer);
        }
        // `enter` is the second question about /a.
        c.refuse_cwd();
        c.until_the_end();
    });
    on(vec![lost, after], |remote| {
        remote.rename(&path("/a"), &path("/b"), None).unwrap();
    });
}

#[test]
fn what_it_has_not_done_is_an_error() {
    let denied: &[_] = &[("DELE /f", "550 Permission denied"), ("SIZE /f", "213 5")];
    on(vec![lost_at("DELE /f"), then(denied)], |remote| {
        let error = remote.remove_file(&path("/f")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
    });
    // No doubt, no second look: nothing was lost here.
    on(vec![then(&[("MKD /d", "550 File exists")])], |remote| {
        let error = remote.make_directory(&path("/d")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exists);
    });
}

#[test]
fn renaming_over_where_the_server_refuses_it() {
    let steps: &[_] = &[
        ("RNFR /a", "350 and?"),
        ("RNTO /b", "550 file exists"),
        ("RNFR /b", "350 and?"),
        ("RNTO /.old", "250 ok"),
        ("RNFR /a", "350 and?"),
        ("RNTO /b", "250 ok"),
        ("DELE /.old", "250 ok"),
        // Learned.
        ("RNFR /b", "350 and?"),
        ("RNTO /.old", "250 ok"),
        ("RNFR /a", "350 and?"),
        ("RNTO /b", "553 disk on fire"),
        ("RNFR /.old", "350 and?"),
        ("RNTO /b", "250 back"),
    ];
    on(vec![then(steps)], |remote| {
        let (a, b, old) = (path("/a"), path("/b"), path("/.old"));
        remote.rename(&a, &b, Some(&old)).unwrap();
        let error = remote.rename(&a, &b, Some(&old)).unwrap_err();
        assert_eq!(error.code(), Some(553));
    });
}

#[test]
fn mdtm_with_two_arguments_is_believed_only_when_seen() {
    let time = UNIX_EPOCH + Duration::from_secs(1_704_164_645);
    let liar: &[_] = &[
        ("MDTM 20240102030405 /f", "213 20200101000000"),
        ("MDTM /f", "213 20200101000000"),
    ];
    on(vec![then(liar)], |remote| {
        for _ in 0..2 {
            let error = remote.set_modified(&path("/f"), time).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    });
    let honest: &[_] = &[
        ("MDTM 20240102030405 /f", "213 set"),
        ("MDTM /f", "213 20240102030405"),
        ("MDTM 20240102030405 /f", "213 set"),
    ];
    on(vec![then(honest)], |remote| {
        for _ in 0..2 {
            remote.set_modified(&path("/f"), time).unwrap();
        }
    });
}

#[test]
fn modes_by_the_second_way_or_not_at_all() {
    let steps = |c: &mut crate::support::scripted::Conversation| {
        c.answer("SITE CHMOD 0640 /f", "500 SITE?");
        for _ in 0..2 {
            c.answer("MFF UNIX.mode=0640; /f", "213 done");
        }
        c.until_the_end();
    };
    let offering = script(move |c| {
        c.greet(&["MFF UNIX.mode;"]);
        steps(c);
    });
    on(vec![offering], |remote| {
        for _ in 0..2 {
            remote.set_mode(&path("/f"), 0o640).unwrap();
        }
    });
    // "Superfluous" is not done.
    on(
        vec![then(&[("SITE CHMOD 0640 /f", "202 no need")])],
        |remote| {
            for _ in 0..2 {
                let error = remote.set_mode(&path("/f"), 0o640).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported);
            }
        },
    );
}

#[test]
fn the_listing_command_is_learned() {
    let line = b"-rw-r--r-- 1 u g 5 Jan  2  2020 name\r\n";
    let steps = script(move |c| {
        c.greet(&["MLST type*;"]);
        c.answer("MLSD /d", "500 no such thing");
        c.expect("LIST -a");
        c.send("150 here");
        drop(c.data());
        c.send("226 nothing");
        c.expect("LIST");
        c.send_data(line);
        c.send("226 done");
        c.expect("LIST");
        c.send_data(line);
        c.send("226 done");
        c.until_the_end();
    });
    on(vec![steps], |remote| {
        for _ in 0..2 {
            let listing = remote.list(&path("/d")).unwrap();
            assert_eq!(listing.entries.len(), 1);
            assert_eq!(listing.entries[0].name, b"name");
        }
    });
}

#[test]
fn an_empty_listing_of_nothing_is_not_found() {
    let steps = script(|c| {
        c.greet(&["MLST type*;"]);
        c.expect("MLSD /d");
        c.send_data(b"");
        c.send("226 nothing");
        c.refuse_cwd();
        c.until_the_end();
    });
    on(vec![steps], |remote| {
        let error = remote.list(&path("/d")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

/// libunftp says it of the folder when one of its names goes while the listing is made.
#[test]
fn not_found_in_the_middle_of_a_listing_is_asked_for_again() {
    let goes = |c: &mut Conversation| {
        c.expect("MLSD /d");
        c.send_data(b"");
        c.send("550 File not found");
    };
    let steps = script(move |c| {
        c.greet(&["MLST type*;"]);
        goes(c);
        goes(c);
        c.expect("MLSD /d");
        c.send_data(b"type=file;size=1; a\r\n");
        c.send("226 done");
        // It may really not be there.
        for _ in 0..5 {
            goes(c);
        }
        // Before the 150 it is believed at once.
        c.answer("MLSD /d", "550 No such file or directory");
        c.until_the_end();
    });
    on(vec![steps], |remote| {
        assert_eq!(remote.list(&path("/d")).unwrap().entries.len(), 1);
        for _ in 0..2 {
            let error = remote.list(&path("/d")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
    });
}

#[test]
fn a_cut_listing_is_asked_for_again_and_never_believed() {
    let cut = || {
        script(|c| {
            c.greet(&["MLST type*;"]);
            c.expect("MLSD /d");
            c.send_data(b"type=file;size=1; a\r\n");
            c.send("426 cut");
            c.until_the_end();
        })
    };
    let twice = script(|c| {
        c.greet(&["MLST type*;"]);
        for _ in 0..2 {
            c.expect("MLSD /d");
            c.send_data(b"type=file;size=1; a\r\n");
            c.send("426 cut");
        }
        c.until_the_end();
    });
    on(vec![twice, cut()], |remote| {
        let error = remote.list(&path("/d")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
    });
}

#[test]
fn local_times_become_utc_by_one_question() {
    let now = std::time::SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).unwrap().as_secs();
    // Ten days ago, at a full minute.
    let exact = (seconds - 10 * 86_400) / 60 * 60;
    let steps = script(move |c| {
        c.greet(&["MDTM"]);
        let local = exact + 2 * 3600;
        let (date, stamp) = (ls_date(local), stamp(exact));
        c.expect("LIST -a");
        c.send_data(format!("-rw-r--r-- 1 u g 5 {date} name\r\n").as_bytes());
        c.send("226 done");
        c.answer("MDTM /d/name", &format!("213 {stamp}"));
        c.until_the_end();
    });
    on(vec![steps], |remote| {
        let listing = remote.list(&path("/d")).unwrap();
        let told = listing.entries[0].modified.unwrap().time;
        assert_eq!(told, UNIX_EPOCH + Duration::from_secs(exact));
    });
}

/// `Jan  2 03:04` by the `date` of the system: no calendar of ours tests ours.
fn ls_date(seconds: u64) -> String {
    date(seconds, "+%b %e %H:%M")
}

fn stamp(seconds: u64) -> String {
    date(seconds, "+%Y%m%d%H%M%S")
}

fn date(seconds: u64, format: &str) -> String {
    let output = std::process::Command::new("date")
        .env("LC_ALL", "C")
        .args(["-u", "-d", &format!("@{seconds}"), format])
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}
