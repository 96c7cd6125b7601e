//! Names and paths, from the user and from listings.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Component;
use std::time::SystemTime;

use ftpfs::ftp::{FtpError, ListCommand, RemotePath, Secret, Session, Transfer};

use crate::support::mounted::Mounted;
use crate::support::scripted::Scripted;
use crate::{always, commands, config, open, path, serve};

const BREAKS: [&[u8]; 4] = [b"a\r\nDELE b", b"a\nDELE b", b"a\rDELE b", b"a\0DELE b"];

fn url(server: &Scripted) -> String {
    format!("ftp://me:password@127.0.0.1:{}/", server.port())
}

#[test]
fn no_cr_lf_or_nul_in_any_argument() {
    let server = Scripted::start(always(|c| {
        c.greet(&["MLST type*;size*;modify*;"]);
        serve(c, b"type=file;size=7;modify=20200101000000; file\r\n");
    }));
    // At the type: there is no path with one of them.
    for bytes in BREAKS {
        assert!(RemotePath::parse(&[b"/", bytes].concat()).is_err());
        assert!(RemotePath::root().join(bytes).is_err());
        assert!(RemotePath::root().resolve(bytes).is_err());
    }
    // At the wire, for what is no path.
    for bytes in BREAKS {
        let mut user = config(&server);
        user.user = bytes.to_vec();
        let mut password = config(&server);
        password.password = Secret::new(bytes);
        for config in [user, password] {
            let error = Session::open(&config, &Default::default()).unwrap_err();
            assert!(matches!(error, FtpError::InvalidArgument(_)), "{error}");
        }
    }
    // And all the way from a program.
    let mount = Mounted::new(&url(&server), &[]);
    for bytes in &BREAKS[..3] {
        let name = mount.at(OsStr::from_bytes(bytes));
        let results = [
            ("open", fs::write(&name, b"x")),
            ("mkdir", fs::create_dir(&name)),
            ("rename", fs::rename(mount.at("file"), &name)),
            ("symlink", symlink("file", &name)),
        ];
        for (what, result) in results {
            let errno = result.unwrap_err().raw_os_error();
            assert_eq!(errno, Some(libc::EINVAL), "{what} {}", bytes.escape_ascii());
        }
        let target = OsStr::from_bytes(bytes);
        assert!(symlink(target, mount.at("link")).is_err());
    }
    assert_eq!(mount.unmount(), Some(0));
    let lines = commands(&server);
    assert!(lines.iter().any(|l| l.starts_with("MLSD")), "{lines:?}");
    let sent: Vec<_> = lines.iter().filter(|l| l.contains("DELE")).collect();
    assert!(sent.is_empty(), "{sent:?}");
    server.finish();
}

/// Some servers run the tail of a longer line as a command of its own.
#[test]
fn no_line_is_longer_than_500_bytes() {
    let server = Scripted::start(always(|c| {
        c.greet(&[]);
        serve(c, b"");
    }));
    let mut session = open(&server).unwrap();
    let names = [1, 200, 400, 480, 485, 490, 493, 495, 500, 600, 5000].map(|n| "n".repeat(n));
    let dirs = [
        "".to_owned(),
        format!("/{}", "d".repeat(240)),
        "/dddddddd".repeat(90),
    ];
    let (mut done, mut refused) = (0, 0);
    for (dir, name) in dirs.iter().flat_map(|d| names.iter().map(move |n| (d, n))) {
        let at = path(&format!("{dir}/{name}"));
        let other = path(&format!("{dir}/x{name}"));
        let now = SystemTime::UNIX_EPOCH;
        let results = [
            session.size(&at).map(drop),
            session.modified(&at).map(drop),
            session.enter(&at),
            session.make_directory(&at),
            session.remove_directory(&at),
            session.remove_file(&at),
            session.rename(&at, &other),
            session.change_mode(&at, 0o644),
            session.change_mode_fact(&at, 0o644),
            session.set_modified(&at, now),
            session.set_modified_by_mdtm(&at, now),
            session.make_symlink(name.as_bytes(), &at),
            session.available(&at).map(drop),
            Transfer::list(&mut session, ListCommand::Mlsd, &at).map(drop_transfer),
            Transfer::retrieve(&mut session, &at, 0).map(drop_transfer),
        ];
        for result in results {
            match result {
                Ok(()) | Err(FtpError::Refused { .. } | FtpError::Protocol { .. }) => done += 1,
                Err(FtpError::PathTooLong { .. }) => refused += 1,
                Err(other) => panic!("{} {}: {other}", dir.len(), name.len()),
            }
        }
    }
    assert!(done > 200 && refused > 20, "{done} done, {refused} refused");
    drop(session);
    let longest = commands(&server).iter().map(|l| l.len() + 2).max();
    assert!(
        longest.is_some_and(|n| (490..=500).contains(&n)),
        "{longest:?}"
    );
    server.finish();
}

fn drop_transfer(transfer: Transfer<&mut Session>) {
    transfer
        .finish(std::time::Duration::from_secs(10))
        .map(drop)
        .unwrap();
}

