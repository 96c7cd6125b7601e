//! Commands and replies after the login: in step, or never used again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ftpfs::ftp::{FtpError, Session};

use crate::support::poll;
use crate::support::scripted::{Scripted, script};
use crate::{config, open, path};

#[test]
fn an_unasked_reply_ends_an_idle_session() {
    for (words, farewell) in [("421 Timeout.", true), ("226 Transfer complete.", false)] {
        let server = Scripted::start(vec![script(move |c| {
            c.greet(&[]);
            c.expect("MKD /a");
            c.send("257 made");
            c.send(words);
            while c.line().is_some() {}
        })]);
        let mut session = open(&server).unwrap();
        session.make_directory(&path("/a")).unwrap();
        poll::until(Duration::from_secs(10), "the unasked reply", || {
            !session.is_alive()
        });
        let error = session.size(&path("/f")).unwrap_err();
        assert_eq!(
            matches!(error, FtpError::Farewell { .. }),
            farewell,
            "{error}"
        );
        assert!(error.is_session_lost() && !session.is_in_step());
        assert!(matches!(
            session.size(&path("/f")),
            Err(FtpError::Broken { .. })
        ));
        assert_eq!(server.count("SIZE"), 0);
        drop(session);
        server.finish();
    }
}

#[test]
fn replies_come_in_any_pieces() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        c.expect("SIZE /f");
        for byte in b"213-x\r\n 213 7\r\n213 9\r\n" {
            c.send_raw(&[*byte]);
        }
        c.expect("SIZE /f");
        c.send("213 12345678901");
        c.until_the_end();
    })]);
    let mut session = open(&server).unwrap();
    // The number is in the first line, which has none here.
    let error = session.size(&path("/f")).unwrap_err();
    assert!(matches!(error, FtpError::Protocol { verb: "SIZE", .. }));
    assert_eq!(session.size(&path("/f")).unwrap(), 12_345_678_901);
    drop(session);
    server.finish();
}

#[test]
fn a_refusal_leaves_the_session_in_step() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        c.answer("DELE /f", "550-No\r\n550 such file");
        c.answer("SIZE /f", "550 no");
        c.until_the_end();
    })]);
    let mut session = open(&server).unwrap();
    let error = session.remove_file(&path("/f")).unwrap_err();
    assert_eq!(error.to_string(), "DELE refused: 550 No such file");
    assert!(session.is_alive());
    assert_eq!(session.size(&path("/f")).unwrap_err().code(), Some(550));
    drop(session);
    server.finish();
}

#[test]
fn a_session_that_the_server_sees_otherwise_is_given_up() {
    for code in [503, 530] {
        let server = Scripted::start(vec![script(move |c| {
            c.greet(&[]);
            c.answer("SIZE /f", &format!("{code} Please login"));
            assert_eq!(c.line(), None);
        })]);
        let mut session = open(&server).unwrap();
        assert_eq!(session.size(&path("/f")).unwrap_err().code(), Some(code));
        assert!(!session.is_in_step());
        drop(session);
        server.finish();
    }
}

#[test]
fn no_reply_in_time() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        c.expect("SIZE /f");
        assert_eq!(c.line(), None);
    })]);
    let mut config = config(&server);
    config.timeout = Duration::from_millis(1500);
    let mut session = Session::open(&config, &Arc::default()).unwrap();
    let error = session.size(&path("/f")).unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(
        error.to_string(),
        "timed out after 1.5 s waiting for the reply to SIZE"
    );
    assert!(!session.is_in_step());
    drop(session);
    server.finish();
}

#[test]
fn an_operation_has_a_limit_of_its_own() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        c.expect("SIZE /f");
        assert_eq!(c.line(), None);
    })]);
    let mut session = open(&server).unwrap();
    session.set_limit(Some(Instant::now() + Duration::from_millis(200)));
    assert!(session.size(&path("/f")).unwrap_err().is_timeout());
    drop(session);
    server.finish();
}

#[test]
fn endless_replies_are_cut_off() {
    for endless in [vec![b'x'; 1 << 20], b"213-\r\n".repeat(500_000)] {
        let server = Scripted::start(vec![script(move |c| {
            c.greet(&[]);
            c.expect("SIZE /f");
            c.send_raw(&endless);
            assert_eq!(c.line(), None);
        })]);
        let mut session = open(&server).unwrap();
        let error = session.size(&path("/f")).unwrap_err();
        assert!(matches!(error, FtpError::TooLarge { .. }), "{error}");
        drop(session);
        server.finish();
    }
}

#[test]
fn long_paths_never_make_long_lines() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        let dir: String = format!("/{}", ["d"; 90].map(|d| d.repeat(9)).join("/"));
        let (first, second) = (dir[..490].to_owned(), dir[491..].to_owned());
        let mut lines = Vec::new();
        while let Some(line) = c.line() {
            assert!(line.len() <= 498, "{line}");
            let answer = match line.split(' ').next().unwrap() {
                "USER" => "331 x",
                "PASS" => "230 x",
                "FEAT" => "211 x",
                "PWD" => "257 \"/\"",
                "SIZE" => "213 5",
                "RNFR" => "350 x",
                "CWD" | "RNTO" => "250 x",
                _ => "200 x",
            };
            c.send(answer);
            lines.push(line);
        }
        let enter = [format!("CWD {first}"), format!("CWD {second}")];
        let at = lines.iter().position(|l| l.starts_with("SIZE")).unwrap();
        assert_eq!(lines[at - 2..at], enter);
        assert_eq!(lines[at], "SIZE ./-f");
        assert_eq!(lines[at + 1..at + 3], enter);
        assert_eq!(lines[at + 3..at + 5], ["RNFR ./-f", "RNTO g"]);
    })]);
    let mut session = open(&server).unwrap();
    let dir = path(&format!("/{}", ["d"; 90].map(|d| d.repeat(9)).join("/")));
    let file = dir.join(b"-f").unwrap();
    assert_eq!(session.size(&file).unwrap(), 5);
    session.rename(&file, &dir.join(b"g").unwrap()).unwrap();
    let monster = dir.join(&[b'n'; 600]).unwrap();
    let error = session.size(&monster).unwrap_err();
    assert!(matches!(error, FtpError::PathTooLong { verb: "SIZE" }));
    drop(session);
    server.finish();
}
