//! Directory listings: the bytes of MLSD or LIST made into entries.
//!
//! `parse` splits the bytes into lines. Lines of MLSD go to `mlsd`; lines of LIST go through the
//! ordered parsers of `list`, one file per form, each of which says "not mine", "mine but bad" or
//! gives an entry. Everything here is a function of its input: no clock, no socket, no log.

mod list;
mod mlsd;
mod unix;
mod dos;
mod eplf;
mod netware;
mod connect_enterprise;
mod os2;
mod vxworks;
mod vshell;
mod ibmi;
mod nonstop;
mod mvs;
mod vms;
mod date;
mod months;
mod time;
mod zone;
mod line;

use std::time::SystemTime;

use line::Outcome;
use time::Clock;
pub use zone::ListingZone;

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, pipe, socket, or something that only the server understands.
    Other,
}

/// How much of a time the listing told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// The calendar day of the server; the time is its midnight in UTC, whatever the zone.
    Day,
    /// The minute.
    Minute,
    /// The second.
    Second,
    /// A fraction of a second.
    Subsecond,
}

/// The modification time of an entry, as exact as the server told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modified {
    /// UTC.
    pub time: SystemTime,
    /// What of `time` was told; the rest is zero.
    pub precision: Precision,
}

/// One line of a listing, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name in its directory: never empty, `.`, `..`, nor with `/`, NUL, CR or LF inside, at most 1024 bytes.
    pub name: Vec<u8>,
    /// File, directory, link or other.
    pub kind: EntryKind,
    /// Bytes of a file; `None` if the listing gives no exact size (directories and links too).
    pub size: Option<u64>,
    /// `None` if the listing tells no time, or an impossible one.
    pub modified: Option<Modified>,
    /// Permission bits, the low 12; `None` if not told.
    pub mode: Option<u16>,
    /// Where a symbolic link points, if the listing tells. A link that is shown as what it leads to has one as well,
    /// which may be empty.
    pub target: Option<Vec<u8>>,
    /// The `perm` fact of MLSD (RFC 3659 section 7.5.5), lower case; `None` if not told.
    pub perm: Option<String>,
}

impl Entry {
    /// Whether it is a link that is shown as what it leads to.
    pub fn is_followed_link(&self) -> bool {
        self.target.is_some() && self.kind != EntryKind::Symlink
    }

    /// Whether it is a file whose time is known to the minute at best.
    pub fn lacks_seconds(&self) -> bool {
        let exact = |m: Modified| m.precision >= Precision::Second;
        self.kind == EntryKind::File && !self.modified.is_some_and(exact)
    }
}

/// Which command the bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingFormat {
    /// MLSD: facts and names (RFC 3659 section 7).
    Mlsd,
    /// LIST: whatever the server's author liked.
    List,
}

/// What a LIST does not say of its times.
#[derive(Debug, Clone, Copy)]
pub struct ListingClock {
    /// The moment the listing arrived: decides the year where none is given.
    pub now: SystemTime,
    /// Seconds that the server's wall clock is ahead of UTC.
    pub utc_offset: i32,
}

/// A listing, parsed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ParsedListing {
    /// In the order of the server, and with its duplicates.
    pub entries: Vec<Entry>,
    /// Lines that nobody understood or that name nothing a directory can hold, for the log.
    /// Headers, totals, `.` and `..` are not among them, but the header of a second directory is:
    /// what stands below it is left out.
    pub unparsed: Vec<Vec<u8>>,
}

/// Parses a whole listing. No line can make it fail.
pub fn parse(format: ListingFormat, bytes: &[u8], clock: ListingClock) -> ParsedListing {
    match format {
        ListingFormat::Mlsd => {
            let mut listing = ParsedListing::default();
            for line in line::lines(bytes).filter(|line| !line.is_empty()) {
                match mlsd::entry(line) {
                    Outcome::Entry(entry) => listing.entries.push(entry),
                    Outcome::Skip => {}
                    _ => listing.unparsed.push(line.to_vec()),
                }
            }
            listing
        }
        ListingFormat::List => list::parse(bytes, &Clock::new(clock)),
    }
}

/// Parses a LIST that arrived `now` and whose times are those of `zone`. No line can make it fail.
pub fn parse_in_zone(bytes: &[u8], now: SystemTime, zone: &ListingZone) -> ParsedListing {
    list::parse(bytes, &Clock::in_zone(now, zone.clone()))
}