/// What a mount of a server with this listing shows, and what it says of it.
fn shown(features: &'static [&'static str], listing: Vec<u8>) -> (BTreeSet<OsString>, String) {
    let server = Scripted::start(always(move |c| {
        c.greet(features);
        serve(c, &listing);
    }));
    let mount = Mounted::new(&url(&server), &[]);
    let names = fs::read_dir(mount.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name()).collect();
    let log = mount.log();
    assert_eq!(mount.unmount(), Some(0));
    server.finish();
    (names, log)
}

#[test]
fn a_listed_name_is_one_component_or_nothing() {
    let hostile: [&[u8]; 14] = [
        b"",
        b".",
        b"..",
        b"/",
        b"../x",
        b"x/..",
        b"/etc/passwd",
        b"a/b",
        b"nul\0nul",
        b"\0",
        b"cr\rcr",
        b"..\r/x",
        b"./x",
        b"x/",
    ];
    let good: [&[u8]; 4] = [b"good", b"...", b" ..", b"\xff\x1b[2J"];
    let all = || hostile.iter().chain(&good);
    let mlsd: Vec<u8> = all()
        .flat_map(|name| [b"type=file;size=7;modify=20200101000000; ", *name, b"\r\n"].concat())
        .chain(*b"type=cdir; /etc\r\ntype=pdir; /\r\n")
        .collect();
    let list: Vec<u8> = all()
        .flat_map(|name| [b"-rw-r--r-- 1 0 0 7 Jan  1  2020 ", *name, b"\r\n"].concat())
        .collect();
    let expected: BTreeSet<_> = good
        .iter()
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect();
    for (features, listing) in [(&["MLST type*;size*;modify*;"][..], mlsd), (&[], list)] {
        let (names, log) = shown(features, listing);
        assert_eq!(names, expected);
        assert!(log.contains("lines of the listing cannot be read"), "{log}");
    }
}

#[test]
fn links_never_lead_out_of_the_mount() {
    let targets = [
        "/etc/passwd",
        "../../../../../etc/passwd",
        "..",
        "good/../../../etc/passwd",
        "/../../etc/passwd",
        "./../x",
        "a/../../../..",
    ];
    let listing: String = targets
        .iter()
        .enumerate()
        .map(|(n, target)| {
            format!(
                "lrwxrwxrwx 1 0 0 {} Jan  1  2020 link{n} -> {target}\r\n",
                target.len()
            )
        })
        .chain(["-rw-r--r-- 1 0 0 7 Jan  1  2020 good\r\n".to_owned()])
        .collect();
    let server = Scripted::start(always(move |c| {
        c.greet(&[]);
        serve(c, listing.as_bytes());
    }));
    let mount = Mounted::new(&url(&server), &[]);
    let outside = fs::canonicalize(mount.path()).unwrap();
    let mut refused = 0;
    for n in 0..targets.len() {
        let link = mount.at(format!("link{n}"));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        match fs::read_link(&link) {
            Err(error) => {
                refused += 1;
                assert_eq!(error.raw_os_error(), Some(libc::EACCES));
                assert!(fs::read(&link).is_err());
            }
            Ok(target) => {
                // All links are at the root of the mount.
                assert!(target.is_relative(), "{}", target.display());
                let climbs = target.components().any(|c| c == Component::ParentDir);
                assert!(!climbs, "{}", target.display());
                if let Ok(place) = fs::canonicalize(&link) {
                    assert!(place.starts_with(&outside), "{}", place.display());
                }
            }
        }
    }
    assert_eq!(refused, 5);
    assert_eq!(fs::read(mount.at("good")).unwrap(), b"content");
    assert_eq!(mount.unmount(), Some(0));
    server.finish();
}

#[test]
fn site_commands_have_checked_arguments() {
    let server = Scripted::start(always(|c| {
        c.greet(&["SITE SYMLINK", "SITE CHMOD"]);
        serve(c, b"-rw-r--r-- 1 0 0 7 Jan  1  2020 file\r\n");
    }));
    let mut session = open(&server).unwrap();
    for target in [&b"a\nb"[..], b"a\r\nSITE EXEC x", b"a\0b", b"a b"] {
        assert!(session.make_symlink(target, &path("/link")).is_err());
    }
    session.make_symlink(b"a", &path("/a name")).unwrap_err();
    session.make_symlink(b"target", &path("/link")).unwrap();
    // Nothing but the permission bits.
    session.change_mode(&path("/file"), 0o177_777).unwrap();
    drop(session);
    let mount = Mounted::new(&url(&server), &[]);
    fs::set_permissions(mount.at("file"), fs::Permissions::from_mode(0o600)).unwrap();
    drop(mount);
    let lines = commands(&server);
    let site: BTreeSet<&str> = lines
        .iter()
        .filter(|line| line.starts_with("SITE"))
        .map(String::as_str)
        .collect();
    let expected = [
        "SITE CHMOD 0600 /file",
        "SITE CHMOD 7777 /file",
        "SITE SYMLINK target link",
    ];
    assert_eq!(site, BTreeSet::from(expected));
    server.finish();
}
