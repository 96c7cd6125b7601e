//! Hundreds of transfers in a row, and several at once: each data connection resumes the session of its control
//! connection, for as long as the mount lives.

use std::fs;
use std::thread;

use crate::support::mounted::Mounted;
use crate::support::server::{Brand, Server};

const FILES: usize = 300;
const AT_ONCE: usize = 8;

fn content(n: usize) -> Vec<u8> {
    (0..n * 37 % 5000)
        .map(|at| (at * 7 + n).to_le_bytes()[0])
        .collect()
}

fn hundreds(brand: Brand) {
    let server = Server::start_with(brand, &[("FTPFS_TLS", "explicit")]);
    let mount = Mounted::new(&server.url, &["cache_timeout=0"]);
    for n in 0..FILES {
        fs::write(mount.at(format!("file{n}")), content(n)).unwrap();
    }
    for n in 0..FILES {
        assert_eq!(
            fs::read(server.at(format!("file{n}"))).unwrap(),
            content(n),
            "{n}"
        );
    }
    // What another client has written is read, and nothing from memory.
    for n in 0..FILES {
        fs::write(server.at(format!("file{n}")), content(n + 1)).unwrap();
    }
    drop(mount);
    let mount = Mounted::new(&server.url, &[]);
    for n in 0..FILES {
        assert_eq!(
            fs::read(mount.at(format!("file{n}"))).unwrap(),
            content(n + 1),
            "{n}"
        );
    }
    let large: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    thread::scope(|scope| {
        for n in 0..AT_ONCE {
            let (mount, large, server) = (&mount, &large, &server);
            scope.spawn(move || {
                let path = mount.at(format!("large{n}"));
                fs::write(&path, large).unwrap();
                assert!(fs::read(server.at(format!("large{n}"))).unwrap() == *large);
                assert!(fs::read(path).unwrap() == *large);
            });
        }
    });
    assert_eq!(mount.unmount(), Some(0));
}

#[test]
fn on_vsftpd() {
    hundreds(Brand::Vsftpd);
}

#[test]
fn on_proftpd() {
    hundreds(Brand::Proftpd);
}

#[test]
fn on_pure_ftpd() {
    hundreds(Brand::PureFtpd);
}

#[test]
fn on_pyftpdlib() {
    hundreds(Brand::Pyftpdlib);
}
