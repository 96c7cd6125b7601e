//! From the greeting to TYPE I, and all the ways in which it does not get there.

use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use ftpfs::ftp::{FtpError, RemotePath, Secret, Session};

use crate::support::scripted::{Scripted, script};
use crate::{PASSWORD, config, open};

#[test]
fn greetings_of_all_kinds() {
    for greeting in [
        "220 ready\r\n",
        "220-Welcome\r\n220-to\r\n 220 this\r\n220 server\r\n",
        "120 in a moment\r\n220 ready\r\n",
        "220\r\n",
    ] {
        let server = Scripted::start(vec![script(move |c| {
            c.send_raw(greeting.as_bytes());
            c.until_the_end();
        })]);
        let session = open(&server).unwrap();
        assert!(session.is_alive(), "{greeting:?}");
        drop(session);
        let lines = server.lines();
        assert_eq!(
            lines[..2],
            ["1 USER me".to_owned(), format!("1 PASS {PASSWORD}")]
        );
        server.finish();
    }
}

#[test]
fn who_greets_without_an_end_is_given_up() {
    let (given_up, is_given_up) = std::sync::mpsc::channel();
    let server = Scripted::start(vec![script(move |c| {
        let enough = Instant::now() + Duration::from_secs(20);
        let many = "120 soon\r\n".repeat(400);
        while is_given_up.try_recv().is_err() && Instant::now() < enough {
            c.send_raw(many.as_bytes());
        }
    })]);
    let mut config = config(&server);
    config.connect_timeout = Duration::from_millis(500);
    config.timeout = Duration::from_millis(500);
    let error = Session::open(&config, &Arc::default()).unwrap_err();
    given_up.send(()).unwrap();
    let said = error.to_string();
    assert!(
        error.is_timeout() && said.ends_with("waiting for the server's greeting"),
        "{said}"
    );
    server.finish();
}

#[test]
fn a_user_without_password_sends_none() {
    let server = Scripted::start(vec![script(|c| {
        c.send("220 ready");
        assert_eq!(c.line().unwrap(), "USER me");
        c.send("230 come in");
        c.until_the_end();
    })]);
    open(&server).unwrap();
    assert_eq!(server.count("PASS"), 0);
    server.finish();
}

#[test]
fn refusals_and_what_they_mean() {
    struct Case {
        greeting: &'static str,
        user: &'static str,
        pass: &'static str,
        wrong_password: bool,
        too_many: bool,
    }
    let case = |greeting, user, pass, wrong_password, too_many| Case {
        greeting,
        user,
        pass,
        wrong_password,
        too_many,
    };
    let cases = [
        case("220", "331", "530 Login incorrect.", true, false),
        case(
            "220",
            "530 This FTP server is anonymous only.",
            "",
            true,
            false,
        ),
        case("220", "332 account, please", "", false, false),
        case(
            "421 There are too many connected users, please try later.",
            "",
            "",
            false,
            true,
        ),
        case("530 full: too many users", "", "", false, true),
        case(
            "220",
            "331",
            "530 Sorry, the maximum number of clients (3) from your host are already connected.",
            false,
            true,
        ),
        case("220", "331", "421 Too many connections.", false, true),
    ];
    for Case {
        greeting,
        user,
        pass,
        wrong_password,
        too_many,
    } in cases
    {
        let server = Scripted::start(vec![script(move |c| {
            c.send(greeting);
            for answer in [user, pass] {
                if !answer.is_empty() && c.line().is_some() {
                    c.send(answer);
                }
            }
            assert_eq!(c.line(), None);
        })]);
        let error = open(&server).unwrap_err();
        assert_eq!(error.is_wrong_password(), wrong_password, "{error}");
        assert_eq!(error.is_too_many_connections(), too_many, "{error}");
        server.finish();
    }
}

#[test]
fn servers_that_say_nothing_or_nonsense() {
    let server = Scripted::start(vec![
        script(|_| {}),
        script(|c| c.send("HTTP/1.1 400 Bad Request")),
        script(|c| {
            c.send_raw(&vec![b'2'; 100_000]);
            assert_eq!(c.line(), None);
        }),
    ]);
    assert!(matches!(open(&server), Err(FtpError::Disconnected { .. })));
    let nonsense = open(&server).unwrap_err();
    assert_eq!(
        nonsense.to_string(),
        "connect: unexpected answer: HTTP/1.1 400 Bad Request"
    );
    assert!(matches!(open(&server), Err(FtpError::TooLarge { .. })));
    server.finish();
}

#[test]
fn a_silent_server_is_left_with_a_reason() {
    let server = Scripted::start(vec![script(|c| assert_eq!(c.line(), None))]);
    let mut config = config(&server);
    config.timeout = Duration::from_millis(300);
    let error = Session::open(&config, &Arc::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "timed out after 0.3 s waiting for the server's greeting"
    );
    server.finish();
}

