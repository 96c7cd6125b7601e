//! Mounts through SOCKS5 and HTTP proxies: all connections go there, and what a proxy may do wrong has an end.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::TcpListener;

use support::mounted::{Mounted, Refused};
use support::proxies::{Answer, HIDDEN, ProxyServer, Speaks};
use support::server::{Brand, Server};

const BOTH: [Speaks; 2] = [Speaks::Socks5, Speaks::Http];
const FILES: usize = 50;
const SECRET: &str = "pr0xy-s3cret";

fn content(n: usize) -> Vec<u8> {
    format!("{n} ").repeat(n * 40 % 3000 + 1).into_bytes()
}

/// Reads, writes and lists, large and small.
fn use_it(mount: &Mounted, server: &Server) {
    let large: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(mount.at("large"), &large).unwrap();
    assert!(fs::read(server.at("large")).unwrap() == large);
    fs::create_dir(mount.at("folder")).unwrap();
    for n in 0..FILES {
        fs::write(mount.at(format!("folder/{n}")), content(n)).unwrap();
    }
    for n in 0..FILES {
        let there = fs::read(server.at(format!("folder/{n}"))).unwrap();
        assert!(there == content(n), "{n}");
    }
    assert_eq!(fs::read_dir(mount.at("folder")).unwrap().count(), FILES);
}

fn read_it(mount: &Mounted) {
    assert_eq!(fs::read_dir(mount.at("folder")).unwrap().count(), FILES);
    for n in 0..FILES {
        let here = fs::read(mount.at(format!("folder/{n}"))).unwrap();
        assert!(here == content(n), "{n}");
    }
    let large: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    assert!(fs::read(mount.at("large")).unwrap() == large);
}

/// Control connections, and others, that the proxy was asked for; all for this host.
fn counted(proxy: &ProxyServer, host: &str, server: &Server) -> (usize, usize) {
    let asked = proxy.asked();
    assert!(
        asked.iter().all(|request| request.host == host),
        "{asked:?}"
    );
    let is_control = |port: u16| port == server.port();
    let control = asked.iter().filter(|r| is_control(r.port)).count();
    (control, asked.len() - control)
}

#[test]
fn everything_goes_through_it() {
    for speaks in BOTH {
        let server = Server::start(Brand::Vsftpd);
        let proxy = ProxyServer::start(speaks);
        // Nobody else knows the way.
        let url = server.url.replace("127.0.0.1", HIDDEN);
        let mount = Mounted::new(&url, &[&proxy.option()]);
        use_it(&mount, &server);
        assert_eq!(mount.unmount(), Some(0));
        let (control, data) = counted(&proxy, HIDDEN, &server);
        assert!(control > 0 && data > FILES, "{speaks:?}: {control} {data}");
        let mount = Mounted::new(&url, &[&proxy.option(), "verbose"]);
        read_it(&mount);
        assert_eq!(mount.unmount(), Some(0));
        let (_, all) = counted(&proxy, HIDDEN, &server);
        assert!(all > data + FILES, "{speaks:?}: {all}");
        let direct = Mounted::try_new(&url, &["connect_timeout=5"]);
        assert_eq!(direct.unwrap_err().code, Some(5));
    }
}

#[test]
fn encrypted_to_the_server() {
    for speaks in BOTH {
        let server = Server::start_with(Brand::Vsftpd, &[("FTPFS_TLS", "explicit")]);
        let proxy = ProxyServer::start(speaks);
        let options = ["tls=require", &proxy.option()];
        let mount = Mounted::new(&server.url, &options);
        use_it(&mount, &server);
        assert_eq!(mount.unmount(), Some(0));
        let mount = Mounted::new(&server.url, &options);
        read_it(&mount);
        assert_eq!(mount.unmount(), Some(0));
        let (control, data) = counted(&proxy, "127.0.0.1", &server);
        assert!(control > 1 && data > FILES, "{speaks:?}: {control} {data}");
    }
}

