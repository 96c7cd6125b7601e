//! The same on real servers.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use crate::support::mounted::Mounted;
use crate::support::server::{Brand, Server, servers_under_test};

#[test]
fn latin1_names_on_the_disk_of_a_server() {
    for brand in servers_under_test() {
        if !brand.has_byte_names() {
            continue;
        }
        let server = Server::start(brand);
        let raw = |name: &[u8]| server.at(OsStr::from_bytes(name));
        fs::create_dir(raw(b"gr\xfcn")).unwrap();
        fs::write(raw(b"gr\xfcn/caf\xe9"), "coffee").unwrap();
        symlink(OsStr::from_bytes(b"gr\xfcn/caf\xe9"), raw(b"l\xefnk")).unwrap();
        server.hand_over();
        let mount = Mounted::new(&server.url, &["codepage=cp1252"]);
        assert_eq!(fs::read(mount.at("grün/café")).unwrap(), b"coffee");
        assert_eq!(
            fs::read_link(mount.at("lïnk")).unwrap(),
            OsStr::new("grün/café"),
            "{brand}"
        );
        assert_eq!(fs::read(mount.at("lïnk")).unwrap(), b"coffee", "{brand}");
        fs::create_dir(mount.at("grün/neu für dich")).unwrap();
        fs::write(mount.at("grün/neu für dich/ö"), "o").unwrap();
        fs::rename(mount.at("grün/café"), mount.at("grün/thé")).unwrap();
        assert_eq!(fs::read(raw(b"gr\xfcn/th\xe9")).unwrap(), b"coffee");
        let made = raw(b"gr\xfcn/neu f\xfcr dich");
        assert_eq!(
            fs::read(made.join(OsStr::from_bytes(b"\xf6"))).unwrap(),
            b"o"
        );
        fs::remove_dir_all(mount.at("grün/neu für dich")).unwrap();
        assert!(!made.exists(), "{brand}");
        assert_eq!(mount.unmount(), Some(0));

        let below = Mounted::new(&server.url_of("grün"), &["codepage=cp1252"]);
        assert_eq!(fs::read(below.at("thé")).unwrap(), b"coffee", "{brand}");
        assert_eq!(below.unmount(), Some(0));
    }
}

/// EPSV and EPRT have no address of four numbers in them.
#[test]
fn over_ipv6_in_passive_and_active_mode() {
    let server = Server::start_with(Brand::Proftpd, &[("FTPFS_LISTEN", "::1")]);
    assert!(server.url.contains("@[::1]:"), "{}", server.url);
    for options in [&[][..], &["active"], &["ipv6", "active", "ftp_port=::1"]] {
        let mount = Mounted::new(&server.url, options);
        for n in 0..10 {
            let (name, content) = (format!("file{n}"), format!("{options:?} {n}"));
            fs::write(mount.at(&name), &content).unwrap();
            let stored = fs::read(server.at(&name)).unwrap();
            assert_eq!(stored, content.as_bytes(), "{options:?}");
        }
        assert_eq!(mount.unmount(), Some(0), "{options:?}");
        let fresh = Mounted::new(&server.url, options);
        for n in 0..10 {
            let read = fs::read(fresh.at(format!("file{n}"))).unwrap();
            assert_eq!(read, format!("{options:?} {n}").as_bytes());
        }
        assert_eq!(fresh.unmount(), Some(0), "{options:?}");
    }
    let other = Mounted::try_new(&server.url, &["ipv4"]).map(drop);
    assert!(other.is_err(), "its address is none of IPv4");
}
