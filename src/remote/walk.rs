//! Listing many directories in few round trips: STAT in batches, where that tells all that a listing
//! over a data connection would.

use std::time::{Duration, Instant, SystemTime};

use super::list::first_of_each_name;
use super::profile::Ability;
use super::{Listing, Remote, RemoteError};
use crate::ftp::listing::{Entry, EntryKind, ListingClock, ListingFormat, ParsedListing, parse};
use crate::ftp::{FtpError, RemotePath, Session};
use crate::pool::{Lease, Need};

/// Larger directories are worth a data connection of their own, where servers say what they leave out
/// (Pure-FTPd: behind 10,000 names) and where facts come with the names.
const MAX_ENTRIES: usize = 2000;

/// A batch that takes longer has gone wrong: what it was to tell is asked in other ways then.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for the first, which may be the answer of a server that knows no listings by STAT.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);

/// From so many directories on it pays to enter the one that they share.
const FEW: usize = 4;

/// So many directories are worth a session of their own, and so many sessions work for one walk.
const WORTH_A_SESSION: usize = 32;
const MOST_PARTS: usize = 3;

/// So many batches that told nothing, one after the other, and there are no more; and where none has
/// told anything yet.
const USELESS: u8 = 6;
const FIRST_USELESS: u8 = 2;

impl Remote {
    /// Whether [`Remote::list_many`] may tell anything, as far as is known.
    pub fn lists_many(&self) -> bool {
        !self.profile.lacks(Ability::Walk)
    }

    /// Whether [`Remote::list_many`] was seen to tell all in one round trip, where a listing over a data connection may
    /// need two (vsftpd's final reply is a round trip late).
    pub fn lists_at_once(&self) -> bool {
        self.lists_many() && self.profile.is_proven(Ability::WalkAtOnce)
    }

    /// The entries of many directories, each as [`Remote::list`] would tell them; `None` for those that
    /// have to be listed one by one: the server has not told all, or perhaps not the truth.
    ///
    /// # Errors
    /// No session could be had.
    pub fn list_many(&self, dirs: &[RemotePath]) -> Result<Vec<Option<Listing>>, RemoteError> {
        let mut found: Vec<_> = dirs.iter().map(|_| None).collect();
        let entering = !self.profile.lacks(Ability::WalkEntering);
        let base = if entering && dirs.len() >= FEW {
            common_base(dirs)
        } else {
            RemotePath::root()
        };
        let fits = |dir: &RemotePath| {
            Session::fits_a_batch(dir) && (entering || Session::needs_no_entering(&base, dir))
        };
        let (places, asked): (Vec<_>, Vec<_>) = dirs
            .iter()
            .enumerate()
            .filter(|(_, dir)| fits(dir))
            .map(|(place, dir)| (place, dir.clone()))
            .unzip();
        if asked.is_empty() || !self.lists_many() {
            return Ok(found);
        }
        let size = asked.len().div_ceil(self.parts(asked.len()));
        let listings = std::thread::scope(|threads| {
            let mut parts = asked.chunks(size);
            let first = parts.next().unwrap_or_default();
            let others: Vec<_> = parts
                .map(|part| {
                    let other = std::thread::Builder::new()
                        .name("ftpfs-walk".into())
                        .spawn_scoped(threads, || self.list_part(&base, part));
                    (part.len(), other)
                })
                .collect();
            let mut listings = self.list_part(&base, first)?;
            for (count, other) in others {
                // What another session could not tell is asked one by one.
                match other.map(|thread| thread.join()) {
                    Ok(Ok(Ok(mut part))) => listings.append(&mut part),
                    _ => listings.extend((0..count).map(|_| None)),
                }
            }
            Ok::<_, RemoteError>(listings)
        })?;
        for (place, listing) in places.into_iter().zip(listings) {
            found[place] = listing;
        }
        Ok(found)
    }

