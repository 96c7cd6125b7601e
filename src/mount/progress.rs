//! What is under way, drawn on a terminal; a line now and then where there is none.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{
    HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};

use crate::status::{Report, summary};

/// Where nothing can be drawn, so often a line is written.
const LINES: Duration = Duration::from_secs(1);
/// More bars than this do not fit.
const BARS: usize = 12;

/// A line for each mount, and a bar for each transfer.
pub(super) struct Progress {
    screen: MultiProgress,
    /// By mountpoint.
    heads: BTreeMap<String, ProgressBar>,
    /// By mountpoint, direction and path.
    bars: BTreeMap<(String, bool, String), ProgressBar>,
    /// Nothing can be drawn; when the last line was written.
    plain: Option<Option<Instant>>,
}

impl Progress {
    pub(super) fn on_stdout() -> Self {
        let plain = !io::stdout().is_terminal();
        Self::on(ProgressDrawTarget::stdout(), plain)
    }

    /// Draws on a terminal only.
    pub(super) fn on_stderr() -> Self {
        Self::on(ProgressDrawTarget::stderr(), false)
    }

    fn on(target: ProgressDrawTarget, plain: bool) -> Self {
        Self {
            screen: MultiProgress::with_draw_target(target),
            heads: BTreeMap::new(),
            bars: BTreeMap::new(),
            plain: plain.then_some(None),
        }
    }

    /// Shows how things stand now.
    ///
    /// # Errors
    /// Nobody reads the lines.
    pub(super) fn show(&mut self, reports: &[Report]) -> io::Result<()> {
        if let Some(last) = &mut self.plain {
            if last.is_none_or(|last| last.elapsed() >= LINES) {
                *last = Some(Instant::now());
                return write_lines(reports);
            }
            return Ok(());
        }
        self.heads.retain(|place, head| {
            let stays = reports.iter().any(|report| report.mountpoint == *place);
            if !stays {
                head.finish_and_clear();
            }
            stays
        });
        let mut shown = BTreeMap::new();
        for report in reports {
            let head = self
                .heads
                .entry(report.mountpoint.clone())
                .or_insert_with(|| {
                    self.screen
                        .add(ProgressBar::new_spinner())
                        .with_style(head())
                });
            head.set_message(format!(
                "{}: {}",
                plain(&report.mountpoint),
                summary(report)
            ));
            head.tick();
            for (up, path, at, size) in transfers(report).take(BARS) {
                let key = (report.mountpoint.clone(), up, path.to_owned());
                let bar = self.bars.remove(&key).unwrap_or_else(|| {
                    let bar = ProgressBar::new(0).with_style(style()).with_position(at);
                    let bar = self.screen.insert_after(head, bar);
                    bar.reset_eta();
                    bar.with_message(format!("{} {}", if up { "↑" } else { "↓" }, shorter(path)))
                });
                bar.set_length(size.unwrap_or(at).max(at));
                bar.set_position(at);
                shown.insert(key, bar);
            }
        }
        for bar in std::mem::replace(&mut self.bars, shown).into_values() {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
        Ok(())
    }

    /// Leaves nothing on the screen.
    pub(super) fn end(&mut self) {
        let bars = std::mem::take(&mut self.bars).into_values();
        let heads = std::mem::take(&mut self.heads).into_values();
        bars.chain(heads).for_each(|bar| bar.finish_and_clear());
    }
}

/// Whether it goes up, the path, how far it is, and of how many bytes.
fn transfers(report: &Report) -> impl Iterator<Item = (bool, &str, u64, Option<u64>)> {
    let up = report.staged.iter();
    let up = up.map(|one| (true, one.path.as_str(), one.sent, Some(one.size)));
    let down = report.downloads.iter();
    up.chain(down.map(|one| (false, one.path.as_str(), one.bytes, one.size)))
}

fn write_lines(reports: &[Report]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for report in reports {
        writeln!(out, "{}: {}", plain(&report.mountpoint), summary(report))?;
        for (up, path, at, size) in transfers(report).take(BARS) {
            let way = if up {
                "to the server"
            } else {
                "from the server"
            };
            let size = size.map_or_else(|| "?".to_owned(), |size| size.to_string());
            writeln!(out, "  {way}: {}: {at} of {size} bytes", plain(path))?;
        }
    }
    out.flush()
}

fn head() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "  {msg:40!} {bar:20} {bytes:>10} of {total_bytes:>10} {binary_bytes_per_sec:>12} {left:>4}",
    )
    .map(|style| style.with_key("left", time_left))
    .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What stands still has no end in sight.
fn time_left(state: &ProgressState, out: &mut dyn fmt::Write) {
    let written = match state.per_sec() >= 1.0 {
        true => write!(out, "{:#}", HumanDuration(state.eta())),
        false => out.write_str("-"),
    };
    // The style has no place for an error, and a string none to fail.
    written.unwrap_or_default();
}

/// The end of a path tells more than its beginning.
fn shorter(path: &str) -> String {
    const MOST: usize = 36;
    let count = path.chars().count();
    match count > MOST {
        true => plain(path)
            .chars()
            .skip(count - MOST)
            .fold("…".into(), |mut text: String, c| {
                text.push(c);
                text
            }),
        false => plain(path),
    }
}

/// Nothing in a name moves the cursor.
fn plain(path: &str) -> String {
    path.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_paths_the_end_is_shown() {
        assert_eq!(shorter("/a\x1b/b"), "/a?/b");
        let long = format!("/{}/the-end", "x".repeat(80));
        let short = shorter(&long);
        assert_eq!(short.chars().count(), 37);
        assert!(
            short.starts_with('…') && short.ends_with("/the-end"),
            "{short}"
        );
    }
}
