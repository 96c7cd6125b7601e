//! Data connections and the transfers on them.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ftpfs::ftp::{FtpError, ListCommand, Session, Transfer};

use crate::support::scripted::{Conversation, Script, Scripted, read_all, reset, script};
use crate::{config, open, path};

const TIME: Duration = Duration::from_secs(10);

fn read_to_end(transfer: &mut Transfer<&mut Session>) -> Result<Vec<u8>, FtpError> {
    let mut all = Vec::new();
    let mut buf = [0; 1000];
    loop {
        match transfer.read(&mut buf)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buf[..count]),
        }
    }
}

fn one(steps: Script) -> (Scripted, Session) {
    let server = Scripted::start(vec![steps]);
    let session = open(&server).unwrap();
    (server, session)
}

#[test]
fn a_file_from_an_offset() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.answer("REST 5", "350 ok");
        c.expect("RETR /f");
        c.send_data(b"rest of it");
        c.send("226 done");
        c.until_the_end();
    }));
    let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 5).unwrap();
    assert_eq!(read_to_end(&mut transfer).unwrap(), b"rest of it");
    assert_eq!(transfer.moved(), 10);
    let (_, reply) = transfer.finish(TIME).unwrap();
    assert_eq!(reply.code(), 226);
    assert!(session.is_alive());
    drop(session);
    // REST directly before RETR: some servers forget it at EPSV.
    let lines = server.lines();
    let at = lines.iter().position(|l| l == "1 EPSV").unwrap();
    assert_eq!(lines[at + 1..at + 3], ["1 REST 5", "1 RETR /f"]);
    server.finish();
}

/// `command` would answer EPSV itself.
fn answer_epsv(c: &mut Conversation, answer: &str) {
    log_in_at(c, "257 \"/\"");
    assert_eq!(c.line().unwrap(), "EPSV");
    c.send(answer);
}

/// `command` would answer PWD itself.
fn log_in_at(c: &mut Conversation, home: &str) {
    while c.line().unwrap() != "PWD" {
        let last = c.lines_so_far().pop().unwrap();
        let answer = match last.split(' ').nth(1).unwrap() {
            "USER" => "331 x",
            "PASS" => "230 x",
            "FEAT" => "211 x",
            _ => "200 x",
        };
        c.send(answer);
    }
    c.send(home);
}

#[test]
fn pasv_where_epsv_is_refused_remembered_and_its_address_ignored() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        for round in 0..2 {
            if round == 0 {
                answer_epsv(c, "500 what?");
            }
            assert_eq!(c.line().unwrap(), "PASV");
            let [high, low] = c.listen().to_be_bytes();
            c.send(&format!(
                "227 Entering passive mode 203,0,113,9,{high},{low}"
            ));
            assert_eq!(c.line().unwrap(), "RETR /f");
            c.send_data(b"x");
            c.send("226 done");
        }
        c.until_the_end();
    }));
    for _ in 0..2 {
        let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap();
        assert_eq!(read_to_end(&mut transfer).unwrap(), b"x");
        transfer.finish(TIME).unwrap();
    }
    drop(session);
    assert_eq!(server.count("EPSV"), 1);
    server.finish();
}

#[test]
fn ports_of_services_are_refused() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        while c.line().unwrap() != "EPSV" {
            let last = c.lines_so_far().pop().unwrap();
            let answer = match last.split(' ').nth(1).unwrap() {
                "USER" => "331 x",
                "PASS" => "230 x",
                "FEAT" => "211 x",
                "PWD" => "257 \"/\"",
                _ => "200 x",
            };
            c.send(answer);
        }
        c.send("229 ok (|||25|)");
        assert_eq!(c.line(), None);
    }));
    let error = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap_err();
    assert!(matches!(error, FtpError::Protocol { verb: "EPSV", .. }));
    drop(session);
    server.finish();
}

#[test]
fn nobody_at_the_data_port() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.expect("MKD /wait");
        c.send("257 x");
        assert_eq!(c.line().unwrap(), "EPSV");
        let port = c.listen();
        c.forget_data();
        c.send(&format!("229 ok (|||{port}|)"));
        assert_eq!(c.line().unwrap(), "RETR /f");
        assert_eq!(c.line(), None);
    }));
    session.make_directory(&path("/wait")).unwrap();
    let error = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap_err();
    assert!(
        matches!(error, FtpError::NoDataConnection { .. }),
        "{error}"
    );
    assert!(error.is_data_lost() && !session.is_in_step());
    drop(session);
    server.finish();
}