#[test]
fn nobody_there() {
    let server = Scripted::start(vec![]);
    let config = config(&server);
    server.finish();
    let error = Session::open(&config, &Arc::default()).unwrap_err();
    assert!(matches!(error, FtpError::Unreachable { .. }));
    let expected = format!("cannot connect to 127.0.0.1:{}: ", config.port);
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn what_feat_offers_is_used_and_remembered() {
    let server = Scripted::start(vec![
        script(|c| {
            c.greet(&[
                "UTF8",
                "MLST type*;size*;modify*;unique*;UNIX.mode;",
                "MFMT",
            ]);
            c.until_the_end();
        }),
        script(|c| {
            c.greet(&[]);
            c.until_the_end();
        }),
    ]);
    let experience = Arc::default();
    let first = crate::open_again(&server, &experience).unwrap();
    assert!(first.features().has("MFMT"));
    assert_eq!(experience.home().unwrap().unwrap(), RemotePath::root());
    drop(first);
    let second = crate::open_again(&server, &experience).unwrap();
    assert!(second.features().has("MFMT"));
    drop(second);
    let opts = "OPTS MLST type;size;modify;UNIX.mode;";
    let lines = server.lines();
    for number in [1, 2] {
        for line in ["OPTS UTF8 ON", opts, "TYPE I"] {
            assert!(lines.contains(&format!("{number} {line}")), "{lines:?}");
        }
    }
    assert_eq!((server.count("FEAT"), server.count("PWD")), (1, 1));
    server.finish();
}

#[test]
fn a_known_server_is_asked_in_one_segment() {
    let server = Scripted::start(vec![
        script(|c| {
            c.greet(&["UTF8"]);
            c.until_the_end();
        }),
        script(|c| {
            c.greet(&[]);
            // Nothing is answered before all has come.
            for line in [
                "USER me",
                &format!("PASS {PASSWORD}"),
                "TYPE I",
                "OPTS UTF8 ON",
            ] {
                assert_eq!(c.line().unwrap(), line);
            }
            c.send_raw(b"331 x\r\n230 x\r\n200 x\r\n200 x\r\n");
            c.until_the_end();
        }),
    ]);
    let experience = Arc::default();
    let mut first = crate::open_again(&server, &experience).unwrap();
    assert!(first.probe_pipelining());
    let second = crate::open_again(&server, &experience).unwrap();
    assert!(second.is_alive());
    drop((first, second));
    server.finish();
}

#[test]
fn who_minds_several_commands_at_the_first_login_is_asked_one_by_one() {
    let loses = script(|c| {
        c.send("220 first");
        // Only the first line of whatever is read at a time.
        loop {
            let read = c.some_bytes();
            match &read[..] {
                b"" => return,
                line if line.starts_with(b"USER") => c.send("331 x"),
                line if line.starts_with(b"PASS") => c.send("230 x"),
                _ => c.send("211-x\r\n UTF8\r\n211 x"),
            }
        }
    });
    let mixes = script(|c| {
        c.greet(&[]);
        for answer in ["331 x", "230 x", "", "", "200 x\r\n257 \"/\"\r\n211 x"] {
            assert_ne!(c.line(), None);
            if !answer.is_empty() {
                c.send(answer);
            }
        }
        assert_eq!(c.line(), None);
    });
    let late = script(|c| {
        c.greet(&[]);
        for answer in [
            "331 x",
            "230 x",
            "",
            "",
            "500 x\r\n200 x\r\n257 \"/\"\r\n211 x",
        ] {
            assert_ne!(c.line(), None);
            if !answer.is_empty() {
                c.send(answer);
            }
        }
        assert_eq!(c.line(), None);
    });
    let hangs_up = script(|c| {
        c.greet(&[]);
        for answer in ["331 x", "230 x"] {
            assert_ne!(c.line(), None);
            c.send(answer);
        }
        assert_eq!(c.line().unwrap(), "FEAT");
    });
    for minds in [loses, mixes, late, hangs_up] {
        let one_by_one = || {
            script(|c| {
                c.greet(&["UTF8"]);
                assert_eq!(c.command(), None);
            })
        };
        let server = Scripted::start(vec![minds, one_by_one(), one_by_one()]);
        let experience = Arc::default();
        let first = crate::open_again(&server, &experience).unwrap();
        assert!(first.is_alive() && first.features().has("UTF8"));
        let second = crate::open_again(&server, &experience).unwrap();
        assert!(second.is_alive());
        assert_eq!(
            experience.pipelining(),
            None,
            "that is for the probe to say"
        );
        drop((first, second));
        server.finish();
    }
}

#[test]
fn servers_that_mix_up_or_lose_commands_are_found_out() {
    let server = Scripted::start(vec![
        // libunftp answers in any order.
        script(|c| {
            c.greet(&[]);
            while let Some(line) = c.line() {
                match line.split(' ').next().unwrap() {
                    "USER" => c.send("331 x"),
                    "PASS" => c.send("230 x"),
                    "PWD" => c.send("257 \"/\""),
                    "CWD" => c.send_raw(b"200 x\r\n250 x\r\n"),
                    _ => c.send("200 x"),
                }
            }
        }),
        // uftpd executes the first one only.
        script(|c| {
            c.greet(&[]);
            for answer in ["331 x", "230 x", "211 x", "200 x", "257 \"/\"", "250 x"] {
                c.line().unwrap();
                c.send(answer);
            }
            while c.line().is_some() {}
        }),
    ]);
    for _ in 0..2 {
        let experience = Arc::default();
        let mut session = crate::open_again(&server, &experience).unwrap();
        assert!(!session.probe_pipelining());
        assert_eq!(experience.pipelining(), Some(false));
        assert!(!session.is_in_step());
    }
    server.finish();
}

static LOG: Mutex<String> = Mutex::new(String::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        LOG.lock()
            .unwrap()
            .push_str(&format!("{}\n", record.args()));
    }
    fn flush(&self) {}
}

