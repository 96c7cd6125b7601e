//! A server with the file systems that a test wants on it.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use ftpfs::fs::{FsConfig, FtpFs, OwnerConfig, StagingConfig, UploadPolicy};
use ftpfs::ftp::{LoginConfig, RemotePath, Secret};
use ftpfs::net::AddressFamily;
use ftpfs::pool::PoolConfig;
use ftpfs::remote::Remote;
use ftpfs::workers::Workers;
use ftpfs::writeback::Journal;

use crate::caller::Caller;
use crate::support::scripted::Scripted;
use crate::support::server::{Brand, Server, servers_under_test};

/// Sessions of a mount.
const SESSIONS: usize = 4;

/// No two file systems of a run use the same temporary names.
static MOUNTS: AtomicU32 = AtomicU32::new(1);

/// What differs between tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) policy: UploadPolicy,
    pub(crate) cache_timeout: Duration,
    pub(crate) read_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: UploadPolicy::Auto,
            cache_timeout: Duration::from_secs(60),
            read_only: false,
        }
    }
}

/// A running server, shared by the tests that want one of its brand at the same time.
pub(crate) struct Served {
    pub(crate) server: Server,
    folders: AtomicU32,
    started: SystemTime,
    puts: AtomicU32,
}

static SERVED: Mutex<Vec<(Brand, Weak<Served>)>> = Mutex::new(Vec::new());

impl Served {
    fn shared(brand: Brand) -> Arc<Self> {
        let mut all = SERVED.lock().unwrap();
        let known = all.iter().find(|(other, _)| *other == brand);
        if let Some(served) = known.and_then(|(_, served)| served.upgrade()) {
            return served;
        }
        let served = Arc::new(Self {
            server: Server::start(brand),
            folders: AtomicU32::new(0),
            started: SystemTime::now(),
            puts: AtomicU32::new(0),
        });
        all.retain(|(other, _)| *other != brand);
        all.push((brand, Arc::downgrade(&served)));
        served
    }
}

/// A server, and one set of sessions for the file systems of one test.
pub(crate) struct Site {
    served: Arc<Served>,
    pub(crate) remote: Arc<Remote>,
    workers: Arc<Workers>,
}

impl Deref for Site {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

impl Site {
    pub(crate) fn start(brand: Brand) -> Self {
        drop(env_logger::builder().is_test(true).try_init());
        let served = Served::shared(brand);
        let server = &served.server;
        let login = login(server.port(), server.user(), server.password());
        Self {
            remote: Remote::connect(login, pool()).unwrap(),
            workers: Workers::start(2 * SESSIONS + 4).unwrap(),
            served,
        }
    }

    /// From now on it is known whether the server takes several commands in one segment.
    pub(crate) fn knows_pipelining(&self) {
        let home = self.remote.home().unwrap();
        let paths: Vec<_> = (0..4).map(|n| home.join(&[b'0' + n]).unwrap()).collect();
        self.remote.modified_times(&paths).unwrap();
    }

    /// A file system on a new, empty folder of the server.
    pub(crate) fn folder(&self, options: Options) -> Folder<'_> {
        let name = format!("folder-{}", self.folders.fetch_add(1, Ordering::Relaxed));
        let disk = self.server.at(&name);
        fs::create_dir(&disk).unwrap();
        self.give(&disk);
        let root = self
            .remote
            .home()
            .unwrap()
            .resolve(name.as_bytes())
            .unwrap();
        Folder {
            caller: mounted(&self.remote, &self.workers, root, options),
            disk,
            site: self,
        }
    }

    /// Makes something that the test has put there the property of the user who logs in.
    fn give(&self, path: &Path) {
        let owner = fs::metadata(&self.server.root).unwrap();
        lchown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
}

/// A folder on a server's disk, and the file system that shows it.
pub(crate) struct Folder<'a> {
    pub(crate) caller: Caller,
    disk: PathBuf,
    site: &'a Site,
}

impl Folder<'_> {
    /// A path on the server's disk.
    pub(crate) fn disk(&self, path: &str) -> PathBuf {
        self.disk.join(path)
    }

    /// Writes a file on the server's disk, new or in place. Its time is another one each time, and
    /// so old that the file is known to be settled.
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let path = self.disk(path);
        fs::write(&path, content).unwrap();
        self.site.give(&path);
        let second = u64::from(self.site.puts.fetch_add(1, Ordering::Relaxed));
        let disk = fs::File::options().write(true).open(&path).unwrap();
        disk.set_modified(self.site.started - Duration::from_secs(86_400 - second))
            .unwrap();
    }

    /// Makes a directory on the server's disk.
    pub(crate) fn put_directory(&self, path: &str) {
        let path = self.disk(path);
        fs::create_dir(&path).unwrap();
        self.site.give(&path);
    }

    /// What the server's disk has.
    #[track_caller]
    pub(crate) fn stored(&self, path: &str) -> Vec<u8> {
        fs::read(self.disk(path)).unwrap()
    }

    /// Names on the server's disk, hidden ones too.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.disk(path)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A file system on a scripted server.
pub(crate) fn scripted(server: &Scripted, options: Options) -> Caller {
    drop(env_logger::builder().is_test(true).try_init());
    let remote = Remote::delayed(login(server.port(), "me", "secret"), pool());
    let workers = Workers::start(2 * SESSIONS + 4).unwrap();
    mounted(&remote, &workers, RemotePath::root(), options)
}

fn mounted(
    remote: &Arc<Remote>,
    workers: &Arc<Workers>,
    root: RemotePath,
    options: Options,
) -> Caller {
    let config = FsConfig {
        owner: OwnerConfig {
            uid: 1000,
            gid: 1000,
            file_mask: 0,
            directory_mask: 0,
        },
        cache_timeout: options.cache_timeout,
        cache_size: 16 << 20,
        readahead: 2 << 20,
        staging: StagingConfig {
            directory: std::env::temp_dir(),
        },
        upload: options.policy,
        writeback: None,
        strict: false,
        follow_symlinks: false,
        read_only: options.read_only,
        mount_id: std::process::id() << 8 | MOUNTS.fetch_add(1, Ordering::Relaxed) & 0xff,
    };
    Caller::new(FtpFs::new(
        Arc::clone(remote),
        root,
        config,
        Journal::none(),
        Arc::clone(workers),
    ))
}

fn login(port: u16, user: &str, password: &str) -> LoginConfig {
    LoginConfig {
        host: "127.0.0.1".into(),
        route: ftpfs::net::Route::default(),
        obeys_pasv: false,
        port,
        user: user.into(),
        password: Secret::new(password),
        family: AddressFamily::Any,
        security: ftpfs::ftp::Security::Off,
        utf8: true,
        account: None,
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(15),
        active: None,
    }
}

fn pool() -> PoolConfig {
    PoolConfig {
        max_connections: SESSIONS,
        idle: Duration::from_secs(60),
        last_idle: Duration::from_secs(300),
        patience: Duration::from_secs(5),
        hard: false,
        ahead: true,
    }
}

/// Runs a test on every server that it is for.
pub(crate) fn on_each(test: impl Fn(&Site)) {
    for brand in servers_under_test() {
        test(&Site::start(brand));
    }
}
