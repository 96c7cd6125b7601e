//! What the server says, and where it sends us.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use ftpfs::ftp::{FtpError, Session, Transfer};

use crate::support::mounted::{Mounted, Refused};
use crate::support::poll;
use crate::support::scripted::{Conversation, Scripted, script};
use crate::{always, commands, config, open, path, serve};

/// The lines of a login up to PWD, answered; the next one is left.
fn log_in(c: &mut Conversation) {
    c.send("220 scripted");
    loop {
        let line = c.line().unwrap();
        match line.split(' ').next().unwrap() {
            "USER" => c.send("331 password"),
            "PASS" => c.send("230 in"),
            "PWD" => return c.send("257 \"/\""),
            _ => c.send("200 ok"),
        }
    }
}

#[test]
fn the_address_in_a_pasv_reply_is_ignored() {
    // Somebody else's machine, who would be talked to in our name.
    let (listener, third, port) = loop {
        let third = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = third.local_addr().unwrap().port();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            break (listener, third, port);
        }
    };
    third.set_nonblocking(true).unwrap();
    let server = Scripted::start(vec![script(move |c| {
        log_in(c);
        assert_eq!(c.line().unwrap(), "EPSV");
        c.send("500 what?");
        assert_eq!(c.line().unwrap(), "PASV");
        let [high, low] = port.to_be_bytes();
        c.send(&format!(
            "227 Entering Passive Mode (127,0,0,2,{high},{low})"
        ));
        assert_eq!(c.line().unwrap(), "RETR /f");
        c.send("150 coming");
        let (data, _) = listener.accept().unwrap();
        drop(data);
        c.send("226 done");
        c.until_the_end();
    })]);
    let mut session = open(&server).unwrap();
    let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap();
    assert_eq!(transfer.read(&mut [0; 10]).unwrap(), 0);
    transfer.finish(Duration::from_secs(10)).unwrap();
    drop(session);
    server.finish();
    assert_eq!(third.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn no_data_connection_goes_to_the_port_of_a_service() {
    let server = Scripted::start(always(|c| {
        log_in(c);
        match c.line().as_deref() {
            Some("EPSV") => c.send("229 Entering Extended Passive Mode (|||1023|)"),
            other => panic!("{other:?}"),
        }
        assert_eq!(c.line(), None);
    }));
    for _ in 0..2 {
        let mut session = open(&server).unwrap();
        let error = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap_err();
        assert!(
            matches!(error, FtpError::Protocol { verb: "EPSV", .. }),
            "{error}"
        );
    }
    server.finish();
}

#[test]
fn an_unasked_reply_ends_the_session() {
    let server = Scripted::start(always(|c| {
        c.greet(&[]);
        c.answer("MKD /a", "257 made");
        c.send("250 And the next one, too.");
        assert_eq!(c.line(), None);
    }));
    let mut session = open(&server).unwrap();
    session.make_directory(&path("/a")).unwrap();
    poll::until(Duration::from_secs(10), "the unasked reply", || {
        !session.is_alive()
    });
    // It would have been taken for the answer to this.
    let error = session.remove_file(&path("/b")).unwrap_err();
    assert!(error.is_session_lost(), "{error}");
    assert!(session.remove_file(&path("/b")).is_err() && !session.is_in_step());
    drop(session);
    assert_eq!(server.count("DELE"), 0);
    server.finish();
}

#[test]
fn a_session_with_a_reply_outstanding_is_never_used_again() {
    let server = Scripted::start(always(|c| {
        c.greet(&[]);
        c.expect("SIZE /slow");
        assert_eq!(c.line(), None);
    }));
    let mut config = config(&server);
    config.timeout = Duration::from_millis(700);
    let mut session = Session::open(&config, &Arc::default()).unwrap();
    assert!(session.size(&path("/slow")).unwrap_err().is_timeout());
    for _ in 0..3 {
        let error = session.size(&path("/next")).unwrap_err();
        assert!(matches!(error, FtpError::Broken { .. }), "{error}");
    }
    assert!(!session.is_alive());
    drop(session);
    assert!(!commands(&server).contains(&"SIZE /next".to_owned()));
    server.finish();
}

#[test]
fn replies_have_limits() {
    let endless = [
        vec![b'2'; 1 << 20],
        b"213-\r\n".repeat(400_000),
        [b"213-".to_vec(), vec![0; 1 << 20]].concat(),
    ];
    for bytes in endless {
        let server = Scripted::start(always(move |c| {
            c.greet(&[]);
            c.expect("SIZE /f");
            c.send_raw(&bytes);
            assert_eq!(c.line(), None);
        }));
        let mut session = open(&server).unwrap();
        let error = session.size(&path("/f")).unwrap_err();
        assert!(matches!(error, FtpError::TooLarge { .. }), "{error}");
        assert!(!session.is_in_step());
        drop(session);
        server.finish();
    }
}

/// What would move the cursor, ring, or turn the text of a line around.
const TRICKS: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{8}\u{85}\u{202e}txt\u{2066}";

#[track_caller]
fn is_harmless(log: &str) {
    let bad = |c: char| c != '\n' && c.is_control() || matches!(c, '\u{202e}' | '\u{2066}');
    assert!(!log.contains(bad), "{log:?}");
    assert!(
        log.contains("\\u{1b}") && log.contains("\\u{202e}"),
        "{log}"
    );
}

#[test]
fn control_characters_are_printed_escaped() {
    let server = Scripted::start(always(|c| {
        c.send(&format!("220-{TRICKS}"));
        c.send("220 scripted");
        let listing = format!(
            "type=file;size=7;modify=20200101000000; file{TRICKS}\r\n{TRICKS}; none of the facts\r\n"
        );
        c.pretend(&["MLST type*;size*;modify*;"]);
        serve_with_tricks(c, &listing);
    }));
    let url = format!("ftp://me:password@127.0.0.1:{}/", server.port());
    let mount = Mounted::run(&url, &[], |command| {
        command.arg("-d").env("RUST_LOG", "trace");
    });
    let mount = mount.unwrap();
    let name = format!("file{TRICKS}");
    let listed = fs::read_dir(mount.path()).unwrap();
    let listed: Vec<_> = listed.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(listed, [&*name]);
    fs::read(mount.at(&name)).unwrap_err();
    fs::create_dir(mount.at(format!("dir{TRICKS}"))).unwrap_err();
    fs::rename(mount.at(&name), mount.at("other")).unwrap_err();
    fs::write(mount.at(format!("new{TRICKS}")), b"x").unwrap_err();
    let log = mount.log();
    is_harmless(&log);
    assert!(log.contains("cannot read this line"), "{log}");
    drop(mount);
    server.finish();

    // And in the one line that says why there is no mount.
    let server = Scripted::start(always(|c| c.send(&format!("530 {TRICKS}"))));
    let url = format!("ftp://me:password@127.0.0.1:{}/", server.port());
    let Refused { log, .. } = Mounted::try_new(&url, &[]).unwrap_err();
    is_harmless(&log);
    server.finish();
}

/// Lists, and refuses everything else in these words.
fn serve_with_tricks(c: &mut Conversation, listing: &str) {
    while let Some(line) = c.command() {
        match line.split(' ').next().unwrap_or_default() {
            "MLSD" => {
                c.send_data(listing.as_bytes());
                c.send("226 done");
            }
            "QUIT" => c.send("221 bye"),
            _ => c.send(&format!("550 {TRICKS}")),
        }
    }
}

/// A server without TLS learns neither name nor password of a user who wants it.
#[test]
fn tls_that_was_asked_for_is_never_left_out() {
    let server = Scripted::start(always(|c| {
        c.greet(&[]);
        serve(c, b"");
    }));
    let port = server.port();
    for (url, options) in [
        (format!("ftpes://me:password@127.0.0.1:{port}/"), &[][..]),
        (format!("ftps://me:password@127.0.0.1:{port}/"), &[]),
        (
            format!("ftp://me:password@127.0.0.1:{port}/"),
            &["tls=require"],
        ),
    ] {
        let Refused { code, log } = Mounted::try_new(&url, options).unwrap_err();
        assert_eq!(code, Some(4), "{log}");
    }
    let lines = server.lines();
    let tells = |line: &String| line.contains("USER") || line.contains("PASS");
    assert!(!lines.iter().any(tells), "{lines:?}");
    server.finish();
}