    /// How many sessions share the work, if others leave them; one stays for whoever comes next.
    fn parts(&self, directories: usize) -> usize {
        if !self.profile.is_proven(Ability::Walk) {
            return 1;
        }
        let most = self.spare_sessions().min(directories / WORTH_A_SESSION);
        most.clamp(1, MOST_PARTS)
    }

    /// A batch on one session.
    fn list_part(
        &self,
        base: &RemotePath,
        dirs: &[RemotePath],
    ) -> Result<Vec<Option<Listing>>, RemoteError> {
        let nothing = || dirs.iter().map(|_| None).collect();
        let limit = self.deadline();
        let mut lease = self.lease(Need::Command, limit)?;
        let together = lease.experience().pipelining();
        if !together.unwrap_or_else(|| lease.probe_pipelining()) {
            self.profile.learn_lack(Ability::Walk);
            return Ok(nothing());
        }
        let known = self.profile.is_proven(Ability::Walk);
        let patience = if known { PATIENCE } else { FIRST_PATIENCE };
        // Enough is left for the other ways.
        let patience = patience.min(self.timeout / 2);
        lease.set_limit(Some(limit.min(Instant::now() + patience)));
        match self.walk(&mut lease, base, dirs) {
            Ok(listings) => {
                self.count_progress();
                if listings.iter().any(Option::is_some) {
                    self.profile.walk_was_useful();
                } else {
                    let enough = if known { USELESS } else { FIRST_USELESS };
                    self.profile.walk_was_useless(enough);
                }
                Ok(listings)
            }
            Err(error) => {
                log::info!("{} directories at once: {error}; one by one", dirs.len());
                if matches!(error, FtpError::Protocol { verb: "CWD", .. }) {
                    // A message of many lines.
                    self.profile.learn_lack(Ability::WalkEntering);
                } else {
                    self.profile
                        .walk_was_useless(if known { USELESS } else { 1 });
                }
                Ok(nothing())
            }
        }
    }

    fn walk(
        &self,
        lease: &mut Lease,
        base: &RemotePath,
        dirs: &[RemotePath],
    ) -> Result<Vec<Option<Listing>>, FtpError> {
        let fetched = SystemTime::now();
        let told = lease.list_many(base, dirs)?;
        let by_facts = self.lists_by_mlsd(lease);
        let mut found = Vec::with_capacity(dirs.len());
        for (dir, told) in dirs.iter().zip(told) {
            let Some(bytes) = told else {
                found.push(None);
                continue;
            };
            let parsed = if by_facts {
                // Times come with the facts.
                let clock = ListingClock {
                    now: fetched,
                    utc_offset: 0,
                };
                parse(ListingFormat::List, &bytes, clock)
            } else {
                self.parse_list(lease, dir, &bytes)
            };
            let believed = believed(dir, parsed, by_facts);
            found.push(believed.filter(|entries| !self.has_links_to_follow(entries)));
        }
        if by_facts {
            add_facts(lease, base, dirs, &mut found)?;
        } else if found.iter().any(Option::is_some) {
            self.profile.learn_proven(Ability::WalkAtOnce);
        }
        let listing = |entries| Listing {
            entries,
            unparsed: 0,
            fetched,
        };
        Ok(found.into_iter().map(|e| e.map(listing)).collect())
    }
}

/// The directory that all of these are in, at some depth.
fn common_base(dirs: &[RemotePath]) -> RemotePath {
    let mut base = dirs.first().and_then(RemotePath::parent);
    while let Some(dir) = base.as_ref()
        && !dirs.iter().all(|d| d.starts_with(dir) && d != dir)
    {
        base = dir.parent();
    }
    base.unwrap_or_else(RemotePath::root)
}

/// The entries, if every line was understood. Where MLSD is the usual listing they must be such that it
/// would tell the same: ProFTPD leaves links out that lead nowhere, and hides what pipes are.
fn believed(dir: &RemotePath, parsed: ParsedListing, by_facts: bool) -> Option<Vec<Entry>> {
    if !parsed.unparsed.is_empty() || parsed.entries.len() > MAX_ENTRIES {
        return None;
    }
    let before = parsed.entries.len();
    let entries = first_of_each_name(dir, parsed.entries);
    let ordinary = |e: &Entry| matches!(e.kind, EntryKind::File | EntryKind::Directory);
    let same = !by_facts || entries.iter().all(ordinary);
    (entries.len() == before && same).then_some(entries)
}

