//! Every operation of `Remote` on every real server, or its honest refusal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ftpfs::ftp::listing::EntryKind;
use ftpfs::ftp::{ListCommand, LoginConfig, RemotePath, Secret, Session, Transfer};
use ftpfs::net::AddressFamily;
use ftpfs::pool::PoolConfig;
use ftpfs::remote::{Download, ErrorKind, FileVersion, Remote, RemoteError, Upload, UploadMode};

use crate::support::server::{Brand, Server, servers_for_smoke};

fn login(server: &Server) -> LoginConfig {
    LoginConfig {
        host: "127.0.0.1".into(),
        route: ftpfs::net::Route::default(),
        obeys_pasv: false,
        port: server.port(),
        user: server.user().into(),
        password: Secret::new(server.password()),
        family: AddressFamily::Any,
        security: ftpfs::ftp::Security::Off,
        utf8: true,
        account: None,
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(15),
        active: None,
    }
}

fn pool(max_connections: usize) -> PoolConfig {
    PoolConfig {
        max_connections,
        idle: Duration::from_secs(60),
        last_idle: Duration::from_secs(300),
        patience: Duration::from_secs(5),
        hard: false,
        ahead: true,
    }
}

struct Case {
    server: Server,
    remote: Arc<Remote>,
    home: RemotePath,
}

impl Case {
    fn start(brand: Brand, connections: usize) -> Self {
        let server = Server::start(brand);
        let remote = Remote::connect(login(&server), pool(connections)).unwrap();
        let home = remote.home().unwrap();
        Self {
            server,
            remote,
            home,
        }
    }

    fn at(&self, path: &str) -> RemotePath {
        self.home.resolve(path.as_bytes()).unwrap()
    }

    fn read(&self, path: &str, offset: u64) -> Result<Vec<u8>, RemoteError> {
        let path = self.at(path);
        let version = self.remote.version(&path)?;
        let mut download = Download::open(&self.remote, &path, offset, Some(version))?;
        let mut all = Vec::new();
        let mut buf = vec![0; 100_000];
        loop {
            let count = download.read(&mut buf)?;
            if count == 0 {
                return Ok(all);
            }
            all.extend_from_slice(&buf[..count]);
            assert_eq!(download.position(), offset + all.len() as u64);
        }
    }

    fn write(&self, path: &str, mode: UploadMode, data: &[u8]) -> Result<(), RemoteError> {
        let mut upload = Upload::open(&self.remote, &self.at(path), mode)?;
        for piece in data.chunks(70_000) {
            upload.write(piece)?;
        }
        assert_eq!(upload.sent(), data.len() as u64);
        upload.finish().map(drop)
    }

    fn kind<T: std::fmt::Debug>(&self, result: Result<T, RemoteError>) -> ErrorKind {
        let error = result.unwrap_err();
        let kind = error.kind();
        println!("{}: {kind:?}: {error}", self.server.brand);
        kind
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| u8::try_from((n * 7 + n / 251) % 256).unwrap())
        .collect()
}

fn for_each(connections: usize, check: impl Fn(&Case)) {
    // With RUST_LOG=ftpfs=trace a failure shows the whole conversation.
    drop(env_logger::builder().is_test(true).try_init());
    for brand in servers_for_smoke() {
        println!("{brand}, {connections} connections");
        check(&Case::start(brand, connections));
    }
}

#[test]
fn files_there_and_back_with_one_connection() {
    for_each(1, |case| {
        let big = pattern(3_000_000);
        case.write("big", UploadMode::Store, &big).unwrap();
        assert_eq!(fs::read(case.server.at("big")).unwrap(), big);
        assert!(case.read("big", 0).unwrap() == big);
        assert!(case.read("big", 2_500_001).unwrap() == big[2_500_001..]);
        case.write("empty", UploadMode::Store, b"").unwrap();
        assert_eq!(case.read("empty", 0).unwrap(), b"");
        // Given up in the middle, again and again, on the one connection.
        for _ in 0..3 {
            let path = case.at("big");
            let mut download = Download::open(&case.remote, &path, 10, None).unwrap();
            assert!(download.read(&mut [0; 1000]).unwrap() > 0);
            download.abandon();
        }
        assert!(case.read("big", 2_999_999).unwrap() == big[2_999_999..]);
        let mut upload = Upload::open(&case.remote, &case.at("half"), UploadMode::Store).unwrap();
        upload.write(&big[..100_000]).unwrap();
        upload.abandon();
        assert_eq!(case.read("empty", 0).unwrap(), b"");
        assert!(case.remote.connections().live <= 1);
    });
}

#[test]
fn appending() {
    for_each(2, |case| {
        case.write("log", UploadMode::Store, b"0123").unwrap();
        let result = case.write("log", UploadMode::Append { size: 4 }, b"45");
        if case.server.brand.appends() {
            result.unwrap();
            assert_eq!(fs::read(case.server.at("log")).unwrap(), b"012345");
            let wrong = case.write("log", UploadMode::Append { size: 4 }, b"6");
            assert_eq!(case.kind(wrong), ErrorKind::Incomplete);
        } else {
            assert_eq!(case.kind(result), ErrorKind::Unsupported);
            assert_eq!(fs::read(case.server.at("log")).unwrap(), b"0123");
        }
    });
}

