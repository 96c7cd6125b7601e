//! A report for people.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::board::unix_seconds;
use super::report::{Connection, Connections, Efficiency, ErrorLine, Phase, Report, Server};

/// So many files of a kind are named; the others are counted.
const SHOWN: usize = 10;

/// Bytes in the unit that leaves at most four digits: 1.5 MiB.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "one digit behind the point is shown"
    )]
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// One line: how busy the mount is.
pub fn summary(report: &Report) -> String {
    let state = match report.phase {
        Phase::Mounted => "mounted",
        Phase::Ending => "unmounting",
    };
    let away = match report.away {
        Some(_) => ", the server is away",
        None => "",
    };
    let mut text = format!(
        "{state}{away}, {} of {} connections busy, {} received, {} sent",
        report.connections.busy,
        report.connections.allowed,
        bytes(report.received),
        bytes(report.sent)
    );
    if report.staged_files > 0 {
        text += &format!(
            ", {} with {} to be stored",
            files(report.staged_files),
            bytes(report.staged_bytes)
        );
    }
    text
}

fn files(count: usize) -> String {
    match count {
        1 => "1 file".into(),
        count => format!("{count} files"),
    }
}

fn time(seconds: f64) -> String {
    let all = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let seconds = all.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", all.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Text(f);
        text.line(
            "mount",
            format_args!("{} on {}", self.source, self.mountpoint),
        )?;
        text.line("state", format_args!("{}", state(self)))?;
        match &self.server {
            Some(server) => text.server(server)?,
            None => text.line("server", format_args!("not connected yet"))?,
        }
        if let Some(why) = &self.away {
            text.line("away", format_args!("{why}"))?;
        }
        let profile = profile(self);
        if !profile.is_empty() {
            text.line("profile", format_args!("{profile}"))?;
        }
        text.connections(&self.connections)?;
        text.line(
            "traffic",
            format_args!(
                "{} received, {} sent; {} requests, {} failed",
                bytes(self.received),
                bytes(self.sent),
                self.requests,
                self.failures
            ),
        )?;
        text.share("listings", self.listings, "from memory")?;
        text.share("reads", self.reads, "from memory")?;
        text.used("readahead", self.readahead)?;
        text.share("files ahead", self.files_ahead, "of them opened")?;
        for one in self.downloads.iter().take(SHOWN) {
            let size = one.size.map_or_else(|| "?".to_owned(), bytes);
            let at = bytes(one.bytes);
            text.line("reading", format_args!("{}: at {at} of {size}", one.path))?;
        }
        for one in self.staged.iter().take(SHOWN) {
            let why = if one.failed { ", failed before" } else { "" };
            let (sent, size) = (bytes(one.sent), bytes(one.size));
            let line = format_args!("{}: {sent} of {size} sent{why}", one.path);
            text.line("to be stored", line)?;
        }
        if self.staged_files > SHOWN {
            let more = files(self.staged_files - SHOWN);
            text.line("to be stored", format_args!("and {more} more"))?;
        }
        for one in self.kept.iter().take(SHOWN) {
            let line = format_args!("{}: {} in {}", one.path, bytes(one.size), one.copy);
            text.line("not stored", line)?;
        }
        if let Some(command) = &self.recover {
            text.line("not stored", format_args!("after unmounting: {command}"))?;
        }
        self.errors.iter().try_for_each(|error| text.error(error))
    }
}

fn state(report: &Report) -> String {
    let phase = match report.phase {
        Phase::Mounted => "mounted for",
        Phase::Ending => "unmounting, was mounted for",
    };
    format!("{phase} {}, process {}", time(report.seconds), report.pid)
}

fn profile(report: &Report) -> String {
    let known = &report.behaviour;
    let mut parts = Vec::new();
    parts.extend(known.listing.clone());
    parts.extend(known.data.as_ref().map(|command| {
        let mode = if known.active { "active" } else { "passive" };
        format!("{mode} mode by {command}")
    }));
    parts.extend(known.several_commands_at_once.map(|yes| {
        let how = if yes { "several at once" } else { "one by one" };
        format!("commands {how}")
    }));
    parts.extend(known.clock.map(|s| format!("its clock {s:+} s from UTC")));
    if !known.lacks.is_empty() {
        parts.push(format!("without {}", known.lacks.join(", ")));
    }
    parts.join(", ")
}

/// Lines of a name and a value, with nothing in them that moves the cursor.
struct Text<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Text<'_, '_> {
    fn line(&mut self, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        write!(self.0, "{name:<13}")?;
        for c in value.to_string().chars() {
            match c.is_control() {
                true => write!(self.0, "{}", c.escape_default())?,
                false => self.0.write_char(c)?,
            }
        }
        self.0.write_char('\n')
    }

    fn server(&mut self, server: &Server) -> fmt::Result {
        let time = server.round_trip_ms.map(|ms| format!(", {ms:.2} ms away"));
        let time = time.unwrap_or_default();
        let line = format_args!("{} at {}{time}", server.greeting, server.address);
        self.line("server", line)?;
        let print = server.certificate.as_ref();
        let print = print.map(|print| format!(", certificate SHA-256 {print}"));
        let tls = server.encryption.as_deref().unwrap_or("none");
        self.line(
            "encryption",
            format_args!("{tls}{}", print.unwrap_or_default()),
        )
    }

    fn connections(&mut self, connections: &Connections) -> fmt::Result {
        let Connections {
            live,
            idle,
            allowed,
            each,
            ..
        } = connections;
        self.line(
            "connections",
            format_args!("{live}, {idle} of them unused, at most {allowed}"),
        )?;
        each.iter().try_for_each(|one| self.connection(one))
    }

    fn connection(&mut self, connection: &Connection) -> fmt::Result {
        let since = time(connection.seconds);
        match &connection.doing {
            None => self.line("", format_args!("rests since {since}")),
            Some(doing) => {
                let data = match doing.bytes {
                    0 => String::new(),
                    count => format!(", {}", bytes(count)),
                };
                let what = [&*doing.verb, &*doing.path].join(" ");
                self.line("", format_args!("{}{data}, for {since}", what.trim_end()))
            }
        }
    }

    fn share(&mut self, name: &str, share: Efficiency, what: &str) -> fmt::Result {
        match share.percent {
            None => Ok(()),
            Some(percent) => {
                let all = share.hits + share.misses;
                self.line(name, format_args!("{percent}% of {all} {what}"))
            }
        }
    }

    fn used(&mut self, name: &str, share: Efficiency) -> fmt::Result {
        match share.percent {
            None => Ok(()),
            Some(percent) => {
                let all = bytes(share.hits + share.misses);
                self.line(name, format_args!("{percent}% of {all} fetched were read"))
            }
        }
    }

    fn error(&mut self, error: &ErrorLine) -> fmt::Result {
        let ErrorLine {
            when,
            operation,
            path,
            errno,
            said,
        } = error;
        #[expect(
            clippy::cast_precision_loss,
            reason = "an age in seconds, far below 2^53"
        )]
        let ago = time(unix_seconds().saturating_sub(*when) as f64);
        let line = format_args!("{ago} ago: {operation} {path}: {errno}: {said}");
        self.line("error", line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        for (count, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536 << 10, "1.5 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn nothing_that_a_server_says_moves_the_cursor() {
        let report = Report {
            server: Some(Server {
                greeting: "220 \x1b[2Jhello".into(),
                ..Server::default()
            }),
            ..Report::default()
        };
        let text = report.to_string();
        assert!(text.contains("220 \\u{1b}[2Jhello"), "{text}");
        assert!(!text.contains('\x1b'));
    }
}
