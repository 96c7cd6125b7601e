//! Directories that get their mode by SITE UMASK, and what is done where that fails.

use ftpfs::remote::{ErrorKind, Remote};

use crate::support::scripted::{Conversation, Script, Scripted, script};
use crate::{path, remote};

const OWN: &str = "200 Your current UMASK is 077";

/// Shows that it takes several commands at once.
fn in_order(c: &mut Conversation) {
    c.greet(&["MLST type*;unix.mode*;"]);
    for number in 1..=4 {
        c.answer(&format!("MDTM /{number}"), "550 no");
    }
}

fn make(c: &mut Conversation, name: &str, [set, made, restored]: [&str; 3]) {
    c.answer("SITE UMASK 022", set);
    c.answer(&format!("MKD {name}"), made);
    c.answer("SITE UMASK 077", restored);
}

fn list(c: &mut Conversation, facts: &str) {
    c.expect("MLSD /");
    c.send_data(format!("{facts}\r\n").as_bytes());
    c.send("226 done");
}

const GOOD: [&str; 3] = ["200 022", "257 made", "200 077"];

fn on(scripts: Vec<Script>, check: impl FnOnce(&Remote)) {
    let server = Scripted::start(scripts);
    let remote = remote(&server, 1);
    let paths: Vec<_> = (1..=4).map(|n| path(&format!("/{n}"))).collect();
    remote.modified_times(&paths).unwrap();
    check(&remote);
    remote.close();
    server.finish();
}

#[test]
fn a_mode_that_was_seen_to_come_is_not_looked_at_again() {
    let only = script(|c| {
        in_order(c);
        c.answer("MKD /as-given", "257 made");
        c.answer("MKD /narrower", "257 made");
        c.answer("SITE UMASK", OWN);
        make(c, "/a", GOOD);
        list(c, "type=dir;unix.mode=0755; a");
        make(c, "/b", GOOD);
        // Somebody else has made it: it stays as it is.
        make(c, "/c", ["200 022", "550 /c: File exists", "200 077"]);
        c.answer("MKD /plain", "257 made");
        c.until_the_end();
    });
    on(vec![only], |remote| {
        let made = |name: &str, mode| remote.make_directory_as(&path(name), mode, Some(0o700));
        assert_eq!(made("/as-given", 0o700).unwrap(), None);
        assert_eq!(made("/narrower", 0o500).unwrap(), None);
        assert_eq!(made("/a", 0o755).unwrap(), Some(0o755));
        assert_eq!(made("/b", 0o755).unwrap(), Some(0o755));
        assert_eq!(made("/c", 0o755).unwrap_err().kind(), ErrorKind::Exists);
        let unknown = remote.make_directory_as(&path("/plain"), 0o755, None);
        assert_eq!(unknown.unwrap(), None);
    });
}

#[test]
fn a_session_whose_umask_is_not_restored_is_dropped() {
    for refusal in ["500 not now", "202 superfluous"] {
        let first = script(move |c| {
            in_order(c);
            c.answer("SITE UMASK", OWN);
            make(c, "/a", ["200 022", "257 made", refusal]);
            c.until_the_end();
        });
        let second = script(|c| {
            c.greet(&["MLST type*;unix.mode*;"]);
            list(c, "type=dir;unix.mode=0755; a");
            c.answer("SIZE /f", "550 no");
            c.answer("MDTM /f", "550 no");
            c.until_the_end();
        });
        on(vec![first, second], |remote| {
            let made = remote.make_directory_as(&path("/a"), 0o755, Some(0o700));
            assert_eq!(made.unwrap(), Some(0o755), "{refusal}");
            assert!(remote.version(&path("/f")).is_err());
        });
    }
}

#[test]
fn a_refused_umask_is_not_tried_again() {
    let first = script(|c| {
        in_order(c);
        c.answer("SITE UMASK", OWN);
        make(c, "/a", ["550 denied", "257 made", "550 denied"]);
        c.until_the_end();
    });
    let second = script(|c| {
        c.greet(&[]);
        c.answer("MKD /b", "257 made");
        c.until_the_end();
    });
    on(vec![first, second], |remote| {
        for name in ["/a", "/b"] {
            let made = remote.make_directory_as(&path(name), 0o755, Some(0o700));
            assert_eq!(made.unwrap(), None, "{name}");
        }
    });
}

#[test]
fn a_umask_without_effect_is_not_tried_again() {
    let only = script(|c| {
        in_order(c);
        c.answer("SITE UMASK", OWN);
        make(c, "/a", GOOD);
        list(c, "type=dir;unix.mode=0700; a");
        c.answer("MKD /b", "257 made");
        c.until_the_end();
    });
    on(vec![only], |remote| {
        for name in ["/a", "/b"] {
            let made = remote.make_directory_as(&path(name), 0o755, Some(0o700));
            assert_eq!(made.unwrap(), None, "{name}");
        }
    });
}

#[test]
fn a_umask_that_does_not_explain_the_modes_is_left_alone() {
    for answer in ["200 Your current UMASK is 022", "200 ok", "502 what?"] {
        let only = script(move |c| {
            in_order(c);
            c.answer("SITE UMASK", answer);
            c.answer("MKD /a", "257 made");
            c.answer("MKD /b", "257 made");
            c.until_the_end();
        });
        on(vec![only], |remote| {
            for name in ["/a", "/b"] {
                let made = remote.make_directory_as(&path(name), 0o755, Some(0o700));
                assert_eq!(made.unwrap(), None, "{name}: {answer}");
            }
        });
    }
}
