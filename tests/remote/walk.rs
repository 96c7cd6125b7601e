//! Many directories at once: what is asked, what is believed, and when it is given up.

use std::time::{Duration, UNIX_EPOCH};

use ftpfs::ftp::RemotePath;
use ftpfs::remote::{Listing, Remote};

use crate::support::scripted::{Conversation, Script, Scripted, script};
use crate::{path, remote};

const ITSELF: &str = "drwxr-xr-x 2 u g 4096 Jan 1 2024 .\r\ndrwxr-xr-x 2 u g 4096 Jan 1 2024 ..";
const MLST: &str = "MLST type*;size*;modify*;perm*;UNIX.mode*;";

fn listing(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("213-Status:\r\n{ITSELF}\r\n{lines}213 End\r\n")
}

/// A server that answers STAT and MLST by `told`.
fn serving(
    features: &'static [&'static str],
    told: impl Fn(&str) -> Option<String> + Send + 'static,
) -> Script {
    script(move |c: &mut Conversation| {
        c.greet(features);
        while let Some(line) = c.command() {
            match told(&line) {
                Some(answer) => c.send_raw(answer.as_bytes()),
                None if line == "QUIT" => c.send("221 bye"),
                None => c.send("550 no"),
            }
        }
    })
}

fn on(scripts: Vec<Script>, check: impl FnOnce(&Remote, &Scripted)) {
    let server = Scripted::start(scripts);
    let remote = remote(&server, 1);
    check(&remote, &server);
    remote.close();
    server.finish();
}

fn paths(dirs: &[&str]) -> Vec<RemotePath> {
    dirs.iter().map(|dir| path(dir)).collect()
}

fn names(found: &[Option<Listing>]) -> Vec<Option<Vec<String>>> {
    let name = |name: &Vec<u8>| String::from_utf8(name.clone()).unwrap();
    let names = |l: &Listing| l.entries.iter().map(|e| name(&e.name)).collect();
    found
        .iter()
        .map(|found| found.as_ref().map(names))
        .collect()
}

#[test]
fn without_facts_a_listing_is_what_list_tells() {
    let server = serving(&[], |line| match line {
        "STAT -a /a/" => Some(listing(&[
            "-rw-r--r-- 1 u g 7 Jan 1 2024 f",
            "lrwxrwxrwx 1 u g 1 Jan 1 2024 l -> f",
        ])),
        "STAT -a /empty/" => Some(listing(&[])),
        "STAT -a /odd/" => Some(listing(&["what is this"])),
        _ => None,
    });
    on(vec![server], |remote, server| {
        let dirs = paths(&["/a", "/gone", "/empty", "/odd"]);
        let found = remote.list_many(&dirs).unwrap();
        let a = vec!["f".to_owned(), "l".to_owned()];
        assert_eq!(names(&found), [Some(a), None, Some(vec![]), None]);
        assert_eq!(server.count("MLST"), 0);
        assert!(remote.lists_many());
    });
}

#[test]
fn with_facts_a_listing_is_what_mlsd_tells() {
    let server = serving(&[MLST], |line| {
        let facts = |facts: &str| Some(format!("250-Facts\r\n {facts} /elsewhere\r\n250 End\r\n"));
        let file = "-rw-r--r-- 1 u g 7 Jan 1 2024 f";
        match line {
            "STAT -a /a/" => Some(listing(&[file, "drwxr-xr-x 1 u g 1 Jan 1 2024 d"])),
            "MLST /a/f" => facts("type=file;size=8;modify=20240102030405;perm=r;UNIX.mode=0640;"),
            "MLST /a/d" => facts("type=dir;modify=20240102030406;UNIX.mode=0700;"),
            // Links are told in other words.
            "STAT -a /link/" => Some(listing(&["lrwxrwxrwx 1 u g 1 Jan 1 2024 l -> f"])),
            // Changed in between.
            "STAT -a /other/" => Some(listing(&[file])),
            "MLST /other/f" => facts("type=dir;modify=20240102030406;"),
            "STAT -a /gone/" => Some(listing(&[file])),
            _ => None,
        }
    });
    on(vec![server], |remote, _| {
        let dirs = paths(&["/link", "/a", "/other", "/gone"]);
        let found = remote.list_many(&dirs).unwrap();
        let a = vec!["f".to_owned(), "d".to_owned()];
        assert_eq!(names(&found), [None, Some(a), None, None]);
        let entries = &found[1].as_ref().unwrap().entries;
        let time = UNIX_EPOCH + Duration::from_secs(1_704_164_645);
        assert_eq!(entries[0].modified.unwrap().time, time);
        assert_eq!((entries[0].size, entries[0].mode), (Some(8), Some(0o640)));
        assert_eq!(entries[0].perm.as_deref(), Some("r"));
        assert_eq!(entries[1].mode, Some(0o700));
    });
}

