//! Help, version, and command lines that cannot be meant.

use crate::run::Ftpfs;

#[test]
fn help_and_version_go_to_standard_output() {
    for (flag, parts) in [
        (
            "--help",
            &[
                "Usage: ftpfs [OPTIONS] SOURCE MOUNTPOINT",
                "--recover",
                "--cache-timeout",
                "FTPFS_PASSWORD",
                "Exit status",
            ][..],
        ),
        (
            "-h",
            &[
                "Usage: ftpfs [OPTIONS] SOURCE MOUNTPOINT",
                "--cache-timeout",
                "fusermount3 -u",
            ],
        ),
        ("--version", &["ftpfs 0."]),
        ("-V", &["ftpfs 0."]),
    ] {
        let done = Ftpfs::new().args([flag]).run();
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{flag}");
        for part in parts {
            assert!(
                done.stdout.contains(part),
                "{flag}: no {part:?} in {}",
                done.stdout
            );
        }
    }
}

#[test]
fn command_lines_that_cannot_be_meant() {
    for (args, parts) in [
        (&[][..], &["a source and a mountpoint are needed"][..]),
        (&["ftp://h/"], &["a source and a mountpoint are needed"]),
        (
            &["--check"],
            &["--check needs an address: ftpfs --check [OPTIONS] SOURCE"],
        ),
        (&["help"], &["type ftpfs --help"]),
        (&["check", "ftp://h/"], &["type ftpfs --check"]),
        (
            &["/mnt", "ftp://h/"],
            &["source and mountpoint are swapped: ftpfs [OPTIONS] SOURCE MOUNTPOINT"],
        ),
        (&["", "m"], &["the source is empty"]),
        (&["ftp://h/", ""], &["the mountpoint is empty"]),
        (
            &["--recover", "ftp://h/", "m"],
            &["--recover mounts nothing"],
        ),
        (
            &["ftp://h/", "m", "n"],
            &["more than a source and a mountpoint"],
        ),
        (
            &["--cache-timout", "3", "h", "m"],
            &[
                "unknown option --cache-timout",
                "did you mean --cache-timeout?",
            ],
        ),
        (
            &["-o", "cache_timout=3", "h", "m"],
            &["unknown option cache_timout", "did you mean cache_timeout?"],
        ),
        (
            &["-o", "qwrtzp", "h", "m"],
            &["unknown option qwrtzp (ftpfs --help"],
        ),
        (&["-X", "h", "m"], &["unknown option -X"]),
        (
            &["-o", "codepage=cp1525", "h", "m"],
            &["option codepage", "cp1525: no such codepage; perhaps cp125"],
        ),
        (
            &["-o", "tz=Europe/Berlim", "h", "m"],
            &["option tz", "perhaps Europe/Berlin"],
        ),
        (&["--tz=+25:00", "h", "m"], &["not an offset such as +0200"]),
        (
            &["--codepage=utf-16", "h", "m"],
            &["file names cannot be in this encoding"],
        ),
        (
            &["-o", "timeout=soon", "h", "m"],
            &["option timeout", "soon: not a time"],
        ),
        (
            &["-o", "timeout", "h", "m"],
            &["option timeout needs a value"],
        ),
        (
            &["--timeout=0", "h", "m"],
            &["option timeout", "every wait has an end"],
        ),
        (
            &["-o", "cache_size=lots", "h", "m"],
            &["option cache_size", "not a size"],
        ),
        (
            &["-o", "max_conns=0", "h", "m"],
            &["option max_conns", "from 1 to 64"],
        ),
        (&["-o", "umask=9", "h", "m"], &["option umask", "octal"]),
        (
            &["-o", "upload=often", "h", "m"],
            &["option upload", "not auto, atomic or inplace"],
        ),
        (
            &["-o", "strict=perhaps", "h", "m"],
            &["option strict", "not yes or no"],
        ),
        (
            &["-o", "pasv_ip=never", "h", "m"],
            &["option pasv_ip", "not ignore or use"],
        ),
        (&["-o", "interface", "h", "m"], &["option interface needs"]),
        (
            &["-o", "proxy=ftp://u:pw@h", "h", "m"],
            &["option proxy: not socks5://"],
        ),
        (
            &["-o", "proxy=http://u:p,w@h", "h", "m"],
            &["option proxy: not socks5://"],
        ),
        (&["-o", "user=\"me", "h", "m"], &["double quote"]),
        (
            &["-o", "delay_connect", "ftp://h/dir", "m"],
            &["delay_connect", "two slashes"],
        ),
    ] {
        Ftpfs::new().args(args).fails(1, parts);
    }
}

#[test]
fn where_nothing_is_kept_nothing_is_recovered() {
    for args in [&["--recover"][..], &["--recover", "ftp://127.0.0.1:1/x"]] {
        let done = Ftpfs::new().args(args).run();
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(
            done.stdout.starts_with("nothing is kept"),
            "{}",
            done.stdout
        );
    }
}

#[test]
fn a_typed_staging_folder_has_to_be_usable() {
    Ftpfs::new()
        .args(["-o", "staging_dir=/proc/nowhere"])
        .mount("ftp://127.0.0.1:1/")
        .fails(1, &["/proc/nowhere: cannot be the staging_dir"]);
}

