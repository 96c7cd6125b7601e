//! `env_logger` set-up; secrets are never printed.
//!
//! In the foreground lines go to standard error. A mount in the background writes there until it is
//! mounted, then to the system log (`/dev/log`, which journald reads as well), or all the
//! time to a file. `RUST_LOG` overrides the level. Passwords have a type without `Display`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use env_logger::{Builder, Target};
use log::{Level, LevelFilter, Record};

/// What is logged, and where.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Unless `RUST_LOG` says otherwise.
    pub level: LevelFilter,
    /// Standard error is there to stay, and lines carry a time.
    pub foreground: bool,
    /// Instead of standard error and system log; appended to.
    pub file: Option<PathBuf>,
}

/// Standard error is gone: lines go to the system log.
static DETACHED: AtomicBool = AtomicBool::new(false);

/// Starts logging, once.
///
/// # Errors
/// The log file cannot be opened, with its path.
pub fn start(config: &LogConfig) -> io::Result<()> {
    let plain = !config.foreground && config.file.is_none();
    let sink: Box<dyn Write + Send> = match &config.file {
        None => Box::new(Sink { syslog: None }),
        Some(path) => {
            let file = File::options().append(true).create(true).open(path);
            Box::new(file.map_err(|e| io::Error::other(format!("{}: {e}", path.display())))?)
        }
    };
    let mut builder = Builder::new();
    builder.filter_level(config.level);
    builder.parse_env("RUST_LOG");
    builder.target(Target::Pipe(sink));
    builder.format(move |out, record| {
        // fuser logs every request at debug level.
        if record.target().starts_with("fuser") && record.level() > Level::Info {
            return Ok(());
        }
        match plain {
            true if DETACHED.load(Ordering::Relaxed) => {
                writeln!(out, "{}{}", syslog_head(record), record.args())
            }
            true => writeln!(out, "ftpfs: {}: {}", word(record.level()), record.args()),
            false => {
                let time = out.timestamp_millis();
                writeln!(
                    out,
                    "{time} {:5} {}: {}",
                    record.level(),
                    record.target(),
                    record.args()
                )
            }
        }
    });
    builder.try_init().map_err(io::Error::other)
}

/// From now on standard error is not there any more.
pub fn detach() {
    DETACHED.store(true, Ordering::Relaxed);
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "note",
        Level::Debug | Level::Trace => "debug",
    }
}

/// Priority and tag as syslog(3) sends them to `/dev/log` (RFC 3164 section 4.1, without time
/// and host, which the daemon adds).
fn syslog_head(record: &Record<'_>) -> String {
    /// The facility of system daemons.
    const DAEMON: u8 = 3;
    let severity = match record.level() {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    format!("<{}>ftpfs[{}]: ", DAEMON * 8 + severity, std::process::id())
}

/// Standard error, and the system log once that is gone.
struct Sink {
    syslog: Option<UnixDatagram>,
}

impl Sink {
    /// Never waits, and never fails: a line that the system log does not take is lost.
    fn send(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if let Some(socket) = &self.syslog
            && socket.send(line).is_ok()
        {
            return;
        }
        // Not connected yet, or the daemon was started anew.
        self.syslog = connect().ok();
        if let Some(socket) = &self.syslog {
            drop(socket.send(line));
        }
    }
}

fn connect() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect("/dev/log")?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Write for Sink {
    /// One call is one line: env_logger hands over whole records.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !DETACHED.load(Ordering::Relaxed) {
            return io::stderr().write(line);
        }
        self.send(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
