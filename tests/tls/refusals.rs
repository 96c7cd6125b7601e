//! Servers that are no good partners, played line by line.

use crate::support::mounted::Mounted;
use crate::support::scripted::{Scripted, script};

/// What the mount says of a server that answers AUTH TLS with these bytes, and the handshake with those.
#[track_caller]
fn said_of(answer: &'static [u8], hello: &'static [u8]) -> String {
    let server = Scripted::start(vec![script(move |conversation| {
        conversation.send("220 ready");
        assert_eq!(conversation.line().as_deref(), Some("AUTH TLS"));
        conversation.send_raw(answer);
        if !hello.is_empty() {
            assert!(!conversation.some_bytes().is_empty(), "a ClientHello");
            conversation.send_raw(hello);
        }
        // Whatever the client makes of it, it says no word in clear any more.
        while let Some(line) = conversation.line() {
            assert!(!line.contains("USER") && !line.contains("PASS"), "{line:?}");
        }
    })]);
    let url = format!("ftp://me:secret@127.0.0.1:{}/", server.port());
    let refused = Mounted::try_new(&url, &[]).map(drop).unwrap_err();
    assert!(!refused.log.contains("secret"), "{}", refused.log);
    refused.log
}

#[test]
fn bytes_in_clear_behind_the_234_end_it() {
    let said = said_of(b"234 go on\r\n220 a command of somebody else\r\n", b"");
    assert!(said.contains("in clear"), "{said}");
}

#[test]
fn old_servers_are_told_so() {
    // An alert: protocol_version, fatal.
    let said = said_of(b"234 go on\r\n", b"\x15\x03\x01\x00\x02\x02\x46");
    assert!(
        said.contains("old boxes know only TLS 1.0 or 1.1"),
        "{said}"
    );
    assert!(said.contains("tls=off"), "{said}");
}

#[test]
fn who_speaks_no_tls_after_the_234_is_refused() {
    let said = said_of(b"234 go on\r\n", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    assert!(said.contains("no TLS"), "{said}");
}

#[test]
fn who_cannot_encrypt_at_the_moment_gets_no_password_in_clear() {
    for answer in [
        &b"431 need some unavailable resource\r\n"[..],
        b"454 the certificate cannot be read\r\n",
    ] {
        let said = said_of(answer, b"");
        assert!(said.contains("AUTH refused: 4"), "{said}");
    }
}

#[test]
fn who_hangs_up_at_the_question_can_go_without() {
    let hangs_up = || {
        script(|conversation| {
            conversation.send("220 ready");
            assert_eq!(conversation.line().as_deref(), Some("AUTH TLS"));
        })
    };
    let server = Scripted::start((0..8).map(|_| hangs_up()).collect());
    let url = format!("ftp://me:secret@127.0.0.1:{}/", server.port());
    let refused = Mounted::try_new(&url, &[]).map(drop).unwrap_err();
    assert_eq!(refused.code, Some(5), "{}", refused.log);
    assert!(refused.log.contains("tls=off"), "{}", refused.log);
}