#[test]
fn an_interface_has_to_be_there() {
    for wrong in ["no-such-device", "192.0.2.1", "0.0.0.0"] {
        Ftpfs::new()
            .args(["-o", &format!("interface={wrong}")])
            .mount("ftp://127.0.0.1:1/")
            .fails(1, &[wrong, "no interface and no address of this machine"]);
    }
    // Understood: only nobody is there.
    for right in ["lo", "127.0.0.7"] {
        Ftpfs::new()
            .args(["-o", &format!("interface={right}")])
            .mount("ftp://127.0.0.1:1/")
            .fails(5, &["127.0.0.1:1"]);
    }
    // No way from there.
    Ftpfs::new()
        .args(["-o", "interface=::1"])
        .mount("ftp://127.0.0.1:1/")
        .fails(5, &["interface=::1 is no way to an IPv4 address"]);
}

#[test]
fn addresses_that_cannot_be_meant() {
    for (source, part) in [
        ("ftp://", "names no host"),
        ("ftp://u@/x", "names no host"),
        ("http://h/", "not an ftp://, ftpes:// or ftps:// address"),
        ("ftp://h:0/", "port of h"),
        ("ftp://[::1/", "not closed"),
        ("ftp://h/a%0ADELE%20x", "line break"),
        ("h:2121", "a port or a folder?"),
        ("u:pw@h", "type ftp://USER:PASSWORD@HOST/PATH"),
        ("ftp://tester:pa/ss@h/", "is written %2F"),
        ("ftp:/tester@h/dir", "ftp:// has two slashes"),
        ("ftp:127.0.0.1", "ftp:// has two slashes"),
    ] {
        Ftpfs::new().mount(source).fails(1, &[part]);
    }
}

#[test]
fn active_mode_that_cannot_be_meant() {
    for (option, part) in [
        ("ftp_port=my.host.example.org", "nor an interface"),
        (
            "ftp_port=nowhere0",
            "no network interface is called nowhere0",
        ),
        ("port_range=50000-50100", "for active mode alone"),
        ("active,port_range=9-8", "not a range of ports"),
        ("active=perhaps", "not yes or no"),
        ("active,proxy=socks5://127.0.0.1", "goes through no proxy"),
    ] {
        Ftpfs::new()
            .args(["-o", option])
            .mount("ftp://127.0.0.1:1/")
            .fails(1, &[part]);
    }
    for option in [
        "active",
        "ftp_port=-",
        "ftp_port=,port_range=50000-50100",
        "ftp_port=lo",
    ] {
        Ftpfs::new()
            .args(["-o", option])
            .mount("ftp://127.0.0.1:1/")
            .fails(5, &["127.0.0.1:1"]);
    }
}

#[test]
fn encryption_that_cannot_be_meant() {
    for (option, source, code, part) in [
        ("tls=off", "ftps://127.0.0.1:1/", 1, "tls=off contradicts"),
        ("tls=off", "ftpes://127.0.0.1:1/", 1, "tls=off contradicts"),
        (
            "tls=maybe",
            "ftp://127.0.0.1:1/",
            1,
            "not auto, require or off",
        ),
        (
            "cert_sha256=00",
            "ftpes://127.0.0.1:1/",
            1,
            "64 hexadecimal digits",
        ),
        ("key=/dev/null", "ftpes://127.0.0.1:1/", 1, "no cert="),
        (
            "cacert=/nowhere.pem",
            "ftpes://127.0.0.1:1/",
            1,
            "/nowhere.pem: No such file",
        ),
        (
            "cacert=/dev/null",
            "ftpes://127.0.0.1:1/",
            1,
            "holds none in PEM form",
        ),
        (
            "cert=/dev/null",
            "ftpes://127.0.0.1:1/",
            1,
            "holds no certificate",
        ),
    ] {
        Ftpfs::new()
            .args(["-o", option])
            .mount(source)
            .fails(code, &[part]);
    }
    // Understood: only nobody is there.
    for source in [
        "ftps://127.0.0.1:1/",
        "FTPES://127.0.0.1:1/",
        "ftpfs#ftps://127.0.0.1:1/",
    ] {
        Ftpfs::new().mount(source).fails(5, &["127.0.0.1:1"]);
    }
}

#[test]
fn mounts_that_are_there_are_asked_and_ended_by_their_mountpoint() {
    for (line, code, part) in [
        (&["--status", "a", "b"][..], 1, "a mountpoint at most"),
        (
            &["--status", "--json", "--watch"],
            1,
            "a mountpoint at most",
        ),
        (&["--status", "--recover"], 1, "a mountpoint at most"),
        (&["--json", "h", "m"], 1, "belong to --status"),
        (&["--json"], 1, "belong to --status: ftpfs --status"),
        (&["--watch", "m"], 1, "belong to --status: ftpfs --status"),
        (&["--status", ""], 1, "the mountpoint is empty"),
        (&["--unmount"], 1, "ftpfs --unmount MOUNTPOINT"),
        (&["--unmount", "a", "b"], 1, "ftpfs --unmount MOUNTPOINT"),
        (
            &["--unmount", "--json", "a"],
            1,
            "ftpfs --unmount MOUNTPOINT",
        ),
        (&["--status", "/nowhere"], 2, "/nowhere: "),
        (&["--unmount", "/nowhere"], 2, "/nowhere: "),
        (&["--unmount", "/"], 2, "is mounted here, not ftpfs"),
    ] {
        Ftpfs::new().args(line).fails(code, &[part]);
    }
}
