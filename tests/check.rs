//! `ftpfs --check` on each of the real servers: what it prints is what they are, and nothing is changed.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::process::Command;

use support::server::{Brand, Server, servers_for_smoke, trusting};

struct Said {
    code: Option<i32>,
    text: String,
    errors: String,
}

fn check(url: &str, options: &[&str]) -> Said {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ftpfs"))
        .arg("--check")
        .args(trusting(url))
        .args(options.iter().flat_map(|option| ["-o", option]))
        .arg(url)
        .env("HOME", home.path())
        .env_remove("FTPFS_PASSWORD")
        .output()
        .unwrap();
    Said {
        code: output.status.code(),
        text: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    #[track_caller]
    fn value(&self, name: &str) -> &str {
        let line = |line: &'_ str| line.strip_prefix(name).map(str::len).is_some();
        let found = self.text.lines().find(|text| line(text));
        let found = found.unwrap_or_else(|| panic!("no {name}: {}{}", self.text, self.errors));
        found[name.len()..].trim()
    }
}

#[test]
fn each_server_is_what_it_is() {
    for brand in servers_for_smoke() {
        let server = Server::start(brand);
        fs::write(server.at("file"), "content").unwrap();
        fs::create_dir(server.at("folder")).unwrap();
        let said = check(&server.url, &[]);
        assert_eq!(said.code, Some(0), "{}", said.errors);
        let listing = match brand {
            Brand::Vsftpd | Brand::Inetutils => "LIST -a, times made exact by MDTM",
            _ => "MLSD, times to the second",
        };
        assert_eq!(said.value("listing"), listing, "{brand}");
        let commands = match brand {
            Brand::Embedded => "one by one",
            _ => "several at once",
        };
        assert!(said.value("commands").starts_with(commands), "{brand}");
        let (greeting, encryption) = (said.value("server"), said.value("encryption"));
        assert!(greeting.starts_with("220"), "{brand}: {greeting}");
        assert!(encryption.starts_with("none"), "{brand}: {encryption}");
        assert_eq!(said.value("SIZE, MDTM"), "yes, yes", "{brand}");
        assert_eq!(said.value("data"), "passive, EPSV", "{brand}");
        if brand != Brand::Embedded {
            let active = check(&server.url, &["active"]);
            assert_eq!(active.value("data"), "active, EPRT", "{brand}");
        }
        assert!(said.value("folder").ends_with(", 2 entries"), "{brand}");
        let connections = "6 at a time: as many as max_conns allows";
        assert_eq!(said.value("connections"), connections, "{brand}");
        assert!(!said.value("features").is_empty(), "{brand}");
        assert!(!said.text.contains(server.password()), "{brand}");
        assert_eq!(fs::read_dir(&server.root).unwrap().count(), 2, "{brand}");
    }
}

#[test]
fn encryption_is_shown_with_the_certificate() {
    let server = Server::start_with(Brand::Vsftpd, &[("FTPFS_TLS", "explicit")]);
    let said = check(&server.url, &[]);
    let encryption = said.value("encryption");
    assert!(
        encryption.starts_with("TLS 1.3, certificate SHA-256 "),
        "{encryption}"
    );
    // What it shows can be typed.
    let print = encryption.rsplit(' ').next().unwrap();
    let url = server.url.replace("ftpes://", "ftp://");
    let said = check(&url, &[&format!("cert_sha256={print}")]);
    assert!(
        said.value("advice").contains("tls=require"),
        "{}",
        said.text
    );
}

#[test]
fn what_the_server_allows_is_counted() {
    let server = Server::start_with(Brand::PureFtpd, &[("FTPFS_MAX_CLIENTS", "3")]);
    let said = check(&server.url, &[]);
    let connections = "3 at a time: the server refuses more";
    assert_eq!(said.value("connections"), connections, "{}", said.text);
}

#[test]
fn what_would_hinder_a_mount_hinders_it() {
    let server = Server::start(Brand::Vsftpd);
    for (url, options, code) in [
        ("ftp://me:pw@127.0.0.1:1/".to_owned(), &[][..], 5),
        (format!("{}nowhere", server.url), &[], 6),
        (server.url.clone(), &["tls=require"], 4),
        (server.url.replace(server.password(), "wrong"), &[], 3),
    ] {
        let said = check(&url, options);
        assert_eq!(said.code, Some(code), "{url}: {}", said.errors);
        assert!(said.text.is_empty(), "{}", said.text);
    }
}
