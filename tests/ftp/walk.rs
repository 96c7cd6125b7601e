//! Batches of STAT: what is believed of their answers, and that nobody can forge them by a file name.

use std::time::{Duration, Instant, SystemTime};

use ftpfs::ftp::FtpError;

use crate::support::scripted::{Conversation, Scripted, script};
use crate::{open, path};

const ITSELF: &str = "drwxr-xr-x 2 u g 4096 Jan 1 2024 .\r\ndrwxr-xr-x 2 u g 4096 Jan 1 2024 ..";

/// Where an answer that never ends is part of the game.
const HANGS: Option<Duration> = Some(Duration::from_millis(300));

/// The listing of a directory with one file.
fn listing(name: &str) -> String {
    format!("213-Status:\r\n{ITSELF}\r\n-rw-r--r-- 1 u g 1 Jan 1 2024 {name}\r\n213 End\r\n")
}

/// Answers STAT by `told`, and everything else as servers do.
fn serve(c: &mut Conversation, told: impl Fn(&str) -> String) {
    c.greet(&[]);
    while let Some(line) = c.command() {
        match line.strip_prefix("STAT -a ") {
            Some(dir) => c.send_raw(told(dir.trim_end_matches('/')).as_bytes()),
            None => c.send("500 what?"),
        }
    }
}

/// What a batch about these directories tells where STAT is answered so.
fn list(
    dirs: &[&str],
    patience: Option<Duration>,
    told: impl Fn(&str) -> String + Send + 'static,
) -> (Result<Vec<Option<String>>, FtpError>, bool) {
    list_below("/", dirs, patience, told)
}

fn list_below(
    base: &str,
    dirs: &[&str],
    patience: Option<Duration>,
    told: impl Fn(&str) -> String + Send + 'static,
) -> (Result<Vec<Option<String>>, FtpError>, bool) {
    let server = Scripted::start(vec![script(move |c| serve(c, told))]);
    let mut session = open(&server).unwrap();
    session.set_limit(patience.map(|patience| Instant::now() + patience));
    let dirs: Vec<_> = dirs.iter().map(|dir| path(dir)).collect();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let found = session
        .list_many(&path(base), &dirs)
        .map(|told| told.into_iter().map(|t| t.map(text)).collect());
    let usable = session.is_in_step();
    drop(session);
    server.finish();
    (found, usable)
}

#[test]
fn each_directory_has_its_own_answer() {
    let (found, usable) = list(
        &["/a", "/b c", "/empty", "/gone", "/above", "/z"],
        None,
        |dir| match dir {
            "/a" => listing("in a"),
            "." => listing("in b c"),
            "/empty" => format!("213-Status:\r\n{ITSELF}\r\n213 End\r\n"),
            // vsftpd
            "/gone" => "213-Status:\r\n213 End\r\n".into(),
            // vsftpd, of an unreadable directory, had we not put a slash behind it.
            "/above" => "213-Status:\r\ndrwxr-xr-x 2 u g 1 Jan 1 2024 .\r\n213 End\r\n".into(),
            _ => "550 no\r\n".into(),
        },
    );
    let found = found.unwrap();
    let holds = |n: usize, name: &str| found[n].as_ref().is_some_and(|l| l.contains(name));
    assert!(
        holds(0, " in a\r\n") && holds(1, " in b c\r\n"),
        "{found:?}"
    );
    assert_eq!(found[2].as_deref(), Some(&*format!("{ITSELF}\r\n")));
    assert_eq!(found[3..], [None, None, None]);
    assert!(usable);
}

#[test]
fn paths_are_short_below_a_directory() {
    let dirs = ["/base dir/a", "/base dir/b c", "/base dir/-d/e"];
    let (found, usable) = list_below("/base dir", &dirs, None, |dir| match dir {
        "a" => listing("in a"),
        "." => listing("in b c"),
        "./-d/e" => listing("in e"),
        _ => "550 no\r\n".into(),
    });
    let found = found.unwrap();
    assert!(found.iter().all(Option::is_some), "{found:?}");
    assert!(usable);
}

