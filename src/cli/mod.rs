//! What the user typed, made into what is meant.

mod table;
mod settings;
mod value;
mod words;
mod foreign;
mod helper;
mod args;
mod asking;
mod url;
mod argv;
mod netrc;
mod prompt;
mod credentials;
mod mountpoint;
mod folders;
mod config;
mod active;
mod encryption;
mod network;
#[doc(hidden)]
pub mod readers;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use self::args::command;
use self::args::{Parsed, Typed};
use self::argv::Spot;
use self::credentials::Named;
pub use self::helper::Called;
use self::settings::Settings;
use self::url::Source;
use crate::logging::LogConfig;
use crate::mount::{Ask, Failure, MountConfig};

/// What a command line asks for.
#[derive(Debug)]
pub enum Wish {
    /// Text for standard output: help or version.
    Text(String),
    /// A mount that is there is to be asked something.
    Ask(Ask),
    /// A mount.
    Mount(Box<Order>),
    /// The server is to be looked at.
    Check(Box<Order>),
    /// What an earlier mount could not store is to be stored.
    Recover(Box<Order>),
    /// What is kept in this folder is to be listed.
    ListKept(PathBuf),
}

/// A mount as ordered: everything the command line says, nothing asked or looked up yet.
pub struct Order {
    source: Source,
    password: Option<Vec<u8>>,
    mountpoint: PathBuf,
    settings: Settings,
}

/// Where, and nothing else: user and settings may hold a password.
impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("source", &self.source)
            .field("mountpoint", &self.mountpoint)
            .finish_non_exhaustive()
    }
}

/// Reads the command line of this process, the program's name first, and takes the passwords in it
/// out of what ps(1) shows. To be called before any other thread exists.
///
/// # Errors
/// [`Status::Usage`](crate::mount::Status::Usage).
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Wish, Failure> {
    let mut args = args.into_iter();
    let name = args.next();
    if !Called::by(name.as_deref()).is_helper() {
        return wish(args::parse(name.into_iter().chain(args), false), false);
    }
    let request = helper::read(args).map_err(Failure::usage)?;
    let args = name.into_iter().chain(request.args);
    let wish = wish(args::parse(args, request.sloppy), true)?;
    if request.fake {
        return Ok(Wish::Text(String::new()));
    }
    if let Some(namespace) = request.namespace {
        helper::enter(&namespace)?;
    }
    Ok(wish)
}

fn wish(parsed: Result<Parsed, String>, by_mount: bool) -> Result<Wish, Failure> {
    let typed = match parsed.map_err(Failure::usage)? {
        Parsed::Text(text) => return Ok(Wish::Text(text)),
        Parsed::Ask(ask) => return Ok(Wish::Ask(ask)),
        Parsed::Mount(typed) => typed,
    };
    let Typed {
        source: text,
        mountpoint,
        mut settings,
        recover,
        check,
        secrets,
    } = *typed;
    if recover && text.is_empty() {
        return Ok(Wish::ListKept(folders::state()));
    }
    let mut source = Source::parse(&text).map_err(Failure::usage)?;
    source.set_port(settings.port).map_err(Failure::usage)?;
    let password = source.password(&text);
    if by_mount && password.is_none() {
        // mount -a knows by it that a line of fstab is mounted already.
        settings.shown = std::str::from_utf8(&text).ok().map(str::to_owned);
    }
    let mut spots = secrets;
    if let Some(password) = source.password.clone() {
        spots.push(Spot { text, password });
    }
    argv::scrub(&spots);
    let mountpoint = PathBuf::from(mountpoint);
    let order = Box::new(Order {
        source,
        password,
        mountpoint,
        settings,
    });
    Ok(match (recover, check) {
        (true, _) => Wish::Recover(order),
        (_, true) => Wish::Check(order),
        _ => Wish::Mount(order),
    })
}

impl Order {
    /// What is to be logged, and where.
    pub fn logging(&self) -> LogConfig {
        let settings = &self.settings;
        LogConfig {
            level: match () {
                () if settings.debug => log::LevelFilter::Trace,
                () if settings.quiet => log::LevelFilter::Error,
                () if settings.verbose => log::LevelFilter::Info,
                () => log::LevelFilter::Warn,
            },
            foreground: settings.foreground || settings.debug,
            file: settings.log_file.clone(),
        }
    }

    /// Checks the mountpoint and finds the password, asking for it if need be.
    ///
    /// # Errors
    /// What hinders the mount, and what to do about it.
    pub fn resolve(self) -> Result<MountConfig, Failure> {
        if self.settings.delay_connect && self.source.path.first() != Some(&b'/') {
            return Err(Failure::usage(
                "delay_connect needs a path that does not depend on the login: ftp://HOST//PATH, with two slashes",
            ));
        }
        let mountpoint = mountpoint::check(Path::new(&self.mountpoint), &self.settings)?;
        self.with(mountpoint)
    }

    /// The same for `--recover`, which has no mountpoint.
    ///
    /// # Errors
    /// As there.
    pub fn resolve_recovery(self) -> Result<MountConfig, Failure> {
        self.with(PathBuf::new())
    }

    fn with(self, mountpoint: PathBuf) -> Result<MountConfig, Failure> {
        let named = Named {
            host: self.source.host.clone(),
            user: self.source.user.clone(),
            password: self.password,
        };
        let login = credentials::find(named, &self.settings)?;
        config::build(self.source, self.settings, login, mountpoint)
    }
}
