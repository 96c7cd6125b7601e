//! `Experience`: what the sessions of one server tell each other.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use super::{Features, FtpError, RemotePath, Reply};
use crate::status::Board;

/// How a data connection is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passive {
    Epsv,
    Pasv,
}

/// How the server is told where to connect to, in active mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Active {
    Eprt,
    Port,
}

/// What one session has learned and the next one need not: it belongs to the server and lives as
/// long as the mount.
#[derive(Debug, Default)]
pub struct Experience {
    features: OnceLock<Arc<Features>>,
    home: OnceLock<Result<RemotePath, String>>,
    greeting: OnceLock<String>,
    passive: AtomicU8,
    refuses_eprt: AtomicBool,
    connects_late: Answer,
    pipelining: Answer,
    line_feeds: Answer,
    minds_groups: AtomicBool,
    early_failures: AtomicU32,
    encrypts: Answer,
    only_tls12: AtomicBool,
    board: Arc<Board>,
}

const UNKNOWN: u8 = 0;
const EPSV_WORKS: u8 = 1;
const PASV_NEXT: u8 = 2;
const PASV_WORKS: u8 = 3;

/// Yes or no, or nobody has tried yet.
#[derive(Debug, Default)]
struct Answer(AtomicU8);

impl Answer {
    const YES: u8 = 1;
    const NO: u8 = 2;

    fn get(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            Self::YES => Some(true),
            Self::NO => Some(false),
            _ => None,
        }
    }

    fn set(&self, yes: bool) {
        let value = if yes { Self::YES } else { Self::NO };
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Experience {
    /// Where all that concerns this server is reported.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// What FEAT promised, once a session has asked.
    pub fn features(&self) -> Option<&Arc<Features>> {
        self.features.get()
    }

    pub(super) fn learn_features(&self, features: Arc<Features>) -> Arc<Features> {
        Arc::clone(self.features.get_or_init(|| features))
    }

    /// The server's first words.
    pub fn greeting(&self) -> Option<&str> {
        self.greeting.get().map(String::as_str)
    }

    pub(super) fn learn_greeting(&self, reply: &Reply) {
        self.greeting.get_or_init(|| reply.to_string());
    }

    /// How data connections are asked for at present, in passive mode.
    pub fn passive_command(&self) -> &'static str {
        self.passive().command().verb()
    }

    /// How the server is told to make them at present, in active mode.
    pub fn active_command(&self) -> &'static str {
        match self.active() {
            Active::Eprt => "EPRT",
            Active::Port => "PORT",
        }
    }

    /// The directory that the login puts us in, once a session has asked.
    ///
    /// # Errors
    /// PWD was refused, or its answer names no absolute path.
    pub fn home(&self) -> Option<Result<RemotePath, FtpError>> {
        self.home.get().map(|home| {
            home.clone()
                .map_err(|what| FtpError::Protocol { verb: "PWD", what })
        })
    }

    pub(super) fn learn_home(&self, home: Result<RemotePath, FtpError>) {
        // The first answer stands; what else a session could say is the same.
        self.home.get_or_init(|| {
            home.map_err(|error| match error {
                FtpError::Protocol { what, .. } => what,
                other => other.to_string(),
            })
        });
    }

    /// Whether the server answers several commands of one segment, all and in order; `None` as
    /// long as nobody has tried ([`Session::probe_pipelining`](super::Session::probe_pipelining)).
    pub fn pipelining(&self) -> Option<bool> {
        self.pipelining.get()
    }

    /// What the probe has shown.
    pub fn learn_pipelining(&self, works: bool) {
        self.pipelining.set(works);
    }

    /// Whether a login whose commands went out in groups came to nothing.
    pub(super) fn minds_groups(&self) -> bool {
        self.minds_groups.load(Ordering::Relaxed)
    }

    pub(super) fn learn_minds_groups(&self) {
        self.minds_groups.store(true, Ordering::Relaxed);
    }

    /// Whether a line feed alone ends a command too; `None` as long as nobody has tried.
    pub(super) fn line_feeds(&self) -> Option<bool> {
        self.line_feeds.get()
    }

    pub(super) fn learn_line_feeds(&self, enough: bool) {
        self.line_feeds.set(enough);
    }

    /// How many data connections that were made ahead were of no use when they were needed. One that was
    /// made before the last of these is not relied on.
    pub(super) fn early_failures(&self) -> u32 {
        self.early_failures.load(Ordering::Relaxed)
    }

    pub(super) fn early_one_failed(&self) {
        self.early_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether AUTH TLS leads to encryption; `None` as long as nobody has tried.
    pub fn encrypts(&self) -> Option<bool> {
        self.encrypts.get()
    }

    pub(super) fn learn_encrypts(&self, works: bool) {
        self.encrypts.set(works);
    }

    /// Whether TLS 1.3 has failed: servers that want each data connection to resume a session run out of tickets
    /// (vsftpd, ProFTPD).
    pub fn is_limited_to_tls12(&self) -> bool {
        self.only_tls12.load(Ordering::Relaxed)
    }

    pub(super) fn limit_to_tls12(&self) {
        if !self.only_tls12.swap(true, Ordering::Relaxed) {
            log::info!(
                "the server refuses data connections that resume no session; going on with TLS 1.2"
            );
        }
    }

    pub(super) fn active(&self) -> Active {
        if self.refuses_eprt.load(Ordering::Relaxed) {
            Active::Port
        } else {
            Active::Eprt
        }
    }

    /// EPRT was refused and PORT was not: never again.
    pub(super) fn eprt_is_refused(&self) {
        self.refuses_eprt.store(true, Ordering::Relaxed);
    }

    /// Whether the server connects to us at the transfer command, and not at EPRT already, so that both may go out
    /// together; `None` as long as nobody has tried.
    pub(super) fn connects_late(&self) -> Option<bool> {
        self.connects_late.get()
    }

    pub(super) fn learn_connects_late(&self, late: bool) {
        self.connects_late.set(late);
    }

    pub(super) fn passive(&self) -> Passive {
        match self.passive.load(Ordering::Relaxed) {
            PASV_NEXT | PASV_WORKS => Passive::Pasv,
            _ => Passive::Epsv,
        }
    }

    /// The user wants the address in the reply to PASV obeyed; EPSV tells none.
    pub(super) fn wants_pasv(&self) {
        self.passive.store(PASV_WORKS, Ordering::Relaxed);
    }

    /// EPSV was refused: never again.
    pub(super) fn epsv_is_refused(&self) {
        self.passive.store(PASV_WORKS, Ordering::Relaxed);
    }

    /// A data connection was made this way.
    pub(super) fn data_connection_worked(&self, how: Passive) {
        let value = match how {
            Passive::Epsv => EPSV_WORKS,
            Passive::Pasv => PASV_WORKS,
        };
        self.passive.store(value, Ordering::Relaxed);
    }

    /// A data connection could not be made this way. As long as neither way ever worked, the
    /// other one is tried the next time: boxes that rewrite FTP may know only one of them.
    pub(super) fn data_connection_failed(&self, how: Passive) {
        let (from, to) = match how {
            Passive::Epsv => (UNKNOWN, PASV_NEXT),
            Passive::Pasv => (PASV_NEXT, UNKNOWN),
        };
        let outcome = self
            .passive
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        if outcome.is_err() {
            log::debug!("another session knows better how data connections are made here");
        }
    }
}
