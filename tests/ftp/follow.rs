//! Where links lead, by what a server answers about them.

use std::time::{Duration, Instant};

use ftpfs::ftp::{FtpError, LeadsTo};

use crate::support::scripted::{Conversation, Scripted, script};
use crate::{open, path};

/// Where an answer that never ends is part of the game.
const HANGS: Duration = Duration::from_millis(300);

/// A server with a few links; SIZE of a directory is answered, as bftpd does.
fn serve(c: &mut Conversation) {
    c.greet(&[]);
    let mut place = "/";
    while let Some(line) = c.line() {
        let entered = match line.as_str() {
            "CWD /" | "CWD /dir/round" => Some("/"),
            "CWD /dir" => Some("/dir"),
            "CWD /dir/to-dir" => Some("/other"),
            "CWD /dir/itself" => Some("/dir/itself"),
            _ => None,
        };
        match line.as_str() {
            _ if entered.is_some() => {
                place = entered.unwrap();
                c.send("250 done");
            }
            "PWD" => c.send(&format!("257 \"{place}\"")),
            "SIZE /dir/to-dir" | "SIZE /dir/round" | "SIZE /dir/itself" => c.send("213 4096"),
            "SIZE /dir/to-file" => c.send("213 12"),
            login if login.starts_with("USER") => c.send("331 password"),
            login if login.starts_with("PASS") => c.send("230 in"),
            "TYPE I" | "NOOP" => c.send("200 ok"),
            _ => c.send("550 no"),
        }
    }
}

#[test]
fn a_directory_whose_size_is_told_is_a_directory() {
    for together in [true, false] {
        let server = Scripted::start(vec![script(serve)]);
        let mut session = open(&server).unwrap();
        let links = ["to-file", "to-dir", "round", "itself", "nothing"];
        let links = links.map(|name| path(&format!("/dir/{name}")));
        let found = session.follow(&path("/dir"), &links, together).unwrap();
        let file = LeadsTo::File {
            size: 12,
            modified: None,
        };
        let nothing = || LeadsTo::Nothing;
        let expected = [file, LeadsTo::Directory, nothing(), nothing(), nothing()];
        assert_eq!(found, expected);
        drop(session);
        server.finish();
    }
}

/// What is found about two links in `/dir`, each of which leads to a directory where PWD answers with the
/// bytes of `named`; the others are files of 5 bytes. Whether the session is usable then, too.
fn follow_to(
    named: &str,
    together: bool,
    limit: Option<Duration>,
) -> (Result<Vec<LeadsTo>, FtpError>, bool) {
    let named = named.to_owned();
    let server = Scripted::start(vec![script(move |c| {
        c.greet(&[]);
        let mut place = "/";
        while let Some(line) = c.line() {
            match line.as_str() {
                "CWD /" | "CWD /dir" | "CWD /dir/to-dir" => {
                    place = match line.as_str() {
                        "CWD /" => "/",
                        "CWD /dir" => "/dir",
                        _ => &named,
                    };
                    // A message, as it may stand in every directory.
                    c.send("250-Read this:\r\n 213 things\r\n250-and that\r\n250 done");
                }
                "PWD" => c.send(&format!("257 \"{place}\" is the current directory")),
                "SIZE /dir/to-file" => c.send("213 5"),
                "MDTM /dir/to-file" => c.send("213 20240102030405"),
                "TYPE I" | "NOOP" => c.send("200 ok"),
                login if login.starts_with("USER") => c.send("331 password"),
                login if login.starts_with("PASS") => c.send("230 in"),
                // In several lines, as IIS explains itself.
                _ => c.send("550-no\r\n Error details: nothing\r\n550 End"),
            }
        }
    })]);
    let mut session = open(&server).unwrap();
    session.set_limit(limit.map(|limit| Instant::now() + limit));
    let links = ["to-file", "to-dir", "to-file", "nothing", "to-dir"];
    let links = links.map(|name| path(&format!("/dir/{name}")));
    let found = session.follow(&path("/dir"), &links, together);
    let usable = session.is_alive();
    drop(session);
    server.finish();
    (found, usable)
}