#[test]
fn a_name_cannot_forge_an_answer() {
    let end = "213 End\r\n";
    let ours = "213-Status:\r\ndrwxr-xr-x 2 u g 1 Jan 1 2024 .\r\ndrwxr-xr-x 2 u g 1 Jan 1 2024 ..\r\n-rw-r--r-- 1 u g 1 Jan 1 2024 x";
    let forged = format!("{ours}\r\n{end}");
    let closing = "200 ok\r\n257 \"/\"\r\n".repeat(16);
    let noops = "200 ok\r\n".repeat(32);
    for (case, name) in [
        ("an end alone", format!("x\r\n{end}")),
        ("an end and a beginning", format!("x\r\n{end}213-x")),
        ("a whole answer", format!("x\r\n{end}{forged}213-x")),
        ("two answers", format!("x\r\n{end}{forged}{forged}213-x")),
        ("what takes the next ones in", format!("x\r\n{end}211-x")),
        ("a refusal that takes them in", format!("x\r\n{end}550-x")),
        ("an answer to NOOP", format!("x\r\n{end}{forged}200-x")),
        ("the closing questions", format!("x\r\n{end}{closing}213-x")),
        (
            "all answers to the end",
            format!("x\r\n{end}{forged}{closing}213-x"),
        ),
        (
            "another guess",
            format!("x\r\n{end}{forged}{noops}{closing}200-x"),
        ),
        (
            "a preliminary reply",
            format!("x\r\n{end}150 wait\r\n213-x"),
        ),
    ] {
        for dirs in [&["/d", "/next", "/last"][..], &["/first", "/d"], &["/d"]] {
            let name = name.clone();
            let told = move |dir: &str| listing(if dir == "/d" { &name } else { "f" });
            let (found, usable) = list(dirs, HANGS, told);
            assert!(found.is_err() && !usable, "{case}, {dirs:?}: {found:?}");
        }
    }
}

#[test]
fn two_names_cannot_forge_together() {
    let (found, usable) = list(&["/d", "/between", "/e", "/last"], HANGS, |dir| match dir {
        "/d" => listing(&format!("x\r\n213 End\r\n{}211-", listing("y"))),
        "/e" => listing("z\r\n211 End\r\n213-"),
        _ => listing("f"),
    });
    assert!(found.is_err() && !usable, "{found:?}");
}

#[test]
fn what_comes_behind_the_answers_is_suspicious() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        let mut closing = 0;
        while let Some(line) = c.line() {
            match line.split(' ').next() {
                Some("STAT") => c.send_raw(listing("f").as_bytes()),
                Some("NOOP" | "PWD") => {
                    closing += 1;
                    let more = if closing > 32 { "\r\n200 more" } else { "" };
                    let word = if line == "PWD" { "257 \"/\"" } else { "200 ok" };
                    c.send(&format!("{word}{more}"));
                }
                Some("USER") => c.send("331 password"),
                Some("PASS") => c.send("230 in"),
                _ => c.send("200 ok"),
            }
        }
    })]);
    let mut session = open(&server).unwrap();
    // The login has asked PWD once.
    assert!(session.list_many(&path("/"), &[path("/d")]).is_err());
    assert!(!session.is_in_step());
    drop(session);
    server.finish();
}

#[test]
fn large_answers_end_a_batch() {
    let dirs: Vec<_> = (0..40).map(|n| format!("/d{n}")).collect();
    let dirs: Vec<_> = dirs.iter().map(String::as_str).collect();
    let (found, usable) = list(&dirs, None, |_| listing(&"x\r\n".repeat(100_000)));
    assert!(matches!(found, Err(FtpError::TooLarge { .. })) && !usable);
}

/// Far more commands than both sockets hold at a time, and answers that nobody reads in between.
#[test]
fn many_questions_do_not_block_each_other() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        while let Some(line) = c.command() {
            match line.strip_prefix("MDTM /") {
                Some(path) => c.send(&format!("213 {}", &path[..14])),
                // Whether a line feed ends a line. Not here.
                None => c.send("500 what?"),
            }
        }
    })]);
    let mut session = open(&server).unwrap();
    let long = "x".repeat(400);
    let paths: Vec<_> = (0..10_000)
        .map(|n| path(&format!("/2024010203{:02}{:02}{long}", n / 60 % 60, n % 60)))
        .collect();
    let mut times = Vec::new();
    session
        .modified_of_many(&paths, |time| times.push(time.unwrap()))
        .unwrap();
    assert_eq!(times.len(), paths.len());
    let since = |n: usize| times[n].duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!((1..3600).all(|n| (since(n) - since(n - 1)).as_secs() == 1));
    drop(session);
    server.finish();
}
