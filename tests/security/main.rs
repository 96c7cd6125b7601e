//! The rules that keep a hostile server, a hostile name and a curious reader of logs from doing harm,
//! one test for each. Data connections can be taken over by others in plain FTP (RFC 2577): only TLS
//! proves who is there, so there is no test of that here.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod names;
mod replies;
mod secrets;

#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use ftpfs::ftp::{FtpError, LoginConfig, RemotePath, Secret, Session};
use ftpfs::net::AddressFamily;

use support::scripted::{Conversation, Script, Scripted, read_all, script};

/// More connections than any of these tests makes.
const CONNECTIONS: usize = 32;

fn config(server: &Scripted) -> LoginConfig {
    LoginConfig {
        host: "127.0.0.1".into(),
        route: ftpfs::net::Route::default(),
        obeys_pasv: false,
        port: server.port(),
        user: b"me".to_vec(),
        password: Secret::new("password"),
        family: AddressFamily::Any,
        security: ftpfs::ftp::Security::Off,
        utf8: true,
        account: None,
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        active: None,
    }
}

fn open(server: &Scripted) -> Result<Session, FtpError> {
    Session::open(&config(server), &Arc::default())
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}

/// Every connection to the server goes like this.
fn always(steps: impl Fn(&mut Conversation) + Clone + Send + 'static) -> Vec<Script> {
    let one = || script(steps.clone());
    std::iter::repeat_with(one).take(CONNECTIONS).collect()
}

/// Goes on after the greeting as a server does whose every folder lists this, and whose every file
/// holds `content`. What is
/// stored finds no room at its end.
fn serve(c: &mut Conversation, listing: &[u8]) {
    while let Some(line) = c.command() {
        match line.split(' ').next().unwrap_or_default() {
            "MLSD" | "LIST" => {
                c.send_data(listing);
                c.send("226 done");
            }
            "RETR" => {
                c.send_data(b"content");
                c.send("226 done");
            }
            "STOR" => {
                c.send("150 go on");
                assert!(read_all(&mut c.data()).is_ok());
                c.send("552 no room");
            }
            "SIZE" => c.send("213 7"),
            "MDTM" => c.send("213 20200101000000"),
            "RNFR" | "REST" => c.send("350 go on"),
            "QUIT" => c.send("221 bye"),
            _ => c.send("250 ok"),
        }
    }
}

/// The lines that the server has got, without the numbers of their connections.
fn commands(server: &Scripted) -> Vec<String> {
    let lines = server.lines().into_iter();
    lines
        .map(|line| line.split_once(' ').map_or("", |(_, rest)| rest).to_owned())
        .collect()
}
