//! `ServerProfile`: what we have learned of this server, so that it is asked once.
//!
//! Only behaviour counts here, never the brand: administrators change greetings.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::ftp::ListCommand;

/// Something that servers may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ability {
    Mlsd,
    Size,
    Mdtm,
    Mfmt,
    MdtmSet,
    Chmod,
    /// SITE UMASK, and that what is made then has a mode of that.
    Umask,
    Mff,
    Symlink,
    Avbl,
    Append,
    /// RNTO over an existing file.
    RenameOver,
    /// REST and STOR into the middle of a file, leaving what lies behind.
    Patch,
    /// Answers each of the commands behind the end of an upload.
    Behind,
    /// Listings by STAT, many in one batch.
    Walk,
    /// Tells by STAT alone all that a listing of its own would.
    WalkAtOnce,
    /// STAT for paths that have to be entered first.
    WalkEntering,
    /// Answers them only after the final reply to the upload.
    InOrder,
    /// Names that end in a blank.
    TrailingBlanks,
    /// Names with control characters.
    ControlCharacters,
    /// Names with bytes that begin a command of Telnet.
    TelnetCommands,
    /// Names with a byte 255 that begins no command of Telnet.
    Byte255,
    /// Names with `"`.
    Quotes,
    /// Names that are not UTF-8.
    AnyBytes,
}

/// What the server cannot do, and other facts. All methods take `&self`; nothing waits.
#[derive(Debug, Default)]
pub(super) struct ServerProfile {
    lacking: AtomicU32,
    proven: AtomicU32,
    list: AtomicU8,
    refused_times: AtomicU8,
    useless_walks: AtomicU8,
    zone: Mutex<Zone>,
    /// The sessions' own, where SITE UMASK tells it.
    pub(super) umask: OnceLock<u16>,
    pub(super) unparsed: Throttle,
}

/// How far the server's wall clock is ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// Tried this many times in vain.
    Unknown(u8),
    /// Seconds.
    Known(i32),
}

impl Default for Zone {
    fn default() -> Self {
        Self::Unknown(0)
    }
}

const LIST_ALL: u8 = 1;
const LIST_PLAIN: u8 = 2;

impl ServerProfile {
    pub(super) fn lacks(&self, ability: Ability) -> bool {
        self.lacking.load(Ordering::Relaxed) & bit(ability) != 0
    }

    pub(super) fn learn_lack(&self, ability: Ability) {
        let before = self.lacking.fetch_or(bit(ability), Ordering::Relaxed);
        if before & bit(ability) == 0 {
            log::debug!("the server has no {ability:?}; not asking again");
        }
    }

    /// Seen to do what it says.
    pub(super) fn is_proven(&self, ability: Ability) -> bool {
        self.proven.load(Ordering::Relaxed) & bit(ability) != 0
    }

    pub(super) fn learn_proven(&self, ability: Ability) {
        self.proven.fetch_or(bit(ability), Ordering::Relaxed);
    }

    /// A refusal of MDTM with two arguments that may have been one of its form or one of this file:
    /// so many before any was accepted are of its form.
    pub(super) fn time_was_refused(&self) {
        const ENOUGH: u8 = 3;
        if self.refused_times.fetch_add(1, Ordering::Relaxed) + 1 >= ENOUGH {
            self.learn_lack(Ability::MdtmSet);
        }
    }

    /// A batch of STAT has told nothing; so many one after the other, or the first ones, and there are
    /// no more.
    pub(super) fn walk_was_useless(&self, enough: u8) {
        if self.useless_walks.fetch_add(1, Ordering::Relaxed) + 1 >= enough {
            self.learn_lack(Ability::Walk);
        }
    }

    pub(super) fn walk_was_useful(&self) {
        self.useless_walks.store(0, Ordering::Relaxed);
        self.learn_proven(Ability::Walk);
    }

    /// Which LIST to use without MLSD, and whether that is settled.
    pub(super) fn list_command(&self) -> (ListCommand, bool) {
        match self.list.load(Ordering::Relaxed) {
            LIST_ALL => (ListCommand::ListAll, true),
            LIST_PLAIN => (ListCommand::List, true),
            _ => (ListCommand::ListAll, false),
        }
    }

    pub(super) fn learn_list_command(&self, command: ListCommand) {
        let value = match command {
            ListCommand::List => LIST_PLAIN,
            _ => LIST_ALL,
        };
        self.list.store(value, Ordering::Relaxed);
    }

    pub(super) fn zone(&self) -> Zone {
        *self.zone.lock()
    }

    pub(super) fn learn_zone(&self, offset: i32) {
        *self.zone.lock() = Zone::Known(offset);
    }

    /// After this often in vain UTC it is.
    pub(super) fn zone_not_found(&self) {
        let mut zone = self.zone.lock();
        *zone = match *zone {
            Zone::Unknown(tries) if tries < 5 => Zone::Unknown(tries + 1),
            Zone::Unknown(_) => Zone::Known(0),
            known => known,
        };
    }
}

fn bit(ability: Ability) -> u32 {
    1 << (ability as u32)
}

/// Lets one message through each minute.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    pub(super) fn may_speak(&self) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|at| at.elapsed() > Duration::from_secs(60));
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_stays() {
        let profile = ServerProfile::default();
        assert!(!profile.lacks(Ability::Mlsd));
        profile.learn_lack(Ability::Mlsd);
        assert!(profile.lacks(Ability::Mlsd) && !profile.lacks(Ability::Size));
        assert_eq!(profile.list_command(), (ListCommand::ListAll, false));
        profile.learn_list_command(ListCommand::List);
        assert_eq!(profile.list_command(), (ListCommand::List, true));
    }

    #[test]
    fn the_zone_is_given_up_after_a_while() {
        let profile = ServerProfile::default();
        for _ in 0..6 {
            assert!(matches!(profile.zone(), Zone::Unknown(_)));
            profile.zone_not_found();
        }
        assert_eq!(profile.zone(), Zone::Known(0));
        profile.learn_zone(3600);
        profile.zone_not_found();
        assert_eq!(profile.zone(), Zone::Known(3600));
    }
}