#[test]
fn refusals_before_and_after_150() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.answer("RETR /a", "550 no such file");
        // libunftp looks for the file only now.
        c.expect("RETR /b");
        c.send_data(b"");
        c.send("550 File not found");
        c.expect("RETR /c");
        c.send("150 coming");
        let data = c.data();
        c.send("451 read error");
        assert_eq!(c.line(), None);
        drop(data);
    }));
    let error = Transfer::retrieve(&mut session, &path("/a"), 0).unwrap_err();
    assert_eq!(error.to_string(), "RETR refused: 550 no such file");
    assert!(session.is_alive());
    let mut transfer = Transfer::retrieve(&mut session, &path("/b"), 0).unwrap();
    assert_eq!(read_to_end(&mut transfer).unwrap(), b"");
    let error = transfer.finish(TIME).unwrap_err();
    assert_eq!(error.to_string(), "RETR refused: 550 File not found");
    assert!(session.is_alive());
    // A refusal is heard while data is waited for.
    let mut transfer = Transfer::retrieve(&mut session, &path("/c"), 0).unwrap();
    assert_eq!(read_to_end(&mut transfer).unwrap_err().code(), Some(451));
    drop(transfer);
    drop(session);
    server.finish();
}

#[test]
fn a_stray_success_is_no_answer_to_epsv() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        answer_epsv(c, "226 Transfer complete.");
        assert_eq!(c.line(), None);
    }));
    let error = Transfer::retrieve(&mut session, &path("/a"), 0).unwrap_err();
    assert!(error.is_session_lost(), "{error}");
    assert!(!session.is_in_step());
    drop(session);
    // Nothing was learned of EPSV, and PASV was not asked.
    assert_eq!(server.count("PASV"), 0);
    server.finish();
}

#[test]
fn a_refusal_in_one_segment_with_the_150() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.expect("RETR /a");
        // Both are read at once, and the data connection stays open.
        c.send("150 coming\r\n451 read error");
        let data = c.data();
        assert_eq!(c.line(), None);
        drop(data);
    }));
    let mut transfer = Transfer::retrieve(&mut session, &path("/a"), 0).unwrap();
    assert_eq!(read_to_end(&mut transfer).unwrap_err().code(), Some(451));
    drop(transfer);
    drop(session);
    server.finish();
}

#[test]
fn the_final_reply_may_overtake_the_data() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send("150 coming");
        let mut data = c.data();
        c.send("226 done");
        data.write_all(b"late").unwrap();
        drop(data);
        c.until_the_end();
    }));
    let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap();
    assert_eq!(read_to_end(&mut transfer).unwrap(), b"late");
    transfer.finish(TIME).unwrap();
    assert!(session.is_alive());
    drop(session);
    server.finish();
}

#[test]
fn a_cut_listing_is_an_error() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.expect("MLSD /d");
        c.send_data(b"type=file; a\r\n");
        c.send("426 cut");
        c.expect("MLSD /d");
        c.send("150 coming");
        let mut data = c.data();
        data.write_all(b"type=file; a\r\n").unwrap();
        reset(data);
        c.send("426 cut");
        assert_eq!(c.line(), None);
    }));
    let mut transfer = Transfer::list(&mut session, ListCommand::Mlsd, &path("/d")).unwrap();
    read_to_end(&mut transfer).unwrap();
    assert_eq!(transfer.finish(TIME).unwrap_err().code(), Some(426));
    // The reset may be noticed when the connection is made or when it is read.
    let error = Transfer::list(&mut session, ListCommand::Mlsd, &path("/d"))
        .and_then(|mut transfer| read_to_end(&mut transfer))
        .unwrap_err();
    assert!(error.is_data_lost(), "{error}");
    drop(session);
    server.finish();
}

#[test]
fn an_empty_listing_without_data() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.answer("LIST -a", "226 nothing here");
        c.until_the_end();
    }));
    let mut transfer = Transfer::list(&mut session, ListCommand::ListAll, &path("/d")).unwrap();
    assert_eq!(read_to_end(&mut transfer).unwrap(), b"");
    transfer.finish(TIME).unwrap();
    assert!(session.is_alive());
    drop(session);
    assert_eq!(
        server.lines().iter().filter(|l| *l == "1 CWD /d").count(),
        1
    );
    server.finish();
}