/// Replaces what STAT told of each name by what MLSD would have told; a directory with a name of which
/// nothing is told, or another kind, is not known.
fn add_facts(
    lease: &mut Lease,
    base: &RemotePath,
    dirs: &[RemotePath],
    found: &mut [Option<Vec<Entry>>],
) -> Result<(), FtpError> {
    let mut paths = Vec::new();
    for (dir, entries) in dirs.iter().zip(found.iter_mut()) {
        let below: Option<Vec<_>> = entries.as_ref().and_then(|entries| {
            let below = entries.iter().map(|entry| dir.join(&entry.name).ok());
            below
                .map(|path| path.filter(Session::fits_a_batch))
                .collect()
        });
        match below {
            Some(mut below) => paths.append(&mut below),
            None => *entries = None,
        }
    }
    let mut facts = Vec::with_capacity(paths.len());
    let mut names = paths.iter().map(RemotePath::name);
    lease.facts_of_many(base, &paths, |line| {
        let name = names.next().unwrap_or_default();
        facts.push(line.and_then(|line| entry_of(line, name)));
    })?;
    let mut facts = facts.into_iter();
    for known in found.iter_mut() {
        let Some(entries) = known else { continue };
        let exact: Vec<_> = facts.by_ref().take(entries.len()).collect();
        let agrees = |(told, exact): (&Entry, &Option<Entry>)| {
            exact.as_ref().is_some_and(|e| e.kind == told.kind)
        };
        *known = if entries.len() == exact.len() && entries.iter().zip(&exact).all(agrees) {
            exact.into_iter().collect()
        } else {
            None
        };
    }
    Ok(())
}

/// The entry of `name` by the line that MLST gives of it: facts as in MLSD, and then whatever path the
/// server calls it by.
fn entry_of(line: &[u8], name: &[u8]) -> Option<Entry> {
    let end = line.windows(2).position(|pair| pair == b"; ")? + 2;
    let line = [&line[..end], name].concat();
    let clock = ListingClock {
        now: SystemTime::UNIX_EPOCH,
        utc_offset: 0,
    };
    let mut parsed = parse(ListingFormat::Mlsd, &line, clock);
    let entry = parsed.entries.pop()?;
    (parsed.entries.is_empty() && entry.name == name).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_a_name_whatever_the_path() {
        let line = b"modify=20240229235959;size=7;type=file;perm=r;UNIX.mode=0644; /x; y/z";
        let entry = entry_of(line, b"a; b").unwrap();
        assert_eq!((&entry.name[..], entry.size), (&b"a; b"[..], Some(7)));
        assert_eq!(entry.kind, EntryKind::File);
        assert!(entry_of(b"type=cdir; /x", b"x").is_none());
        assert!(entry_of(b"no facts", b"x").is_none());
    }

    #[test]
    fn only_what_is_understood_is_believed() {
        let clock = ListingClock {
            now: SystemTime::UNIX_EPOCH,
            utc_offset: 0,
        };
        let dir = RemotePath::root();
        let a = "-rw-r--r-- 1 u g 1 Jan 1 1970 a\r\n";
        let link = "lrwxrwxrwx 1 u g 1 Jan 1 1970 l -> a\r\n";
        for (lines, by_facts, names) in [
            (String::new(), true, Some(0)),
            (a.into(), true, Some(1)),
            (format!("{a}{a}"), false, None),
            (format!("{a}rest of a name\r\n"), false, None),
            (format!("{a}{link}"), false, Some(2)),
            (format!("{a}{link}"), true, None),
        ] {
            let parsed = parse(ListingFormat::List, lines.as_bytes(), clock);
            let found = believed(&dir, parsed, by_facts).map(|entries| entries.len());
            assert_eq!(found, names, "{lines}");
        }
    }
}
