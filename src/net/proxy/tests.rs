//! What proxies may say, whole, byte by byte, cut and changed.

use std::io::ErrorKind;
use std::sync::Arc;

use super::{Handshake, Proxy, ProxyProtocol};

use ProxyProtocol::{Http, Socks5};

fn handshake(protocol: ProxyProtocol, login: Option<(&str, &str)>, host: &str) -> Handshake {
    let proxy = Proxy {
        protocol,
        host: "p".into(),
        port: 1080,
        login: login.map(|(user, password)| (user.into(), password.into())),
    };
    Handshake::new(Arc::new(proxy), host, 21).unwrap()
}

/// Whether it is over, what was left, and what was sent.
type Fed = (bool, Vec<u8>, Vec<u8>);

/// Feeds all in pieces of this size; says what was left over, and everything that was sent.
fn feed(handshake: &mut Handshake, bytes: &[u8], piece: usize) -> Result<Fed, (ErrorKind, String)> {
    let mut sent = handshake.sent();
    let mut rest = bytes;
    while !rest.is_empty() && !handshake.is_over() {
        let now = &rest[..rest.len().min(piece)];
        let taken = handshake.take(now).map_err(|e| (e.kind(), e.to_string()))?;
        assert!(taken == now.len() || handshake.is_over());
        sent.extend(handshake.sent());
        rest = &rest[taken..];
    }
    Ok((handshake.is_over(), rest.to_vec(), sent))
}

const SIZES: [usize; 4] = [1, 2, 7, 10_000];

#[test]
fn connections_that_are_made() {
    type Case<'a> = (
        ProxyProtocol,
        Option<(&'a str, &'a str)>,
        &'a str,
        &'a [u8],
        &'a [u8],
    );
    let cases: &[Case<'_>] = &[
        (
            Socks5,
            None,
            "h",
            b"\x05\0\x05\0\0\x01\x7f\0\0\x01\x04\x38",
            b"\x05\x01\0\x05\x01\0\x03\x01h\0\x15",
        ),
        (
            Socks5,
            Some(("u", "pw")),
            "192.0.2.1",
            b"\x05\x02\x01\0\x05\0\0\x03\x02ab\x04\x38",
            b"\x05\x02\0\x02\x01\x01u\x02pw\x05\x01\0\x01\xc0\0\x02\x01\0\x15",
        ),
        (
            // It does not want them.
            Socks5,
            Some(("u", "pw")),
            "::1",
            b"\x05\0\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x04\x38",
            b"\x05\x02\0\x02\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x15",
        ),
        (
            Http,
            None,
            "::1",
            b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n",
            b"CONNECT [::1]:21 HTTP/1.1\r\nHost: [::1]:21\r\n\r\n",
        ),
        (
            Http,
            Some(("u", "pw")),
            "h",
            b"HTTP/1.1 100 wait\r\n\r\nHTTP/1.0 200\n\n",
            b"CONNECT h:21 HTTP/1.1\r\nHost: h:21\r\nProxy-Authorization: Basic dTpwdw==\r\n\r\n",
        ),
    ];
    for (protocol, login, host, answers, asked) in cases {
        for size in SIZES {
            // What the server says at once is left for it.
            for behind in [&b""[..], b"220 ready\r\n", b"\r\n\r\n"] {
                let bytes = [answers, behind].concat();
                let mut one = handshake(*protocol, *login, host);
                let (over, rest, sent) = feed(&mut one, &bytes, size).unwrap();
                assert!(over, "{host} {size}");
                assert_eq!((&rest[..], &sent[..]), (behind, *asked), "{host} {size}");
            }
            // Without its last byte it is not over.
            let cut = &answers[..answers.len() - 1];
            let mut one = handshake(*protocol, *login, host);
            assert!(!feed(&mut one, cut, size).unwrap().0, "{host} {size}");
        }
    }
}

