//! The floors `remote` and `pool`: against real servers, and against scripted ones that fail on cue.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]
#![allow(clippy::print_stdout, reason = "shown when a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod checked;
mod directories;
mod on_servers;
mod pool;
mod retry;
mod transfers;
mod walk;
mod zone;

use std::sync::Arc;
use std::time::Duration;

use ftpfs::ftp::{LoginConfig, RemotePath, Secret};
use ftpfs::net::AddressFamily;
use ftpfs::pool::PoolConfig;
use ftpfs::remote::Remote;

use support::scripted::Scripted;

/// For conversations with a scripted server.
fn login(server: &Scripted) -> LoginConfig {
    LoginConfig {
        host: "127.0.0.1".into(),
        route: ftpfs::net::Route::default(),
        obeys_pasv: false,
        port: server.port(),
        user: b"me".to_vec(),
        password: Secret::new("secret"),
        family: AddressFamily::Any,
        security: ftpfs::ftp::Security::Off,
        utf8: true,
        account: None,
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        active: None,
    }
}

fn pool_of(max_connections: usize) -> PoolConfig {
    PoolConfig {
        max_connections,
        idle: Duration::from_secs(60),
        last_idle: Duration::from_secs(300),
        patience: Duration::from_secs(5),
        hard: false,
        ahead: false,
    }
}

fn remote(server: &Scripted, max_connections: usize) -> Arc<Remote> {
    drop(env_logger::builder().is_test(true).try_init());
    Remote::delayed(login(server), pool_of(max_connections))
}

fn path(text: &str) -> RemotePath {
    RemotePath::parse(text.as_bytes()).unwrap()
}