/// z/OS and OpenVMS begin in a directory whose name is no path.
#[test]
fn where_a_login_begins_is_not_taken_for_the_root() {
    for (home, entered) in [
        ("257 \"'ME.'\" is the prefix", true),
        ("550 who knows", true),
        ("257 \"/home\"", true),
        ("257 \"/\"", false),
    ] {
        let (server, mut session) = one(script(move |c| {
            c.greet(&[]);
            log_in_at(c, home);
            c.answer("LIST -a", "226 nothing here");
            c.until_the_end();
        }));
        let mut transfer = Transfer::list(&mut session, ListCommand::ListAll, &path("/")).unwrap();
        assert_eq!(read_to_end(&mut transfer).unwrap(), b"");
        transfer.finish(TIME).unwrap();
        drop(session);
        let lines = server.lines();
        let at = |line: &str| lines.iter().position(|l| l == line);
        assert_eq!(at("1 CWD /").is_some(), entered, "{home}");
        assert!(at("1 CWD /") < at("1 LIST -a"), "{home}");
        server.finish();
    }
}

/// Who was not let back is not where the login began.
#[test]
fn a_refused_way_back_is_known() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.answer("LIST -a", "226 nothing here");
        // Back to the root for MLSD.
        c.refuse_cwd();
        c.answer("MLSD /d", "226 nothing here");
        c.answer("LIST -a", "226 nothing here");
        c.until_the_end();
    }));
    for (how, dir) in [
        (ListCommand::ListAll, "/d"),
        (ListCommand::Mlsd, "/d"),
        (ListCommand::ListAll, "/"),
    ] {
        Transfer::list(&mut session, how, &path(dir))
            .unwrap()
            .finish(TIME)
            .unwrap();
    }
    drop(session);
    let lines = server.lines();
    let root = lines.iter().rposition(|l| l == "1 CWD /").unwrap();
    assert!(lines[..root].contains(&"1 MLSD /d".to_owned()), "{lines:?}");
    server.finish();
}

#[test]
fn a_lost_226() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send_data(b"all of it");
        // And ends the connection.
    }));
    let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap();
    assert_eq!(read_to_end(&mut transfer).unwrap(), b"all of it");
    assert!(transfer.finish(TIME).unwrap_err().is_session_lost());
    assert!(!session.is_in_step());
    drop(session);
    server.finish();
}

#[test]
fn a_transfer_that_stalls() {
    let server = Scripted::start(vec![script(|c| {
        c.greet(&[]);
        c.expect("RETR /f");
        c.send("150 coming");
        let data = c.data();
        assert_eq!(c.line(), None);
        drop(data);
    })]);
    let mut config = config(&server);
    config.timeout = Duration::from_millis(1500);
    let mut session = Session::open(&config, &Arc::default()).unwrap();
    let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap();
    let error = read_to_end(&mut transfer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "timed out after 1.5 s waiting for data of RETR"
    );
    drop(transfer);
    assert!(!session.is_in_step());
    drop(session);
    server.finish();
}

#[test]
fn forgetting_a_transfer_is_safe() {
    let (arrived, has_arrived) = std::sync::mpsc::channel();
    let (server, mut session) = one(script(move |c| {
        c.greet(&[]);
        c.expect("STOR /f");
        c.send("150 go on");
        let mut data = c.data();
        data.read_exact(&mut [0; 4]).unwrap();
        arrived.send(()).unwrap();
        let (end, _) = read_all(&mut data).unwrap_err();
        assert_eq!(end, ErrorKind::ConnectionReset);
        assert_eq!(c.line(), None);
    }));
    let mut transfer = Transfer::store(&mut session, &path("/f"), 0).unwrap();
    transfer.write_all(b"half").unwrap();
    has_arrived.recv_timeout(TIME).unwrap();
    drop(transfer);
    assert!(!session.is_in_step());
    assert!(matches!(
        session.size(&path("/f")),
        Err(FtpError::Broken { .. })
    ));
    drop(session);
    server.finish();
}

#[test]
fn an_upload_ends_cleanly_or_not_at_all() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.expect("STOR /f");
        c.send("150 go on");
        assert_eq!(read_all(&mut c.data()).unwrap(), b"whole");
        c.send("226 stored");
        c.expect("APPE /f");
        c.send("150 go on");
        let (end, _) = read_all(&mut c.data()).unwrap_err();
        assert_eq!(end, ErrorKind::ConnectionReset);
        c.send("426 cut");
        c.until_the_end();
    }));
    let mut transfer = Transfer::store(&mut session, &path("/f"), 0).unwrap();
    transfer.write_all(b"whole").unwrap();
    transfer.finish(TIME).unwrap();
    let mut transfer = Transfer::append(&mut session, &path("/f")).unwrap();
    transfer.write_all(b"half").unwrap();
    transfer.abandon().settle();
    assert!(session.is_alive());
    drop(session);
    server.finish();
}