#[test]
fn answers_of_several_lines_are_read_where_they_may_be() {
    for together in [true, false] {
        let (found, usable) = follow_to("/other", together, None);
        let found = found.unwrap();
        let kinds: Vec<_> = found
            .iter()
            .map(|leads| match leads {
                LeadsTo::File { size, .. } => *size,
                LeadsTo::Directory => 1,
                LeadsTo::Nothing => 0,
            })
            .collect();
        assert_eq!(kinds, [5, 1, 5, 0, 1]);
        assert!(usable);
    }
}

#[test]
fn a_name_with_line_feeds_cannot_shift_the_answers() {
    let file = "213 7\r\n213 20200101000000\r\n550 no\r\n257 \"/dir\"\r\n200 ok";
    let closing = "200 ok\r\n250 ok\r\n".repeat(16);
    let noops = "200 ok\r\n".repeat(32);
    for (case, behind) in [
        ("one answer", "213 7".to_owned()),
        ("an answer to NOOP", "200 ok\r\n213 7".into()),
        ("all about a file", format!("200 ok\r\n{file}")),
        ("what takes a refusal in", "550-".into()),
        ("what takes a size in", "213-7 ".into()),
        ("what takes NOOP in", "200-".into()),
        (
            "what takes one too many in",
            format!("200 ok\r\n{file}\r\n250-"),
        ),
        ("the closing questions", format!("200 ok\r\n{closing}250 ")),
        ("another guess", format!("{noops}{closing}200 ")),
        ("a preliminary reply", "150 wait".into()),
        ("no reply", "what?".into()),
    ] {
        for quote in ["", "\""] {
            for together in [true, false] {
                let named = format!("/x{quote}\r\n{behind}");
                let (found, usable) = follow_to(&named, together, Some(HANGS));
                assert!(found.is_err() && !usable, "{case}, {together}: {found:?}");
            }
        }
    }
}

/// On the way to the directory one question about a place follows the other.
#[test]
fn a_name_on_the_way_cannot_take_answers_in() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        let mut place = "/";
        while let Some(line) = c.line() {
            if line.starts_with("CWD ") {
                place = match line.as_str() {
                    "CWD /dir" => "/x\"\r\n250-",
                    _ => "/",
                };
            }
            match line.split(' ').next() {
                Some("PWD") => c.send(&format!("257 \"{place}\" is the current directory")),
                Some("CWD") => c.send("250 done"),
                Some("USER") => c.send("331 password"),
                Some("PASS") => c.send("230 in"),
                Some("TYPE" | "NOOP") => c.send("200 ok"),
                _ => c.send("550 no"),
            }
        }
    })]);
    let mut session = open(&server).unwrap();
    session.set_limit(Some(Instant::now() + HANGS));
    let found = session.follow(&path("/dir"), &[path("/dir/link")], true);
    assert!(found.is_err() && !session.is_in_step(), "{found:?}");
    drop(session);
    server.finish();
}

/// What shows that answers are in their places goes out with the questions: nothing is answered here before
/// all has been asked.
#[test]
fn all_is_asked_in_one_round_trip() {
    const WAY: usize = 2 * 3;
    const LINK: usize = 5;
    const CLOSING: usize = 32;
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        // The last question of a login is PWD.
        while let Some(line) = c.line().filter(|line| line != "PWD") {
            match line.split(' ').next() {
                Some("USER") => c.send("331 password"),
                Some("PASS") => c.send("230 in"),
                Some("TYPE") => c.send("200 ok"),
                _ => c.send("500 what?"),
            }
        }
        c.send("257 \"/\"");
        let asked: Vec<_> = (0..WAY + LINK + CLOSING)
            .map(|_| c.line().unwrap())
            .collect();
        for line in asked {
            match line.split(' ').next() {
                Some("CWD") => c.send("250 done"),
                Some("PWD") => c.send("257 \"/\""),
                Some("NOOP") => c.send("200 ok"),
                _ => c.send("550 no"),
            }
        }
        assert_eq!(c.line(), None);
    })]);
    let mut session = open(&server).unwrap();
    session
        .follow(&path("/dir"), &[path("/dir/link")], true)
        .unwrap();
    assert!(session.is_alive());
    drop(session);
    server.finish();
}