#[test]
fn the_password_is_in_no_log_and_no_error() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Collector).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    let server = Scripted::start(vec![script(|c| {
        c.send("220 ready");
        assert_eq!(c.line().unwrap(), "USER me");
        c.send("331 password");
        assert_eq!(c.line().unwrap(), format!("PASS {PASSWORD}"));
        c.send("530 no");
        assert_eq!(c.line(), None);
    })]);
    let config = config(&server);
    let error = Session::open(&config, &Arc::default()).unwrap_err();
    server.finish();
    let log = LOG.lock().unwrap().clone();
    assert!(log.contains("> PASS ***"), "{log}");
    for text in [log, format!("{error} {error:?} {config:?}")] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

/// The server asks for an account after USER or after PASS; what it answers to ACCT.
fn wants_account(after: &'static str, answer: &'static str) -> Scripted {
    let one = move || {
        script(move |c| {
            c.send("220 ready");
            assert_eq!(c.line().unwrap(), "USER me");
            if after == "PASS" {
                c.send("331 password");
                assert_eq!(c.line().unwrap(), format!("PASS {PASSWORD}"));
            }
            c.send("332 account, please");
            if let Some(line) = c.line() {
                assert_eq!(line, format!("ACCT {ACCOUNT}"));
                c.send(answer);
                while c.command().is_some() {}
            }
        })
    };
    Scripted::start(vec![one(), one()])
}

const ACCOUNT: &str = "s3cret acc0unt";

#[test]
fn an_account_is_given_where_it_is_asked_for() {
    for after in ["USER", "PASS"] {
        let server = wants_account(after, "230 in");
        let mut config = config(&server);
        config.account = Some(Secret::new(ACCOUNT));
        let experience = Arc::default();
        let mut first = Session::open(&config, &experience).unwrap();
        // All at once goes what does not depend on what is asked for.
        assert!(first.probe_pipelining());
        let second = Session::open(&config, &experience).unwrap();
        assert!(second.is_alive());
        drop((first, second));
        assert_eq!(server.count("ACCT"), 2, "{after}");
        assert_eq!(server.count("PASS"), if after == "PASS" { 2 } else { 0 });
        server.finish();
    }
}

#[test]
fn an_account_that_is_refused_or_missing() {
    for after in ["USER", "PASS"] {
        let server = wants_account(after, "530 ACCT s3cret acc0unt: no");
        let mut config = config(&server);
        config.account = Some(Secret::new(ACCOUNT));
        let error = Session::open(&config, &Arc::default()).unwrap_err();
        assert!(error.is_wrong_password(), "{error}");
        let text = format!("{error} {error:?} {config:?}");
        assert!(
            text.contains("ACCT ***") && !text.contains("s3cret"),
            "{text}"
        );
        assert_eq!(server.count("ACCT"), 1);
        config.account = None;
        let error = Session::open(&config, &Arc::default()).unwrap_err();
        assert!(error.is_login_refused(), "{error}");
        assert_eq!((error.code(), server.count("ACCT")), (Some(332), 1));
        server.finish();
    }
}

#[test]
fn who_was_not_asked_for_an_account_gives_none() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        c.until_the_end();
    })]);
    let mut config = config(&server);
    config.account = Some(Secret::new(ACCOUNT));
    Session::open(&config, &Arc::default()).unwrap();
    assert_eq!(server.count("ACCT"), 0);
    server.finish();
}
