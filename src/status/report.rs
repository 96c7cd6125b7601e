//! `Report`: all that is told of a mount, as JSON has it.

use serde::{Deserialize, Serialize};

/// A mount. Times are seconds, sizes bytes; what is not known is absent or null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The version of the program that serves the mount.
    pub version: String,
    /// Where it is.
    pub mountpoint: String,
    /// What is mounted: the address without a password.
    pub source: String,
    /// The process.
    pub pid: u32,
    /// How long it has been mounted.
    pub seconds: f64,
    /// Whether it is being taken away.
    pub phase: Phase,
    /// Who the server is; absent before the first login.
    pub server: Option<Server>,
    /// Why it cannot be reached now; absent while it can.
    pub away: Option<String>,
    /// What is known of its ways.
    pub behaviour: Behaviour,
    /// The control connections.
    pub connections: Connections,
    /// Requests of the kernel.
    pub requests: u64,
    /// Those that failed, but for the ordinary (no such file).
    pub failures: u64,
    /// Bytes of all data connections from the server, listings included.
    pub received: u64,
    /// The same, to the server.
    pub sent: u64,
    /// Listings answered from memory.
    pub listings: Efficiency,
    /// Reads answered from memory.
    pub reads: Efficiency,
    /// Bytes fetched that were read.
    pub readahead: Efficiency,
    /// Small files fetched ahead that were opened.
    pub files_ahead: Efficiency,
    /// Files that are being read.
    pub downloads: Vec<Transfer>,
    /// Files that the server does not have yet, at most 1000 of them.
    pub staged: Vec<Staged>,
    /// How many of them there are.
    pub staged_files: usize,
    /// Their bytes that are not sent yet.
    pub staged_bytes: u64,
    /// Files that could not be stored, and are kept on this machine.
    pub kept: Vec<Kept>,
    /// What stores them once this mount is gone; absent if nothing is kept.
    pub recover: Option<String>,
    /// The last errors, the newest last.
    pub errors: Vec<ErrorLine>,
}

/// What becomes of a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// In use.
    #[default]
    Mounted,
    /// Being taken away, or gone and storing what is left.
    Ending,
}

/// The server, by the last login.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Its first words.
    pub greeting: String,
    /// Where it was reached.
    pub address: String,
    /// The version of TLS; absent without encryption.
    pub encryption: Option<String>,
    /// SHA-256 of its certificate.
    pub certificate: Option<String>,
    /// The shortest time between a command and its reply, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// What it answers to FEAT.
    pub features: Vec<String>,
}

/// What has been learned of the server's ways.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Behaviour {
    /// What lists a directory.
    pub listing: Option<String>,
    /// It answers several commands of one segment.
    pub several_commands_at_once: Option<bool>,
    /// By which command data connections come about.
    pub data: Option<String>,
    /// The server opens the data connections.
    pub active: bool,
    /// How far the clock of its listings is ahead of UTC, in seconds.
    pub clock: Option<i32>,
    /// Commands and options that it turned out to lack.
    pub lacks: Vec<String>,
}

/// The control connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connections {
    /// Logged in or about to be.
    pub live: usize,
    /// Of these, unused.
    pub idle: usize,
    /// Waiting for a reply or for data.
    pub busy: usize,
    /// Never more than this.
    pub allowed: usize,
    /// Each of them.
    pub each: Vec<Connection>,
}

/// A control connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// How long it has done this, or nothing.
    pub seconds: f64,
    /// What; absent if it rests.
    pub doing: Option<Doing>,
}

/// A command that has no final reply yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doing {
    /// Such as RETR.
    pub verb: String,
    /// What it is about.
    pub path: String,
    /// Of data, so far.
    pub bytes: u64,
}

/// How often something was of use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Efficiency {
    /// This often.
    pub hits: u64,
    /// And this often not.
    pub misses: u64,
    /// Hits in hundred; absent where nothing was tried.
    pub percent: Option<f64>,
}

impl Efficiency {
    /// Of both counts.
    pub fn of(hits: u64, misses: u64) -> Self {
        let all = hits + misses;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share for people: beyond 2^53 its last digits do not matter"
        )]
        let percent = (all > 0).then(|| (hits as f64 / all as f64 * 1000.0).round() / 10.0);
        Self {
            hits,
            misses,
            percent,
        }
    }
}

/// A file that is being read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// On the server.
    pub path: String,
    /// How far it is, from the beginning of the file.
    pub bytes: u64,
    /// Of how many, if that is known.
    pub size: Option<u64>,
    /// Since when.
    pub seconds: f64,
}

/// A file that the server does not have yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// On the server.
    pub path: String,
    /// Its size as programs see it.
    pub size: u64,
    /// Bytes that are sent, from the beginning on.
    pub sent: u64,
    /// It is closed, and an upload of it has failed; it is tried again at the end.
    pub failed: bool,
}

/// A file that could not be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it belongs.
    pub path: String,
    /// Its size.
    pub size: u64,
    /// The local file that has its bytes.
    pub copy: String,
}

/// An error that a program was told, or the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorLine {
    /// Seconds since 1970.
    pub when: u64,
    /// Such as `read`.
    pub operation: String,
    /// Of which file.
    pub path: String,
    /// Such as `EACCES`.
    pub errno: String,
    /// Why, with the server's words.
    pub said: String,
}

/// How a mount has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The exit status of the process: 0 if everything is stored.
    pub code: u8,
    /// Why not.
    pub message: String,
}

impl Report {
    /// For programs.
    ///
    /// # Errors
    /// None that these types can cause.
    pub fn json(reports: &[Self], one: bool) -> std::io::Result<String> {
        let text = match reports {
            [report] if one => serde_json::to_string_pretty(report),
            reports => serde_json::to_string_pretty(reports),
        };
        Ok(text? + "\n")
    }
}
