//! Listing a directory: MLSD, else `LIST -a`, else LIST.

use std::collections::HashSet;
use std::time::{Instant, SystemTime};

use super::error::meaning;
use super::profile::{Ability, Zone};
use super::received::Received;
use super::zone::keep_exact;
use super::{ErrorKind, Remote, RemoteError};
use crate::ftp::listing::{
    Entry, EntryKind, ListingClock, ListingFormat, ParsedListing, parse, parse_in_zone,
};
use crate::ftp::{Features, FtpError, ListCommand, RemotePath, Transfer, printable};
use crate::pool::{Lease, Need};

/// A server that sends byte after byte for ever is left after this many timeouts.
const MAX_TIMEOUTS: u32 = 20;
/// How often "not found" is not believed when it comes after the 150.
const LATE_REFUSALS: u32 = 4;

/// A directory as the server told it.
#[derive(Debug)]
pub struct Listing {
    /// In the order of the server, each name once; some with exact times where the listing alone tells none.
    pub entries: Vec<Entry>,
    /// Lines that could not be understood, and were left out.
    pub unparsed: usize,
    /// When the server was asked.
    pub fetched: SystemTime,
}

impl Remote {
    /// The entries of `dir`, by MLSD, else `LIST -a`, else LIST (learned once); with [`Remote::follow_links`]
    /// links as what they lead to.
    /// A listing that was cut is an error. Names of our own temporary files are included.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such directory, also on
    /// servers that answer an empty listing (checked by CWD); `NotDirectory` for a file.
    pub fn list(&self, dir: &RemotePath) -> Result<Listing, RemoteError> {
        let fetched = SystemTime::now();
        let parsed = self.repeat("LIST", |lease, _| self.list_once(lease, dir))?;
        let unparsed = parsed.unparsed.len();
        if unparsed > 0 && self.profile.unparsed.may_speak() {
            for line in parsed.unparsed.iter().take(5) {
                let shown = &line[..line.len().min(300)];
                log::warn!(
                    "{dir}: cannot read this line of the listing: {}",
                    printable(shown)
                );
            }
            log::warn!("{dir}: {unparsed} lines of the listing cannot be read");
        }
        let mut entries = first_of_each_name(dir, parsed.entries);
        if self.has_links_to_follow(&entries) {
            // One whose target does not answer must not hide all others.
            if let Err(error) = self.follow_all(dir, &mut entries) {
                log::warn!("{dir}: links stay links: {error}");
            }
        }
        Ok(Listing {
            entries,
            unparsed,
            fetched,
        })
    }

    /// One entry, from the listing of its directory, and now.
    ///
    /// # Errors
    /// `NotFound`; what listing the directory fails with.
    pub fn entry(&self, path: &RemotePath) -> Result<Entry, RemoteError> {
        let dir = path.parent().unwrap_or_else(RemotePath::root);
        let entries = self.list(&dir)?.entries;
        found(entries, path)
    }