#[test]
fn refusals_say_who_refused() {
    let login = Some(("u", "hidden"));
    let header = |line: &str| format!("{line}\r\nX: y\r\n\r\n").into_bytes();
    let code = |code: u8| vec![5, 0, 5, code];
    let cases = [
        (
            Socks5,
            None,
            vec![5, 0xff],
            "the proxy p:1080 wants a user and a password",
        ),
        (
            Socks5,
            login,
            vec![5, 0xff],
            "refuses the user or the password",
        ),
        (
            Socks5,
            login,
            vec![5, 2, 1, 1],
            "refuses the user or the password",
        ),
        (
            Socks5,
            None,
            code(1),
            "refuses a connection to h:21: general failure",
        ),
        (Socks5, None, code(2), "not allowed by its rules"),
        (
            Socks5,
            None,
            code(3),
            "the proxy p:1080 cannot reach h:21: network unreachable",
        ),
        (Socks5, None, code(4), "cannot reach h:21: host unreachable"),
        (
            Socks5,
            None,
            code(5),
            "cannot reach h:21: connection refused",
        ),
        (
            Socks5,
            None,
            code(6),
            "cannot reach h:21: time to live expired",
        ),
        (Socks5, None, code(7), "does not know CONNECT"),
        (Socks5, None, code(8), "does not know this kind of address"),
        (
            Http,
            None,
            header("HTTP/1.1 407 who?"),
            "wants a user and a password in proxy= (407 who?)",
        ),
        (
            Http,
            login,
            header("HTTP/1.1 407 no"),
            "refuses the user or the password in proxy= (407 no)",
        ),
        (
            Http,
            login,
            header("HTTP/1.1 403 dTpoaWRkZW4= hidden\x07"),
            "refuses a connection to h:21: 403 *** ***",
        ),
        (
            Http,
            None,
            header("HTTP/1.1 502 Bad Gateway"),
            "cannot reach h:21: 502 Bad Gateway",
        ),
        (
            Http,
            None,
            header("HTTP/1.1 302 away"),
            "refuses a connection to h:21: 302 away",
        ),
        (
            Http,
            None,
            header("HTTP/1.1 500"),
            "refuses a connection to h:21: 500",
        ),
    ];
    for (protocol, login, answer, words) in cases {
        for size in SIZES {
            let mut one = handshake(protocol, login, "h");
            let (_, message) = feed(&mut one, &answer, size).unwrap_err();
            assert!(message.contains(words), "{message}");
            assert!(!message.contains("hidden"), "{message}");
            assert!(!message.contains(char::is_control), "{message}");
        }
    }
}

#[test]
fn what_is_no_answer_is_told_at_once() {
    let cases: [(ProxyProtocol, &[u8]); 14] = [
        (Socks5, b"HT"),
        (Socks5, b"\x04\0"),
        (Socks5, b"\x05\x01"),
        // Nobody has offered a password.
        (Socks5, b"\x05\x02"),
        (Socks5, b"\x05\0\x04\0"),
        (Socks5, b"\x05\0\x05\x09"),
        (Socks5, b"\x05\0\x05\0\0\x02\0"),
        (Http, b"S"),
        (Http, b"\x05"),
        (Http, b"HTTP/2"),
        (Http, b"HTTP/1.1 2x0 ok\r\n\r\n"),
        (Http, b"HTTP/1.1 2000 ok\r\n\r\n"),
        (Http, b"HTTP/1.1\r\n\r\n"),
        (Http, b"HTTP/1.1 2\xc3\xa40\r\n\r\n"),
    ];
    for (protocol, answer) in cases {
        for size in SIZES {
            let mut one = handshake(protocol, None, "h");
            let (kind, message) = feed(&mut one, answer, size).unwrap_err();
            assert_eq!(kind, ErrorKind::InvalidData, "{answer:?}: {message}");
            assert!(message.contains("does not answer as"), "{message}");
        }
    }
}

#[test]
fn headers_have_an_end() {
    for line in [&b"X-Page: y\r\n"[..], b"HTTP/1.1 100 wait\r\n\r\n", b"z"] {
        let endless = [&b"HTTP/1.1 100 x\r\n"[..], &line.repeat(20_000)].concat();
        let mut one = handshake(Http, None, "h");
        let (_, message) = feed(&mut one, &endless, 1000).unwrap_err();
        let told = ["header without an end", "does not answer as HTTP"];
        assert!(
            told.iter().any(|words| message.contains(words)),
            "{message}"
        );
    }
}

#[test]
fn names_too_long_for_socks_are_refused() {
    let proxy = |protocol| Proxy {
        protocol,
        host: "p".into(),
        port: 1,
        login: None,
    };
    let long = "h".repeat(256);
    assert!(Handshake::new(Arc::new(proxy(Socks5)), &long, 21).is_err());
    assert!(Handshake::new(Arc::new(proxy(Socks5)), &long[1..], 21).is_ok());
}

/// Any bytes end in a connection, a refusal, or a wait for more, and take no more memory than a header.
#[test]
fn any_bytes_are_borne() {
    let samples: [&[u8]; 3] = [
        b"\x05\x02\x01\0\x05\0\0\x03\x09localhost\x04\x38220 hello",
        b"\x05\0\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x04\x38x",
        b"HTTP/1.1 100 c\r\n\r\nHTTP/1.1 200 ok\r\nA: b\r\n\r\n220 hello",
    ];
    let mut outcomes = [0_u32; 3];
    for sample in samples {
        for at in 0..sample.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = sample.to_vec();
                bytes[at] = byte;
                for protocol in [Socks5, Http] {
                    let mut one = handshake(protocol, Some(("u", "p")), "h");
                    outcomes[match feed(&mut one, &bytes, 5) {
                        Ok((true, ..)) => 0,
                        Ok((false, ..)) => 1,
                        Err(_) => 2,
                    }] += 1;
                }
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
}
