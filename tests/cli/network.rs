//! Servers that are not there, do not answer, or say no.

use std::net::{Ipv4Addr, TcpListener};

use crate::ftp_server::FtpServer;
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

#[test]
fn not_an_ftp_server() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let source = format!("ftp://{}/", other.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::Write;
        for stream in other.incoming() {
            drop(stream.unwrap().write_all(b"SSH-2.0-OpenSSH_9.6\r\n"));
        }
    });
    Ftpfs::new()
        .args(["-o", "timeout=2s"])
        .mount(source)
        .fails(5, &["127.0.0.1"]);
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
    for (path, shown) in [
        ("nowhere", "/home/u/nowhere"),
        ("/nowhere", "/nowhere"),
        ("%2Fnowhere", "/nowhere"),
    ] {
        Ftpfs::new()
            .mount(format!("ftp://u:p@{}/{path}", server.address()))
            .fails(6, &[shown, "there is no such folder", &server.address()]);
    }
}
