//! Composition root: wires the rooms bottom-up and runs until unmounted.

mod asking;
mod check;
mod keeping;
mod live;
mod progress;
mod recover;
mod service;

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

pub use asking::{Ask, Look, ask, take_away_dead};
pub use check::check;
pub use recover::{list_kept, recover};

use crate::fs::{FsConfig, FtpFs};
use crate::ftp::listing::ListingZone;
use crate::ftp::{LoginConfig, RemotePath, Security, printable};
use crate::fuse::{self, SessionConfig, Told};
use crate::pool::PoolConfig;
use crate::remote::{ErrorKind, Remote, RemoteError};
use crate::workers::Workers;
use crate::writeback::JournalConfig;
use live::Live;

/// Everything that the command line decides: the sum of what the rooms want to know.
#[derive(Debug, Clone)]
pub struct MountConfig {
    /// How to log in.
    pub login: LoginConfig,
    /// Path of the URL, percent-decoded: relative to the login directory unless it begins with `/`.
    pub remote_path: Vec<u8>,
    /// The zone of the times in LIST; `None`: it is found out.
    pub zone: Option<ListingZone>,
    /// Sessions.
    pub pool: PoolConfig,
    /// The file system.
    pub fs: FsConfig,
    /// Where what the server does not take is kept.
    pub journal: JournalConfig,
    /// The mount.
    pub session: SessionConfig,
    /// Mount first, connect at the first access.
    pub delay_connect: bool,
    /// Stay in the foreground.
    pub foreground: bool,
}

impl MountConfig {
    /// How long it may take from the start until the mount is usable: resolving and connecting, and
    /// a few replies of the login that come at the last moment.
    pub fn patience(&self) -> Duration {
        2 * self.login.connect_timeout + 6 * self.login.timeout + Duration::from_secs(5)
    }
}

/// What the exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The command line, or a file it names.
    Usage = 1,
    /// The mountpoint, FUSE, or the system; nothing is mounted where a mount is asked.
    System = 2,
    /// User or password refused.
    Login = 3,
    /// No trustworthy encryption.
    Tls = 4,
    /// The server cannot be reached, or does not answer like an FTP server.
    Network = 5,
    /// The path on the server is missing, or no directory.
    RemotePath = 6,
    /// Unmounted, but something could not be stored.
    NotStored = 7,
    /// Ctrl-C before the mount.
    Interrupted = 130,
}

impl Status {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What a child reported; an unknown number is the system's fault.
    pub fn from_code(code: u8) -> Self {
        use Status::{Interrupted, Login, Network, NotStored, RemotePath, System, Tls, Usage};
        [
            Usage,
            System,
            Login,
            Tls,
            Network,
            RemotePath,
            NotStored,
            Interrupted,
        ]
        .into_iter()
        .find(|status| status.code() == code)
        .unwrap_or(System)
    }
}

/// Why there is no mount, or why its end was not a good one: exit status and one line for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the exit status.
    pub status: Status,
    /// Lower case, one line: what failed, why, what to do.
    pub message: String,
}

impl Failure {
    /// Any failure.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The user's command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, message)
    }

    /// The machine.
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(Status::System, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Connects, checks the folder on the server, mounts, calls `mounted`, and serves until unmounted. To
/// be called before any other thread exists.
///
/// # Errors
/// What prevented the mount, or what could not be stored at its end ([`Status::NotStored`]).
pub fn run(config: &MountConfig, mounted: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
    // Threads inherit this from the one that starts them.
    fuse::block_signals().map_err(|e| Failure::system(format!("cannot hold signals: {e}")))?;
    let workers = Workers::start(2 * config.pool.max_connections + 4)
        .map_err(|e| Failure::system(format!("cannot start threads: {e}")))?;
    let (remote, root) = interruptible(|| connect(config))?;
    let journal = keeping::open(config)?;
    let fs = FtpFs::new(
        Arc::clone(&remote),
        root,
        config.fs.clone(),
        Arc::clone(&journal),
        Arc::clone(&workers),
    );
    let session =
        fuse::mount(Arc::clone(&fs), Arc::clone(&workers), &config.session).map_err(|error| {
            journal.close();
            Failure::system(error.to_string())
        })?;
    let live = Live::new(config, &remote, &fs, &journal);
    let socket = live.answer(config, session.ender());
    let earlier = keeping::earlier(&journal);
    if let Some(earlier) = earlier.as_ref().filter(|_| !config.foreground) {
        keeping::tell_terminal(earlier);
    }
    if let Err(error) = mounted() {
        // Nobody knows of this mount, so nobody would unmount it: it goes as if told to.
        log::error!("nobody waits for this mount any more: {error}");
        session.ender().end();
    }
    service::ready(config);
    log::info!(
        "mounted {} on {}",
        config.session.source,
        config.session.mountpoint.display()
    );
    if let Some(earlier) = earlier {
        log::warn!("{earlier}");
    }
    keeping::clean(&journal, config, &remote, &workers);
    let caches = session.caches();
    let mut stopping = None;
    let ended = session.run(&mut |told| match told {
        Told::HangUp => {
            log::info!("SIGHUP: caches are dropped, a refused password may be tried again");
            fs.drop_caches();
            caches.forget();
            remote.forgive();
        }
        Told::Dump => live.log(),
        Told::Ending => {
            remote.board().ends();
            stopping = service::stopping(config, &fs);
        }
    });
    log::info!(
        "unmounted {}: {}",
        config.session.mountpoint.display(),
        ended.reason
    );
    if ended.drain.is_none() {
        fs.keep_dirty("ended by a second signal");
    }
    let outcome = keeping::outcome(&ended, &journal);
    remote.close();
    workers.close();
    journal.close();
    drop(stopping);
    if let Err(failure) = &outcome {
        service::stopped(config, &failure.message);
    }
    if let Some(socket) = socket {
        socket.close(&live::ended(&outcome));
    }
    outcome
}

/// Does `work`, which may wait for the server, and ends the process if a signal asks for that.
/// Nothing is mounted yet, so nothing is lost.
fn interruptible<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let no_thread = |e: io::Error| Failure::system(format!("cannot wait for signals: {e}"));
    let (working, over) = UnixStream::pair().map_err(no_thread)?;
    let watch = std::thread::Builder::new()
        .name("ftpfs-signals".into())
        .spawn(move || {
            if let Ok(Some(signal)) = fuse::signal_before(over.as_fd()) {
                log::error!("{signal} before the mount was there");
                std::process::exit(Status::Interrupted.code().into());
            }
        })
        .map_err(no_thread)?;
    let result = work();
    drop(working);
    // It has nothing to say, and a panic in it has been reported.
    watch.join().ok();
    result
}