#[test]
fn the_password_opens_it_and_is_not_shown() {
    let right = [
        (Speaks::Socks5, format!("me:{SECRET}"), Answer::WrongLogin),
        (
            Speaks::Http,
            // Base64 of the same.
            "bWU6cHIweHktczNjcmV0".to_owned(),
            Answer::Says(b"HTTP/1.1 407 s3cret-but-wrong bWU6czNjcmV0LWJ1dC13cm9uZw==\r\n\r\n"),
        ),
    ];
    let server = Server::start(Brand::Vsftpd);
    for (speaks, expected, refusal) in right {
        let proxy = ProxyServer::that(speaks, move |request| match &request.login {
            Some(login) if *login == expected => Answer::Relay,
            _ => refusal.clone(),
        });
        let option = proxy.option_for(&format!("me:{SECRET}@"));
        let mount = Mounted::run(&server.url, &[&option], |command| {
            command.arg("-d").env("RUST_LOG", "trace");
        });
        let mount = mount.unwrap();
        fs::write(mount.at("file"), "x").unwrap();
        let cmdline = fs::read_to_string(format!("/proc/{}/cmdline", mount.pid())).unwrap();
        assert!(cmdline.contains("me:***"), "{cmdline}");
        let list = fs::read_to_string("/proc/self/mountinfo").unwrap();
        for text in [cmdline, list, mount.log()] {
            let shown = text.contains("s3cret") || text.contains("bWU6cHIw");
            assert!(!shown, "{text}");
        }
        assert_eq!(mount.unmount(), Some(0));
        let wrong = proxy.option_for("me:s3cret-but-wrong@");
        let Refused { code, log } = Mounted::try_new(&server.url, &[&wrong]).unwrap_err();
        assert_eq!(code, Some(5), "{log}");
        let told = "refuses the user or the password in proxy=";
        let shown = log.contains("s3cret") || log.contains("bWU6");
        assert!(log.contains(told) && !shown, "{log}");
    }
}

/// What the program says of a proxy like this, when it has ended.
fn refused(speaks: Speaks, answer: Answer) -> String {
    let proxy = ProxyServer::that(speaks, move |_| answer.clone());
    let options = [&proxy.option()[..], "connect_timeout=1", "timeout=1"];
    let url = format!("ftp://u:p@{HIDDEN}:2121/");
    let Refused { code, log } = Mounted::try_new(&url, &options).unwrap_err();
    assert_eq!(code, Some(5), "{log}");
    assert!(log.contains("the proxy 127.0.0.1:"), "{log}");
    log
}

#[test]
fn who_refused_is_told() {
    let cases: [(Speaks, &[u8], &str); 6] = [
        (
            Speaks::Socks5,
            b"\x05\x02\0\x01\0\0\0\0\0\0",
            "refuses a connection to behind-the-proxy.invalid:2121: not allowed by its rules",
        ),
        (
            Speaks::Socks5,
            b"\x05\x05",
            "cannot reach behind-the-proxy.invalid:2121: connection refused",
        ),
        (Speaks::Socks5, b"what?", "does not answer as SOCKS5 does"),
        (
            Speaks::Http,
            b"HTTP/1.1 403 Forbidden\r\n\r\n<html>",
            "refuses a connection to behind-the-proxy.invalid:2121: 403 Forbidden",
        ),
        (
            Speaks::Http,
            b"220 ready\r\n",
            "does not answer as HTTP does",
        ),
        (
            Speaks::Http,
            b"",
            "has ended the connection without an answer",
        ),
    ];
    for (speaks, bytes, words) in cases {
        let log = refused(speaks, Answer::Says(bytes));
        assert!(log.contains(words), "{log}");
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let option = format!("proxy=http://{}", gone.local_addr().unwrap());
    drop(gone);
    let Refused { code, log } = Mounted::try_new("ftp://h/", &[&option]).unwrap_err();
    assert_eq!(code, Some(5), "{log}");
    assert!(log.contains("the proxy 127.0.0.1:"), "{log}");
}

#[test]
fn what_never_ends_is_ended() {
    for speaks in BOTH {
        let log = refused(speaks, Answer::Silence);
        assert!(log.contains("timed out"), "{log}");
    }
    let log = refused(Speaks::Socks5, Answer::Endless(b"x"));
    assert!(log.contains("does not answer as SOCKS5 does"), "{log}");
    for bytes in [&b"HTTP/1.1 200 ok"[..], b"HTTP/1.1 100 x\r\n\r\n"] {
        let log = refused(Speaks::Http, Answer::Endless(bytes));
        assert!(log.contains("header without an end"), "{log}");
    }
}

#[test]
fn a_proxy_that_makes_no_data_connections_holds_nobody_up() {
    for speaks in BOTH {
        let server = Server::start(Brand::Vsftpd);
        fs::write(server.at("file"), "x").unwrap();
        let port = server.port();
        let proxy = ProxyServer::that(speaks, move |request| match request.port {
            asked if asked == port => Answer::Relay,
            _ => Answer::Silence,
        });
        let options = [&proxy.option()[..], "connect_timeout=1", "timeout=1"];
        let mount = Mounted::new(&server.url, &options);
        let error = fs::read_dir(mount.path())
            .and_then(|list| list.collect::<Result<Vec<_>, _>>())
            .unwrap_err();
        let expected = [libc::EIO, libc::ETIMEDOUT].map(Some);
        assert!(expected.contains(&error.raw_os_error()), "{error}");
        assert_eq!(mount.unmount(), Some(0));
    }
}
