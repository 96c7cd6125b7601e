//! Which certificates are believed, and the words about the others.

use std::fs;

use crate::authority::{Authority, Issued, expired, fingerprint, not_yet_valid};
use crate::support::mounted::{Mounted, Refused};
use crate::support::server::{Brand, Server, certificate};

/// No sufficient reason to believe anybody: the roots of the machine.
const ROOTS: &str = "no_verify_peer=no";

const TLS_STATUS: Option<i32> = Some(4);

fn server_with(issued: &Issued) -> Server {
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    Server::start_with(
        Brand::Vsftpd,
        &[
            ("FTPFS_TLS", "explicit"),
            ("FTPFS_CERTIFICATE", &path(&issued.certificate)),
            ("FTPFS_KEY", &path(&issued.key)),
        ],
    )
}

fn encrypting(brand: Brand, how: &str) -> Server {
    Server::start_with(brand, &[("FTPFS_TLS", how)])
}

#[track_caller]
fn refused(server: &Server, options: &[&str]) -> Refused {
    let refused = Mounted::try_new(&server.url, options)
        .map(drop)
        .expect_err("it is not to be mounted");
    assert_eq!(refused.code, TLS_STATUS, "{}", refused.log);
    refused
}

#[track_caller]
fn works(server: &Server, options: &[&str]) {
    fs::write(server.at("file"), "content").unwrap();
    let mount = Mounted::new(&server.url, options);
    assert_eq!(fs::read(mount.at("file")).unwrap(), b"content");
    fs::write(mount.at("new"), "new content").unwrap();
    assert_eq!(fs::read(server.at("new")).unwrap(), b"new content");
    assert_eq!(mount.unmount(), Some(0));
}

#[test]
fn who_is_issued_by_the_authority_is_believed() {
    let authority = Authority::new();
    let issued = authority.issue("good", &["localhost", "127.0.0.1"], |_| {});
    let server = server_with(&issued);
    works(&server, &[&authority.option()]);
    // By its name as well as by its address.
    let url = server.url.replace("127.0.0.1", "localhost");
    let mount = Mounted::new(&url, &[&authority.option()]);
    assert_eq!(mount.unmount(), Some(0));
}

#[test]
fn an_unknown_issuer_is_refused_with_the_way_on() {
    let authority = Authority::new();
    let issued = authority.issue("stranger", &["127.0.0.1"], |_| {});
    let server = server_with(&issued);
    for roots in [ROOTS, &Authority::new().option()] {
        let said = refused(&server, &[roots]).log;
        for part in ["not trusted", "has issued it", "CN=stranger", "tls=off"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let print = fingerprint(&issued.certificate);
        assert!(said.contains(&print), "{print}: {said}");
        let option = format!("cert_sha256={}", print.replace(':', ""));
        assert!(said.contains(&option), "{option}: {said}");
        // Does what it says.
        works(&server, &[&option]);
        works(&server, &[&format!("cert_sha256={print}")]);
    }
}

#[test]
fn another_certificate_than_the_pinned_one_is_refused() {
    let server = encrypting(Brand::Vsftpd, "explicit");
    let pin = format!("cert_sha256={}", "ab".repeat(32));
    let said = refused(&server, &[&pin]).log;
    assert!(
        said.contains("another one than cert_sha256 tells"),
        "{said}"
    );
    assert!(said.contains(&fingerprint(&certificate())), "{said}");
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let issued = authority.issue("elsewhere", &["ftp.example.com", "192.0.2.7"], |_| {});
    let server = server_with(&issued);
    let said = refused(&server, &[&authority.option()]).log;
    assert!(
        said.contains("it is for ftp.example.com, 192.0.2.7, not for 127.0.0.1"),
        "{said}"
    );
}

#[test]
fn certificates_out_of_their_time_are_refused() {
    let authority = Authority::new();
    type Change = fn(&mut rcgen::CertificateParams);
    let cases: [(&str, Change, &str); 2] = [
        ("expired", expired, "it has expired"),
        ("early", not_yet_valid, "it is not valid yet"),
    ];
    for (name, change, reason) in cases {
        let issued = authority.issue(name, &["127.0.0.1"], change);
        let said = refused(&server_with(&issued), &[&authority.option()]).log;
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_self_signed_certificate_is_believed_if_it_is_named() {
    let server = encrypting(Brand::Vsftpd, "explicit");
    let said = refused(&server, &[ROOTS]).log;
    assert!(said.contains("self-signed"), "{said}");
    works(&server, &[&format!("cacert={}", certificate().display())]);
}

#[test]
fn no_verify_peer_believes_anybody_and_says_so() {
    let server = encrypting(Brand::Vsftpd, "explicit");
    let mount = Mounted::new(&server.url, &["no_verify_peer"]);
    assert!(
        mount.log().contains("no_verify_peer: whoever answers"),
        "{}",
        mount.log()
    );
    assert_eq!(mount.unmount(), Some(0));
}

#[test]
fn a_server_without_encryption_is_refused_where_it_is_required() {
    for brand in [Brand::Vsftpd, Brand::Embedded] {
        let server = Server::start(brand);
        let said = refused(&server, &["tls=require"]).log;
        assert!(said.contains("refuses encryption"), "{said}");
        let encrypted = server.url.replace("ftp://", "ftpes://");
        let refused = Mounted::try_new(&encrypted, &[]).map(drop).unwrap_err();
        assert_eq!(refused.code, TLS_STATUS, "{}", refused.log);
        // It is left alone where it is not.
        works(&server, &[]);
    }
}

#[test]
fn what_is_offered_is_used_and_never_given_up() {
    let server = encrypting(Brand::Vsftpd, "explicit");
    let url = server.url.replace("ftpes://", "ftp://");
    // Not trusted, and still no login in clear.
    let refused = Mounted::try_new(&url, &[ROOTS]).map(drop).unwrap_err();
    assert_eq!(refused.code, TLS_STATUS, "{}", refused.log);
    let trusted = format!("cacert={}", certificate().display());
    let mount = Mounted::new(&url, &[&trusted, "debug"]);
    assert!(mount.log().contains("TLS 1."), "{}", mount.log());
    assert_eq!(mount.unmount(), Some(0));
    let refused = Mounted::try_new(&url, &["tls=off"]).map(drop).unwrap_err();
    assert_ne!(refused.code, Some(0), "{}", refused.log);
}

#[test]
fn tls_from_the_first_byte_on() {
    for brand in [Brand::Vsftpd, Brand::Proftpd] {
        let server = encrypting(brand, "implicit");
        assert!(server.url.starts_with("ftps://"), "{}", server.url);
        works(&server, &[]);
    }
}

#[test]
fn a_certificate_of_the_client() {
    let authority = Authority::new();
    let client = authority.issue("client", &["a client"], |_| {});
    let ca = authority.path("ca.pem");
    let demands = format!("TLSVerifyClient on\nTLSCACertificateFile {}", ca.display());
    let server = Server::start_with(
        Brand::Proftpd,
        &[("FTPFS_TLS", "explicit"), ("FTPFS_SERVER_ARGS", &demands)],
    );
    let cert = format!("cert={}", client.certificate.display());
    let key = format!("key={}", client.key.display());
    works(&server, &[&cert, &key]);
    let refused = Mounted::try_new(&server.url, &[]).map(drop).unwrap_err();
    assert_ne!(refused.code, Some(0), "{}", refused.log);
}