#[test]
fn listings_tell_names_kinds_sizes_and_times() {
    for_each(2, |case| {
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        fs::create_dir(case.server.at("d")).unwrap();
        fs::create_dir(case.server.at("d/empty")).unwrap();
        for (name, time) in [("a b", long_ago), (".dot", hour_ago), ("new", hour_ago)] {
            let path = case.server.at("d").join(name);
            fs::write(&path, "12345").unwrap();
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
        case.server.hand_over();
        let listing = case.remote.list(&case.at("d")).unwrap();
        let mut names: Vec<_> = listing
            .entries
            .iter()
            .map(|e| {
                (
                    String::from_utf8_lossy(&e.name).into_owned(),
                    e.kind,
                    e.size,
                )
            })
            .collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        let file = |name: &str| (name.to_owned(), EntryKind::File, Some(5));
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(names[..2], [file(".dot"), file("a b")]);
        assert_eq!(
            (names[2].0.as_str(), names[2].1),
            ("empty", EntryKind::Directory)
        );
        assert_eq!(names[3], file("new"));
        for entry in &listing.entries {
            let expected = match &entry.name[..] {
                b"a b" => long_ago,
                b".dot" | b"new" => hour_ago,
                _ => continue,
            };
            let told = entry.modified.expect("a time").time;
            let apart = told
                .duration_since(expected)
                .unwrap_or_else(|e| e.duration());
            assert!(apart < Duration::from_secs(86_400), "{entry:?}");
            if entry.name != b"a b" {
                assert!(apart <= Duration::from_secs(60), "{entry:?}");
            }
        }
        assert!(
            case.remote
                .list(&case.at("d/empty"))
                .unwrap()
                .entries
                .is_empty()
        );
        let missing = case.kind(case.remote.list(&case.at("nowhere")));
        assert!(
            matches!(missing, ErrorKind::NotFound | ErrorKind::Refused),
            "{missing:?}"
        );
        assert!(case.remote.list(&case.at("d/new")).is_err());
    });
}

#[test]
fn names_and_refusals() {
    for_each(2, |case| {
        let remote = &case.remote;
        let silent = matches!(case.server.brand, Brand::Vsftpd | Brand::Embedded);
        let expect = |result: Result<(), RemoteError>, kind: ErrorKind| {
            let found = case.kind(result);
            assert!(
                found == kind
                    || (silent
                        && matches!(
                            found,
                            ErrorKind::Refused | ErrorKind::NotFound | ErrorKind::Denied
                        )),
                "{found:?} instead of {kind:?}"
            );
        };
        remote.make_directory(&case.at("d")).unwrap();
        expect(remote.make_directory(&case.at("d")), ErrorKind::Exists);
        remote.check_directory(&case.at("d")).unwrap();
        expect(remote.check_directory(&case.at("no")), ErrorKind::NotFound);
        case.write("d/f", UploadMode::Store, b"one").unwrap();
        expect(remote.remove_directory(&case.at("d")), ErrorKind::NotEmpty);
        expect(remote.remove_file(&case.at("no")), ErrorKind::NotFound);
        let missing = Download::open(remote, &case.at("no"), 0, None)
            .and_then(|mut d| d.read(&mut [0; 10]).map(drop));
        expect(missing, ErrorKind::NotFound);
        assert!(case.read("no", 0).is_err());
        let directory = Download::open(remote, &case.at("d"), 0, None)
            .and_then(|mut d| d.read(&mut [0; 10]).map(drop));
        expect(directory, ErrorKind::IsDirectory);
        remote.rename(&case.at("d/f"), &case.at("g"), None).unwrap();
        case.write("h", UploadMode::Store, b"two").unwrap();
        remote
            .rename(&case.at("h"), &case.at("g"), Some(&case.at(".backup")))
            .unwrap();
        assert_eq!(case.read("g", 0).unwrap(), b"two");
        assert!(!case.server.at(".backup").exists());
        expect(
            remote.rename(&case.at("no"), &case.at("x"), None),
            ErrorKind::NotFound,
        );
        remote.remove_directory(&case.at("d")).unwrap();
        remote.remove_file(&case.at("g")).unwrap();
        assert_eq!(fs::read_dir(&case.server.root).unwrap().count(), 0);
    });
}

#[test]
fn attributes() {
    for_each(2, |case| {
        let brand = case.server.brand;
        case.write("f", UploadMode::Store, b"12345").unwrap();
        let path = case.at("f");
        let mode = case.remote.set_mode(&path, 0o640);
        if brand.sets_modes() {
            mode.unwrap();
            let found = fs::metadata(case.server.at("f"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(found & 0o777, 0o640);
        } else {
            assert_eq!(case.kind(mode), ErrorKind::Unsupported);
        }
        let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        let set = case.remote.set_modified(&path, time);
        if brand.sets_times() {
            set.unwrap();
            let found = case.remote.version(&path).unwrap();
            let expected = FileVersion {
                size: 5,
                modified: Some(time),
            };
            assert_eq!(found, expected);
            let later = time + Duration::from_secs(3601);
            case.remote.set_modified(&path, later).unwrap();
            let found = case.remote.version(&path).unwrap();
            assert_eq!(found.modified, Some(later));
        } else {
            assert_eq!(case.kind(set), ErrorKind::Unsupported);
        }
        let mut paths = Vec::new();
        let base = UNIX_EPOCH + Duration::from_secs(1_400_000_000);
        for n in 0..250_u32 {
            let local = case.server.at(format!("f{n}"));
            fs::write(&local, "").unwrap();
            let file = fs::File::open(&local).unwrap();
            file.set_modified(base + n * Duration::from_secs(7))
                .unwrap();
            paths.push(case.at(&format!("f{n}")));
        }
        paths.push(case.at("missing"));
        case.server.hand_over();
        let times = case.remote.modified_times(&paths).unwrap();
        assert_eq!(times.len(), 251);
        assert_eq!(times[250], None);
        for (n, found) in (0..250_u32).zip(&times) {
            assert_eq!(*found, Some(base + n * Duration::from_secs(7)), "{n}");
        }
        // Once more, now that the server's habits are known, on another session.
        let first = Download::open(&case.remote, &path, 0, None).unwrap();
        assert_eq!(case.remote.modified_times(&paths).unwrap(), times);
        assert_eq!(case.remote.connections().live, 2);
        first.abandon();
        assert_eq!(case.remote.available_space(&case.home), None);
    });
}

#[test]
fn odd_names_and_long_paths() {
    for_each(2, |case| {
        let mut names: Vec<Vec<u8>> = [
            "-rf", "~root", "a b ", " lead", "#%?", "[x]*", "{y}", "q\"uote", "it's", "é", "日本",
            "a;b", "a=b", "-> x",
        ]
        .iter()
        .map(|n| n.as_bytes().to_vec())
        .collect();
        if case.server.brand.has_byte_names() {
            names.push(b"latin-\xe9".to_vec());
        }
        names.push(vec![b'n'; 255]);
        case.remote.make_directory(&case.at("d")).unwrap();
        let dir = case.at("d");
        let mut stored = Vec::new();
        for name in names {
            let path = dir.join(&name).unwrap();
            let upload =
                Upload::open(&case.remote, &path, UploadMode::Store).and_then(|mut upload| {
                    upload.write(&name)?;
                    upload.finish().map(drop)
                });
            match upload {
                Ok(()) => stored.push(name),
                // A refusal is honest; another name would not be.
                Err(e) => println!("{}: {path}: {e}", case.server.brand),
            }
        }
        let mut listed: Vec<_> = case
            .remote
            .list(&dir)
            .unwrap()
            .entries
            .into_iter()
            .map(|e| e.name)
            .collect();
        // Pure-FTPd makes `_` of a blank at the end; the upload says that its file is not there.
        listed.retain(|name| case.server.brand != Brand::PureFtpd || name != b"a b_");
        listed.sort();
        stored.sort();
        assert!(stored.len() >= 14);
        assert_eq!(listed, stored);
        let mut deep = dir;
        for n in 0..4 {
            deep = deep.join(&[b'a' + n; 200]).unwrap();
            case.remote.make_directory(&deep).unwrap();
        }
        let file = deep.join(b"f").unwrap();
        let mut upload = Upload::open(&case.remote, &file, UploadMode::Store).unwrap();
        upload.write(b"deep").unwrap();
        upload.finish().unwrap();
        case.remote
            .rename(&file, &deep.join(b"-g").unwrap(), None)
            .unwrap();
        let listing = case.remote.list(&deep).unwrap();
        assert_eq!(listing.entries.len(), 1);
        assert_eq!(listing.entries[0].name, b"-g");
        let version = case.remote.version(&deep.join(b"-g").unwrap()).unwrap();
        assert_eq!(version.size, 4);
    });
}

#[test]
fn the_directory_of_a_session_is_removed_by_others() {
    for_each(1, |case| {
        // It sometimes ends such a session whatever comes next; then all is asked again on another one.
        if case.server.brand == Brand::Pyftpdlib {
            return;
        }
        let dir = case.at("entered");
        case.remote.make_directory(&dir).unwrap();
        let mut session = Session::open(&login(&case.server), &Arc::default()).unwrap();
        session.enter(&dir).unwrap();
        fs::remove_dir(case.server.at("entered")).unwrap();
        if session.features().has("MLST") {
            let mut listed = Transfer::list(&mut session, ListCommand::Mlsd, &case.home).unwrap();
            let mut buf = [0; 4096];
            while listed.read(&mut buf).unwrap() > 0 {}
            listed.finish(Duration::from_secs(10)).unwrap();
        }
        session.size(&case.at("missing")).unwrap_err();
        assert!(session.is_alive());
    });
}