#[test]
fn large_directories_are_left_to_data_connections() {
    let server = serving(&[], |line| {
        let line = line.strip_prefix("STAT -a /")?;
        let many: usize = line.trim_end_matches('/').parse().unwrap();
        let lines: Vec<_> = (0..many)
            .map(|n| format!("-rw-r--r-- 1 u g 1 Jan 1 2024 f{n}"))
            .collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        Some(listing(&lines))
    });
    on(vec![server], |remote, _| {
        let found = remote.list_many(&paths(&["/2000", "/2001"])).unwrap();
        assert!(found[0].is_some() && found[1].is_none());
    });
}

#[test]
fn a_large_batch_is_shared_and_leaves_a_session_for_others() {
    let session = || {
        serving(&[], |line| {
            let path = line.strip_prefix("STAT -a ")?.trim_end_matches('/');
            let dir = path.rsplit('/').next()?;
            let file = format!("-rw-r--r-- 1 u g 1 Jan 1 2024 in-{dir}");
            Some(listing(&[&file]))
        })
    };
    let server = Scripted::start((0..4).map(|_| session()).collect());
    let remote = remote(&server, 4);
    let first = remote.list_many(&paths(&["/d/x"])).unwrap();
    assert!(first[0].is_some());
    let dirs: Vec<_> = (0..200).map(|n| path(&format!("/d/{n}"))).collect();
    let found = remote.list_many(&dirs).unwrap();
    for (n, names) in names(&found).into_iter().enumerate() {
        assert_eq!(names, Some(vec![format!("in-{n}")]));
    }
    let lines = server.lines();
    let stats = lines.iter().filter(|line| line.contains(" STAT "));
    let sessions: std::collections::BTreeSet<_> =
        stats.map(|line| line.split(' ').next()).collect();
    // How many there are, is a matter of who is free first.
    assert!(sessions.len() <= 3, "{sessions:?}");
    remote.close();
    server.finish();
}

#[test]
fn a_server_that_lists_nothing_so_is_not_asked_for_ever() {
    on(vec![serving(&[], |_| None)], |remote, server| {
        let dirs = paths(&["/a", "/b"]);
        for _ in 0..4 {
            assert_eq!(names(&remote.list_many(&dirs).unwrap()), [None, None]);
        }
        assert!(!remote.lists_many());
        assert_eq!(server.count("STAT"), 4);
    });
}

#[test]
fn what_forges_answers_is_thrown_away_with_its_session() {
    let good = |name: &'static str| format!("-rw-r--r-- 1 u g 1 Jan 1 2024 {name}");
    let forging = move || {
        serving(&[], move |line| match line {
            "STAT -a /bad/" => Some(listing(&[&good("x\r\n213 End\r\n213-y")])),
            "STAT -a /a/" => Some(listing(&[&good("f")])),
            _ => None,
        })
    };
    on((0..8).map(|_| forging()).collect(), |remote, _| {
        let a = paths(&["/a"]);
        assert!(remote.list_many(&a).unwrap()[0].is_some());
        for _ in 0..6 {
            assert!(remote.lists_many());
            let found = remote.list_many(&paths(&["/a", "/bad"])).unwrap();
            assert_eq!(names(&found), [None, None]);
        }
        // So often in a row: this server has names that make it useless.
        assert!(!remote.lists_many());
    });
}

#[test]
fn a_message_behind_cwd_costs_only_the_paths_that_need_it() {
    let server = || {
        script(|c: &mut Conversation| {
            c.greet(&[]);
            while let Some(line) = c.line() {
                match line.split(' ').next().unwrap() {
                    "USER" => c.send("331 password"),
                    "PASS" => c.send("230 in"),
                    "PWD" => c.send("257 \"/\""),
                    "CWD" if line == "CWD /" => c.send("250 ok"),
                    "CWD" => c.send("250-Welcome\r\n250 ok"),
                    "STAT" => c.send_raw(listing(&[]).as_bytes()),
                    "QUIT" => c.send("221 bye"),
                    _ => c.send("200 ok"),
                }
            }
        })
    };
    on(vec![server(), server()], |remote, _| {
        let dirs = paths(&["/a", "/b c"]);
        assert_eq!(names(&remote.list_many(&dirs).unwrap()), [None, None]);
        let found = remote.list_many(&dirs).unwrap();
        assert_eq!(names(&found), [Some(vec![]), None]);
    });
}