/// The server, and the folder on it that is to be mounted.
fn connect(config: &MountConfig) -> Result<(Arc<Remote>, RemotePath), Failure> {
    let login = &config.login;
    let (login_config, pool) = (login.clone(), config.pool.clone());
    let at_login = |error: RemoteError| login_failure(login, &error);
    let remote = match config.delay_connect {
        true => Remote::delayed(login_config, pool),
        false => Remote::connect(login_config, pool).map_err(at_login)?,
    };
    if let Some(zone) = &config.zone {
        remote.set_zone(zone.clone());
    }
    let bad_path = |error: crate::ftp::InvalidPath| {
        Failure::usage(format!("{}: {error}", printable(&config.remote_path)))
    };
    if config.delay_connect {
        // Where a relative path leads is known only after the login.
        let root = RemotePath::root()
            .resolve(&config.remote_path)
            .map_err(bad_path)?;
        return Ok((remote, root));
    }
    let home = match remote.home() {
        // What a login begins in may be no folder (z/OS: data sets); others are, by their whole path.
        Err(_) if config.remote_path.starts_with(b"/") => None,
        home => Some(home.map_err(|error| homeless(login, &error))?),
    };
    let from = home.clone().unwrap_or_else(RemotePath::root);
    let root = from.resolve(&config.remote_path).map_err(bad_path)?;
    if Some(&root) == home.as_ref() {
        // The server has told it just now.
        return Ok((remote, root));
    }
    remote
        .check_directory(&root)
        .map_err(|error| folder_failure(login, &root, &error))?;
    Ok((remote, root))
}

/// No folder to begin in, or no session to ask on.
fn homeless(login: &LoginConfig, error: &RemoteError) -> Failure {
    match error.kind() {
        ErrorKind::Protocol => Failure::new(
            Status::Network,
            format!(
                "{}: {error} (name the folder by its whole path: ftp://HOST//DIR)",
                server(login)
            ),
        ),
        _ => login_failure(login, error),
    }
}

fn login_failure(login: &LoginConfig, error: &RemoteError) -> Failure {
    let (user, server) = (printable(&login.user), server(login));
    match error.kind() {
        ErrorKind::LoginRefused if error.code() == Some(332) => Failure::new(
            Status::Login,
            format!("{server} wants an account for '{user}': {error} (account=TEXT gives it one)"),
        ),
        ErrorKind::LoginRefused => {
            let advice = match &login.user[..] {
                b"anonymous" => "name a user: ftp://USER@HOST, or user=USER",
                _ => "check user and password",
            };
            Failure::new(
                Status::Login,
                format!("login as '{user}' on {server} refused: {error} ({advice})"),
            )
        }
        ErrorKind::Untrusted => Failure::new(Status::Tls, untrusted(login, error)),
        ErrorKind::TooManyConnections => Failure::new(
            Status::Network,
            format!("{server} has no place for another connection: {error} (try again later)"),
        ),
        ErrorKind::TimedOut => Failure::new(
            Status::Network,
            format!(
                "{server} does not answer: {error} (is this an FTP server? connect_timeout= and timeout= give it more time)"
            ),
        ),
        ErrorKind::Unreachable => Failure::new(
            Status::Network,
            match login.route.proxy {
                Some(_) => format!("{error} (check the address, and proxy=)"),
                None => format!("{error} (check the address, and whether the server is running)"),
            },
        ),
        _ if error.lost_verb() == Some("AUTH")
            && matches!(login.security, Security::Offered(_)) =>
        {
            Failure::new(
                Status::Network,
                format!(
                    "{server} does not take the question for encryption: {error} (tls=off does not ask)"
                ),
            )
        }
        _ => Failure::new(Status::Network, format!("{server}: {error}")),
    }
}

fn untrusted(login: &LoginConfig, error: &RemoteError) -> String {
    if error.code().is_some() {
        return format!(
            "{} refuses encryption: {error} (ftp:// and tls=off go on without)",
            server(login)
        );
    }
    error.to_string()
}

fn folder_failure(login: &LoginConfig, path: &RemotePath, error: &RemoteError) -> Failure {
    let server = server(login);
    let why = match error.kind() {
        ErrorKind::NotFound => "there is no such folder on",
        ErrorKind::NotDirectory => "not a folder on",
        ErrorKind::Denied => "not allowed to enter this folder on",
        ErrorKind::Refused => "cannot enter this folder on",
        _ => return login_failure(login, error),
    };
    Failure::new(
        Status::RemotePath,
        format!("{path}: {why} {server}: {error}"),
    )
}

fn server(login: &LoginConfig) -> String {
    match login.host.contains(':') {
        true => format!("[{}]:{}", login.host, login.port),
        false => format!("{}:{}", login.host, login.port),
    }
}