    /// The target of a symbolic link, for servers whose MLSD does not tell it but whose LIST does
    /// (ProFTPD, Pure-FTPd).
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` where no listing of the server tells.
    pub fn link_target(&self, path: &RemotePath) -> Result<Vec<u8>, RemoteError> {
        let dir = path.parent().unwrap_or_else(RemotePath::root);
        let parsed = self.repeat("LIST", |lease, _| self.list_by_list(lease, &dir))?;
        found(parsed.entries, path)?.target.ok_or_else(|| {
            let message = format!("{path}: the server does not tell where it leads");
            RemoteError::found(ErrorKind::Unsupported, message)
        })
    }

    fn list_once(&self, lease: Lease, dir: &RemotePath) -> Result<ParsedListing, FtpError> {
        if self.lists_by_mlsd(&lease) {
            match self.fetch(lease, ListCommand::Mlsd, dir) {
                Err(e) if self.learn_if_unknown(Ability::Mlsd, &e) => {
                    return self.list_by_list(self.another(&e)?, dir);
                }
                Err(e) => return Err(e),
                Ok((mut lease, bytes)) => {
                    let clock = ListingClock {
                        now: SystemTime::now(),
                        utc_offset: 0,
                    };
                    let parsed = parse(ListingFormat::Mlsd, &bytes, clock);
                    if may_be_no_directory(dir, &bytes, &parsed) {
                        lease.enter(dir)?;
                    }
                    return Ok(parsed);
                }
            }
        }
        self.list_by_list(lease, dir)
    }

    pub(super) fn lists_by_mlsd(&self, lease: &Lease) -> bool {
        self.usual_listing(lease.features()) == ListCommand::Mlsd
    }

    /// How a server that offers this is asked, as far as is known.
    pub(super) fn usual_listing(&self, features: &Features) -> ListCommand {
        let offered = features.has("MLST") || features.has("MLSD");
        match offered && !self.profile.lacks(Ability::Mlsd) {
            true => ListCommand::Mlsd,
            false => self.profile.list_command().0,
        }
    }

    /// CWD goes first here, so an empty listing is that of an empty directory.
    fn list_by_list(&self, lease: Lease, dir: &RemotePath) -> Result<ParsedListing, FtpError> {
        let (command, settled) = self.profile.list_command();
        let (mut lease, bytes) = if settled {
            self.fetch(lease, command, dir)?
        } else {
            self.choose_list(lease, dir)?
        };
        Ok(self.parse_list(&mut lease, dir, &bytes))
    }

    /// `LIST -a` shows dot files; but for some servers `-a` is a name.
    fn choose_list(&self, lease: Lease, dir: &RemotePath) -> Result<(Lease, Vec<u8>), FtpError> {
        let lease = match self.fetch(lease, ListCommand::ListAll, dir) {
            Ok((lease, bytes)) if !bytes.is_empty() => {
                self.profile.learn_list_command(ListCommand::ListAll);
                return Ok((lease, bytes));
            }
            Ok((lease, _)) => lease,
            Err(e @ FtpError::Refused { verb: "LIST", .. }) => self.another(&e)?,
            Err(e) => return Err(e),
        };
        let (lease, bytes) = self.fetch(lease, ListCommand::List, dir)?;
        if !bytes.is_empty() {
            self.profile.learn_list_command(ListCommand::List);
        }
        Ok((lease, bytes))
    }

    /// A session after a refusal that has given the last one back to the pool.
    fn another(&self, refusal: &FtpError) -> Result<Lease, FtpError> {
        log::debug!("{refusal}: asking in another way, or again");
        let limit = self.deadline();
        let mut lease = self.lease(Need::Data, limit).map_err(|e| {
            log::debug!("{e}");
            FtpError::Broken { verb: "LIST" }
        })?;
        lease.set_limit(Some(limit));
        Ok(lease)
    }

    /// The bytes of a listing, confirmed by a final 2xx. One that ends in the middle of a line may have
    /// been cut all the same, and is asked for once more: only the same again is believed.
    fn fetch(
        &self,
        lease: Lease,
        command: ListCommand,
        dir: &RemotePath,
    ) -> Result<(Lease, Vec<u8>), FtpError> {
        let (lease, bytes) = self.fetch_settled(lease, command, dir)?;
        if is_whole(&bytes) {
            return Ok((lease, bytes));
        }
        log::info!("{dir}: the listing ends in the middle of a line; asking once more");
        let (lease, again) = self.fetch_settled(lease, command, dir)?;
        if is_whole(&again) || again == bytes {
            return Ok((lease, again));
        }
        Err(FtpError::TransferBroke {
            verb: "LIST",
            source: std::io::ErrorKind::UnexpectedEof.into(),
        })
    }

    /// libunftp refuses the whole listing, after its 150, when one of the names goes while it makes it:
    /// that says nothing of the directory, until it is said again and again.
    fn fetch_settled(
        &self,
        mut lease: Lease,
        command: ListCommand,
        dir: &RemotePath,
    ) -> Result<(Lease, Vec<u8>), FtpError> {
        let mut again = LATE_REFUSALS;
        loop {
            match self.drain(Transfer::list(lease, command, dir)?) {
                Err(e) if again > 0 && meaning(&e) == ErrorKind::NotFound => {
                    again -= 1;
                    lease = self.another(&e)?;
                }
                drained => return drained,
            }
        }
    }

    fn drain(&self, mut transfer: Transfer<Lease>) -> Result<(Lease, Vec<u8>), FtpError> {
        let began = Instant::now();
        let patience = self.timeout.saturating_mul(MAX_TIMEOUTS);
        let mut received = Received::default();
        let mut buf = vec![0; 64 * 1024];
        loop {
            let count = transfer.read(&mut buf)?;
            if count == 0 {
                break;
            }
            received.take(&buf[..count], began.elapsed() > patience)?;
        }
        let bytes = received.into_bytes();
        if is_whole(&bytes) {
            transfer.prepare_next();
        }
        let (mut lease, reply) = transfer.finish(self.timeout)?;
        // Pure-FTPd: "226 Output truncated to 10000 matches" (LimitRecursion).
        if reply.mentions(&["truncated"]) {
            let limit = bytes.iter().filter(|byte| **byte == b'\n').count();
            return Err(FtpError::TooLarge {
                what: "the directory, of which the server lists only a part,",
                limit,
            });
        }
        lease.set_limit(Some(self.deadline()));
        Ok((lease, bytes))
    }

    pub(super) fn parse_list(
        &self,
        lease: &mut Lease,
        dir: &RemotePath,
        bytes: &[u8],
    ) -> ParsedListing {
        if let Some(zone) = self.zone.get() {
            return parse_in_zone(bytes, SystemTime::now(), zone);
        }
        let mut clock = ListingClock {
            now: SystemTime::now(),
            utc_offset: 0,
        };
        if let Zone::Known(offset) = self.profile.zone() {
            clock.utc_offset = offset;
            return parse(ListingFormat::List, bytes, clock);
        }
        let parsed = parse(ListingFormat::List, bytes, clock);
        let (offset, exact) = self.learn_zone(lease, dir, &parsed.entries, clock.now);
        let mut parsed = match offset {
            Some(offset) if offset != 0 => {
                clock.utc_offset = offset;
                parse(ListingFormat::List, bytes, clock)
            }
            _ => parsed,
        };
        keep_exact(&mut parsed.entries, &exact);
        parsed
    }
}

/// Each line of a listing has its end (RFC 959 section 5.3.2: as in a file of type ASCII).
fn is_whole(listing: &[u8]) -> bool {
    listing.is_empty() || listing.ends_with(b"\n")
}

/// pyftpdlib and libunftp list a file as an empty directory, uftpd as itself; and a missing
/// directory is empty for some.
fn may_be_no_directory(dir: &RemotePath, bytes: &[u8], parsed: &ParsedListing) -> bool {
    match &parsed.entries[..] {
        [] => !bytes.contains(&b';'),
        [only] => only.kind == EntryKind::File && only.name == dir.name(),
        _ => false,
    }
}

fn found(entries: Vec<Entry>, path: &RemotePath) -> Result<Entry, RemoteError> {
    let entry = entries.into_iter().find(|entry| entry.name == path.name());
    entry.ok_or_else(|| RemoteError::found(ErrorKind::NotFound, format!("{path}: not listed")))
}

pub(super) fn first_of_each_name(dir: &RemotePath, mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut keep = {
        let mut seen = HashSet::with_capacity(entries.len());
        let keep: Vec<_> = entries.iter().map(|e| seen.insert(&e.name[..])).collect();
        keep.into_iter()
    };
    let before = entries.len();
    entries.retain(|_| keep.next().unwrap_or(true));
    if entries.len() < before {
        let more = before - entries.len();
        log::debug!("{dir}: {more} names are listed twice; the first of each counts");
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, size: u64) -> Entry {
        Entry {
            name: name.into(),
            kind: EntryKind::File,
            size: Some(size),
            modified: None,
            mode: None,
            target: None,
            perm: None,
        }
    }

    #[test]
    fn the_first_of_two_equal_names_counts() {
        let entries = vec![entry("a", 1), entry("b", 2), entry("a", 3)];
        let kept = first_of_each_name(&RemotePath::root(), entries);
        assert_eq!(kept, [entry("a", 1), entry("b", 2)]);
    }

    #[test]
    fn what_may_be_no_directory_is_checked() {
        let dir = RemotePath::parse(b"/a/f").unwrap();
        let listing = |entries| ParsedListing {
            entries,
            unparsed: Vec::new(),
        };
        assert!(may_be_no_directory(&dir, b"", &listing(vec![])));
        let itself = b"type=cdir; /a/f\r\n";
        assert!(!may_be_no_directory(&dir, itself, &listing(vec![])));
        let only = listing(vec![entry("f", 1)]);
        assert!(may_be_no_directory(&dir, b"type=file; f\r\n", &only));
    }
}
