//! The test servers themselves: each can be had, serves its folder, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::poll;
use support::server::{Brand, Server, servers_for_smoke};

/// What curl gets from, or says about, an address.
fn curl(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20"])
        .args(arguments)
        .output()
        .expect("curl can be run");
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn is_running(pid: u32) -> bool {
    // A process that ended and was not reaped yet has no executable any more.
    fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

fn serves_and_stores(server: &Server) {
    fs::write(server.at("from-the-server"), "first").unwrap();
    server.hand_over();
    assert_eq!(
        curl(&[&server.url_of("from-the-server")]).unwrap(),
        b"first"
    );
    let local = server.brand.name().to_owned();
    curl(&["-T", file!(), &server.url_of("from-the-client")]).expect(&local);
    assert_eq!(
        fs::read(server.at("from-the-client")).unwrap(),
        fs::read(file!()).unwrap(),
        "{local}"
    );
}

#[test]
fn every_brand_serves_its_folder() {
    for brand in servers_for_smoke() {
        serves_and_stores(&Server::start(brand));
    }
}

#[test]
fn a_wrong_password_is_refused() {
    for brand in servers_for_smoke() {
        let server = Server::start(brand);
        let wrong = server.url.replace(server.password(), "wrong");
        let said = curl(&[&wrong]).expect_err(brand.name());
        assert!(said.contains("530"), "{brand}: {said}");
    }
}

#[test]
fn several_run_side_by_side_and_stop_alone() {
    for brand in servers_for_smoke() {
        let (kept, stopped) = (Server::start(brand), Server::start(brand));
        assert_ne!(kept.port(), stopped.port());
        let (pid, state) = (stopped.pid, stopped.state.clone());
        assert!(is_running(pid), "{brand}");
        drop(stopped);
        poll::until(Duration::from_secs(5), "the end of a server", || {
            !is_running(pid)
        });
        assert!(!state.exists(), "{brand} leaves {}", state.display());
        serves_and_stores(&kept);
    }
}

#[test]
fn a_server_ends_with_the_process_that_wanted_it() {
    let mut caller = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = caller.id().to_string();
    let server = Server::start_with(Brand::Vsftpd, &[("FTPFS_STOP_WITH", &pid)]);
    caller.kill().unwrap();
    caller.wait().unwrap();
    poll::until(Duration::from_secs(20), "the end of an orphan", || {
        !is_running(server.pid) && !Path::new(&server.state).exists()
    });
    // Nothing is left to stop.
    std::mem::forget(server);
}

#[test]
fn limits_and_rights_are_those_asked_for() {
    let full = Server::start_with(Brand::Vsftpd, &[("FTPFS_MAX_CLIENTS", "1")]);
    let held = std::net::TcpStream::connect(("127.0.0.1", full.port())).unwrap();
    poll::until(Duration::from_secs(10), "a server that is full", || {
        curl(&[&full.url]).is_err()
    });
    drop(held);

    let fixed = Server::start_with(Brand::Proftpd, &[("FTPFS_READ_ONLY", "1")]);
    fs::write(fixed.at("there"), "content").unwrap();
    curl(&["-T", file!(), &fixed.url_of("new")]).expect_err("a read-only user");
    assert_eq!(curl(&[&fixed.url_of("there")]).unwrap(), b"content");

    let appended = |settings: &[(&str, &str)]| {
        let server = Server::start_with(Brand::Proftpd, settings);
        fs::write(server.at("log"), "old ").unwrap();
        server.hand_over();
        curl(&["--append", "-T", "Cargo.toml", &server.url_of("log")]).is_ok()
    };
    assert!(!appended(&[]), "Debian's ProFTPD refuses APPE");
    assert!(appended(&[("FTPFS_APPEND", "1")]));
}
