//! The floors `ftp` and `net`: conversations with a server that does what the test says.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "../support/mod.rs"]
mod support;

mod active;
mod control;
mod encrypted;
mod follow;
mod login;
mod network;
mod transfer;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use ftpfs::ftp::{Experience, FtpError, LoginConfig, RemotePath, Secret, Session};
use ftpfs::net::AddressFamily;

use support::scripted::Scripted;

const PASSWORD: &str = "s3cret-passw0rd";

fn config(server: &Scripted) -> LoginConfig {
    LoginConfig {
        host: "127.0.0.1".into(),
        route: ftpfs::net::Route::default(),
        obeys_pasv: false,
        port: server.port(),
        user: b"me".to_vec(),
        password: Secret::new(PASSWORD),
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

fn open_again(server: &Scripted, experience: &Arc<Experience>) -> Result<Session, FtpError> {
    Session::open(&config(server), experience)
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}
