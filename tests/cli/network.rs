//! Servers that are not there, do not answer, or say no.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::ftp_server::FtpServer;
use crate::poll;
use crate::run::Ftpfs;

#[test]
fn nobody_listens() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for flags in [&[][..], &["-f"]] {
        let address = format!("127.0.0.1:{port}");
        Ftpfs::new()
            .args(flags)
            .mount(format!("ftp://{address}/"))
            .fails(5, &[&address, "refused"]);
    }
}

#[test]
fn the_name_cannot_be_resolved() {
    // RFC 6761: no resolver may have an answer for this.
    Ftpfs::new()
        .mount("ftp://no-such-host.invalid/")
        .fails(5, &["no-such-host.invalid"]);
}

#[test]
fn a_server_that_never_answers() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let source = format!("ftp://{}/", silent.local_addr().unwrap());
    Ftpfs::new()
        .args(["-o", "connect_timeout=300ms,timeout=300ms"])
        .mount(source)
        .fails(5, &["does not answer", "timed out"]);
}

fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut stream = None;
    poll::until(Duration::from_secs(30), "a connection", || {
        stream = stream.take().or_else(|| listener.accept().ok());
        stream.is_some()
    });
    let (stream, _) = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn a_signal_ends_the_wait_for_the_server() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let source = format!("ftp://{}/", silent.local_addr().unwrap());
    for flags in [&[][..], &["-f"]] {
        let running = Ftpfs::new()
            .args(["-o", "connect_timeout=600,timeout=600"])
            .args(flags)
            .mount(&source)
            .start();
        // Once it has connected, the signals are held.
        let mut line = accepted(&silent);
        let group = format!("-{}", running.pid());
        drop(Command::new("kill").args(["-TERM", "--", &group]).status());
        let done = running.end();
        match flags {
            [] => assert_eq!(done.code, None, "{done:?}"),
            _ => assert_eq!(done.code, Some(130), "{done:?}"),
        }
        line.set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        assert_eq!(
            line.read(&mut [0]).unwrap(),
            0,
            "no process holds the connection"
        );
    }
}

/// A server that says this, and nothing else.
fn who_says(line: &'static [u8]) -> String {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let source = format!("ftp://{}/", other.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in other.incoming() {
            drop(stream.unwrap().write_all(line));
        }
    });
    source
}

#[test]
fn not_an_ftp_server() {
    Ftpfs::new()
        .args(["-o", "timeout=2s"])
        .mount(who_says(b"SSH-2.0-OpenSSH_9.6\r\n"))
        .fails(5, &["127.0.0.1"]);
}

#[test]
fn a_server_that_is_full() {
    let source = who_says(b"421 Too many connections.\r\n");
    Ftpfs::new()
        .args(["-o", "timeout=2s,connect_timeout=2s"])
        .mount(source)
        .fails(
            5,
            &[
                "has no place for another connection",
                "421 Too many connections.",
            ],
        );
}

#[test]
fn a_wrong_password() {
    let server = FtpServer::start("u", "right");
    for flags in [&[][..], &["-f"]] {
        let done = Ftpfs::new()
            .args(flags)
            .mount(format!("ftp://u:wr0ngpw@{}/", server.address()))
            .fails(
                3,
                &[
                    "login as 'u' on",
                    &server.address(),
                    "530 Login incorrect",
                    "check user and password",
                ],
            );
        assert!(!done.stderr.contains("wr0ngpw"), "{done:?}");
    }
    // Whoever tries again by himself locks accounts.
    assert_eq!(server.told("PASS").len(), 2);
}

#[test]
fn a_folder_that_is_not_there() {
    let server = FtpServer::start("u", "p");
    for (path, shown, why) in [
        ("nowhere", "/home/u/nowhere", "there is no such folder on"),
        ("/nowhere", "/nowhere", "there is no such folder on"),
        ("%2Fnowhere", "/nowhere", "there is no such folder on"),
        ("/secret", "/secret", "cannot enter this folder on"),
    ] {
        Ftpfs::new()
            .mount(format!("ftp://u:p@{}/{path}", server.address()))
            .fails(6, &[shown, why, &server.address()]);
    }
}
