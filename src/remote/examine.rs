//! What is to be said of a server: what it tells of itself, and what asking has shown. Nothing is changed on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use super::profile::{Ability, Zone};
use super::{Remote, RemoteError};
use crate::ftp::listing::{Entry, EntryKind, Precision};
use crate::ftp::{ListCommand, RemotePath};
use crate::net::Established;
use crate::pool::Need;
use crate::status::Behaviour;

/// For people.
#[derive(Debug, Clone)]
pub struct Findings {
    /// Its first words.
    pub greeting: String,
    /// Where it was reached.
    pub peer: SocketAddr,
    /// The shortest time between a command and its reply.
    pub round_trip: Option<Duration>,
    /// The encryption in use.
    pub encryption: Option<Established>,
    /// What it answers to FEAT.
    pub features: Vec<String>,
    /// Whether it answers several commands of one segment.
    pub pipelining: bool,
    /// The server opens the data connections.
    pub active: bool,
    /// By which command data connections come about: EPSV, PASV, EPRT, PORT.
    pub data: &'static str,
    /// What the listing was asked by.
    pub listing: ListCommand,
    /// Entries of the folder.
    pub entries: usize,
    /// Lines of its listing that could not be understood.
    pub unparsed: usize,
    /// How many connections the server takes at a time, up to as many as may be opened.
    pub connections: usize,
    /// It has refused a further one.
    pub is_full: bool,
    /// How exactly the listing of the folder tells the times of files; `None` if there are none.
    pub precision: Option<Precision>,
    /// Whether SIZE and MDTM are answered for a file of the folder; `None` if there is none.
    pub version: Option<(bool, bool)>,
    /// How far the clock of its listings is ahead of UTC, in seconds, where that had to be found out.
    pub clock: Option<i32>,
    /// Bytes.
    pub free: Option<u64>,
}

/// A server that does not answer a further login for so long is taken to allow no more.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lacks that are told, each by the command that is missing.
const TOLD: [(Ability, &str); 10] = [
    (Ability::Mlsd, "MLSD"),
    (Ability::Size, "SIZE"),
    (Ability::Mdtm, "MDTM"),
    (Ability::Mfmt, "MFMT"),
    (Ability::MdtmSet, "MDTM to set times"),
    (Ability::Chmod, "SITE CHMOD"),
    (Ability::Avbl, "AVBL"),
    (Ability::Append, "APPE"),
    (Ability::RenameOver, "RNTO over a file"),
    (Ability::Patch, "REST with STOR"),
];

impl Remote {
    /// What has been learned of the server so far. Asks nobody.
    pub fn behaviour(&self) -> Behaviour {
        let experience = self.pool.experience();
        let lists = experience
            .features()
            .map(|features| self.usual_listing(features));
        let lacks = |(ability, name): &(Ability, &str)| {
            self.profile.lacks(*ability).then(|| (*name).to_owned())
        };
        let command = match self.active {
            true => experience.active_command(),
            false => experience.passive_command(),
        };
        Behaviour {
            listing: lists.map(|command| command.to_string()),
            several_commands_at_once: experience.pipelining(),
            data: lists.map(|_| command.to_owned()),
            active: self.active,
            clock: lists.and_then(|command| self.listing_clock(command)),
            lacks: TOLD.iter().filter_map(lacks).collect(),
        }
    }

    /// Asks the server what it is and can, and lists `dir`.
    ///
    /// # Errors
    /// No session could be had, or `dir` cannot be listed.
    pub fn examine(&self, dir: &RemotePath) -> Result<Findings, RemoteError> {
        // First, because an answer of no costs the session.
        let pipelining = self.repeat("NOOP", |mut lease, _| {
            let known = lease.experience().pipelining();
            Ok(known.unwrap_or_else(|| lease.probe_pipelining()))
        })?;
        let listing = self.list(dir)?;
        let is_file = |entry: &&Entry| entry.kind == EntryKind::File;
        let file = listing.entries.iter().find(is_file);
        let precision = file.map(|file| file.modified.map_or(Precision::Day, |m| m.precision));
        let version = match file.and_then(|file| dir.join(&file.name).ok()) {
            Some(path) => {
                let asked = self.version(&path);
                let time = asked.as_ref().is_ok_and(|v| v.modified.is_some());
                Some((asked.is_ok() && !self.profile.lacks(Ability::Size), time))
            }
            None => None,
        };
        let free = self.available_space(dir);
        let (connections, is_full) = self.most_connections();
        self.repeat("NOOP", |lease, _| {
            let command = self.usual_listing(lease.features());
            Ok(Findings {
                greeting: lease.experience().greeting().unwrap_or_default().to_owned(),
                peer: lease.peer(),
                round_trip: lease.round_trip(),
                encryption: lease.encryption(),
                features: lease.features().names(),
                pipelining,
                active: lease.data_mode().0,
                data: lease.data_mode().1,
                listing: command,
                entries: listing.entries.len(),
                unparsed: listing.unparsed,
                connections,
                is_full,
                precision,
                version,
                clock: self.listing_clock(command),
                free,
            })
        })
    }

    /// How far the clock of its listings is ahead of UTC, in seconds, where that is told or was found out.
    fn listing_clock(&self, command: ListCommand) -> Option<i32> {
        match (command, self.zone.get(), self.profile.zone()) {
            (ListCommand::Mlsd, ..) => None,
            (_, Some(zone), _) => Some(zone.offset_at(SystemTime::now())),
            (_, None, Zone::Known(offset)) => Some(offset),
            _ => None,
        }
    }

    /// Opens connections until the server refuses one, or no more may be opened; all are kept meanwhile.
    fn most_connections(&self) -> (usize, bool) {
        let mut held = Vec::new();
        let allowed = || self.connections().allowed;
        let before = allowed();
        while held.len() < allowed() {
            match self.lease(Need::Command, Instant::now() + PATIENCE) {
                Ok(lease) => held.push(lease),
                Err(error) => {
                    log::debug!("no further connection: {error}");
                    return (held.len(), true);
                }
            }
        }
        (held.len(), allowed() < before)
    }
}