#[test]
fn a_full_disk_is_told_as_such() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.expect("STOR /f");
        c.send("150 go on");
        reset(c.data());
        c.send("452 No space left on device");
        assert_eq!(c.line(), None);
        drop(c.command());
    }));
    let piece = vec![0; 1 << 20];
    let error = Transfer::store(&mut session, &path("/f"), 0)
        .and_then(|mut transfer| -> Result<(), FtpError> {
            loop {
                transfer.write_all(&piece)?;
            }
        })
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "STOR refused: 452 No space left on device"
    );
    drop(session);
    server.finish();
}

#[test]
fn stopping_early_costs_one_reply() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        // Pure-FTPd's last word is a second 150.
        for last in ["426 stopped", "226 all sent before", "150 0.1 seconds"] {
            c.expect("RETR /f");
            c.send("150 coming");
            let mut data = c.data();
            data.write_all(b"some").unwrap();
            drop(read_all(&mut data));
            c.send(last);
        }
        // ftp-srv says nothing.
        c.expect("RETR /f");
        c.send_data(b"some");
        assert_eq!(c.line(), None);
    }));
    for _ in 0..3 {
        let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap();
        assert_eq!(transfer.read(&mut [0; 2]).unwrap(), 2);
        transfer.abandon().settle();
        assert!(session.is_alive());
    }
    let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap();
    assert_eq!(transfer.read(&mut [0; 2]).unwrap(), 2);
    transfer.abandon().settle();
    assert!(!session.is_in_step());
    drop(session);
    server.finish();
}

/// libunftp forgets the offset of a REST only at a transfer that ends well: the next RETR or STOR
/// would begin there, in another file.
#[test]
fn an_offset_never_outlives_its_transfer() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.answer("REST 5", "350 ok");
        c.expect("RETR /f");
        c.send("150 coming");
        let mut data = c.data();
        data.write_all(b"some").unwrap();
        drop(read_all(&mut data));
        c.send("426 stopped");
        c.answer("REST 0", "350 ok");
        c.expect("RETR /g");
        c.send_data(b"whole");
        c.send("226 done");
        // Forgotten by a server of any kind: no further REST.
        c.expect("RETR /g");
        c.send_data(b"whole");
        c.send("226 done");
        c.answer("REST 5", "350 ok");
        c.answer("RETR /absent", "550 no such file");
        c.answer("REST 0", "350 ok");
        c.expect("STOR /h");
        c.send("150 go on");
        assert_eq!(read_all(&mut c.data()).unwrap(), b"whole");
        c.send("226 stored");
        c.answer("REST 5", "350 ok");
        c.expect("RETR /f");
        c.send_data(b"rest");
        c.send("226 done");
        c.expect("APPE /f");
        c.send("150 go on");
        assert_eq!(read_all(&mut c.data()).unwrap(), b"more");
        c.send("226 stored");
        c.until_the_end();
    }));
    let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 5).unwrap();
    assert_eq!(transfer.read(&mut [0; 2]).unwrap(), 2);
    transfer.abandon().settle();
    for _ in 0..2 {
        let mut transfer = Transfer::retrieve(&mut session, &path("/g"), 0).unwrap();
        assert_eq!(read_to_end(&mut transfer).unwrap(), b"whole");
        transfer.finish(TIME).unwrap();
    }
    let error = Transfer::retrieve(&mut session, &path("/absent"), 5).unwrap_err();
    assert_eq!(error.code(), Some(550));
    let mut transfer = Transfer::store(&mut session, &path("/h"), 0).unwrap();
    transfer.write_all(b"whole").unwrap();
    transfer.finish(TIME).unwrap();
    let mut transfer = Transfer::retrieve(&mut session, &path("/f"), 5).unwrap();
    assert_eq!(read_to_end(&mut transfer).unwrap(), b"rest");
    transfer.finish(TIME).unwrap();
    let mut transfer = Transfer::append(&mut session, &path("/f")).unwrap();
    transfer.write_all(b"more").unwrap();
    transfer.finish(TIME).unwrap();
    drop(session);
    server.finish();
}

#[test]
fn a_session_that_keeps_an_offset_is_not_used_again() {
    let (server, mut session) = one(script(|c| {
        c.greet(&[]);
        c.answer("REST 5", "350 ok");
        c.answer("RETR /f", "550 no such file");
        c.answer("REST 0", "501 what?");
        assert_eq!(c.command(), None);
    }));
    Transfer::retrieve(&mut session, &path("/f"), 5).unwrap_err();
    let error = Transfer::retrieve(&mut session, &path("/f"), 0).unwrap_err();
    assert!(
        matches!(error, FtpError::Broken { verb: "RETR" }),
        "{error}"
    );
    assert!(!session.is_in_step());
    drop(session);
    server.finish();
}
