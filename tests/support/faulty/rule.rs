//! Which fault happens when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::wire::How;
use super::{Proxy, Shared};
use crate::support::poll;

/// The commands that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// No command: a client connects, and the server would greet it.
    Connect,
    /// Any command; not [`Verb::Connect`].
    Any,
    /// AUTH; only behind [`Proxy::start_encrypted`] does the proxy answer it.
    Auth,
    /// PBSZ.
    Pbsz,
    /// PROT.
    Prot,
    /// USER.
    User,
    /// PASS.
    Pass,
    /// FEAT.
    Feat,
    /// PWD.
    Pwd,
    /// CWD.
    Cwd,
    /// EPSV.
    Epsv,
    /// PASV.
    Pasv,
    /// EPSV or PASV.
    Passive,
    /// MLSD, LIST or NLST.
    Listing,
    /// RETR.
    Retr,
    /// REST.
    Rest,
    /// STOR.
    Stor,
    /// APPE.
    Appe,
    /// STOR or APPE.
    Upload,
    /// STAT.
    Stat,
    /// SIZE.
    Size,
    /// MDTM.
    Mdtm,
    /// MKD.
    Mkd,
    /// RMD.
    Rmd,
    /// DELE.
    Dele,
    /// RNFR.
    Rnfr,
    /// RNTO.
    Rnto,
    /// Any SITE command.
    Site,
}

impl Verb {
    /// Whether a command of this name is meant.
    pub fn covers(self, name: &str) -> bool {
        let names: &[&str] = match self {
            Verb::Connect => return name.is_empty(),
            Verb::Any => return !name.is_empty(),
            Verb::Auth => &["AUTH"],
            Verb::Pbsz => &["PBSZ"],
            Verb::Prot => &["PROT"],
            Verb::User => &["USER"],
            Verb::Pass => &["PASS"],
            Verb::Feat => &["FEAT"],
            Verb::Pwd => &["PWD"],
            Verb::Cwd => &["CWD"],
            Verb::Epsv => &["EPSV"],
            Verb::Pasv => &["PASV"],
            Verb::Passive => &["EPSV", "PASV"],
            Verb::Listing => &["MLSD", "LIST", "NLST"],
            Verb::Retr => &["RETR"],
            Verb::Rest => &["REST"],
            Verb::Stor => &["STOR"],
            Verb::Appe => &["APPE"],
            Verb::Upload => &["STOR", "APPE"],
            Verb::Stat => &["STAT"],
            Verb::Size => &["SIZE"],
            Verb::Mdtm => &["MDTM"],
            Verb::Mkd => &["MKD"],
            Verb::Rmd => &["RMD"],
            Verb::Dele => &["DELE"],
            Verb::Rnfr => &["RNFR"],
            Verb::Rnto => &["RNTO"],
            Verb::Site => &["SITE"],
        };
        names.contains(&name)
    }
}

/// Whether a command of this name moves data.
pub(super) fn moves_data(name: &str) -> bool {
    Verb::Listing.covers(name) || Verb::Upload.covers(name) || Verb::Retr.covers(name)
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Action {
    // When the command comes, before the server sees it.
    DropBefore(How),
    DropInside,
    Answer(Vec<u8>),
    Endless(Vec<u8>),
    Stall,
    // When its first reply comes.
    DropAfter(How),
    SwallowReply,
    StallReply,
    DripReplies(Duration),
    ForeignAddress([u8; 4]),
    // When its final reply comes.
    AnswerAtEnd(Vec<u8>),
    SwallowFinal,
    DropAtEnd(How),
    // After its final reply.
    DropWhenDone(How),
    SayWhenDone(Vec<u8>),
    // In the handshake that it begins: that of its data connection, or of the control connection after AUTH.
    CutHandshake(How),
    StallHandshake,
    // On its data connection.
    CutData(u64, How),
    StallData(u64),
    DripData(Duration),
    ReplaceData(Vec<u8>),
    EndlessData(Vec<u8>),
}

impl Action {
    /// For the log.
    pub(super) fn shown(&self) -> String {
        let text = match self {
            Action::Answer(bytes) | Action::Endless(bytes) | Action::AnswerAtEnd(bytes) => {
                String::from_utf8_lossy(bytes).trim_end().to_owned()
            }
            other => format!("{other:?}"),
        };
        text.chars().take(80).collect()
    }
}

/// A fault that may happen, and how often it has.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) action: Action,
    verb: Verb,
    path: Option<String>,
    skip: AtomicUsize,
    /// How often it still happens; `usize::MAX` is always.
    left: AtomicUsize,
    hits: AtomicUsize,
    lifted: AtomicBool,
}

impl Rule {
    /// A rule that was drawn, not made: for one command.
    pub(super) fn drawn(action: Action) -> Arc<Self> {
        Arc::new(Self {
            action,
            verb: Verb::Any,
            path: None,
            skip: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            hits: AtomicUsize::new(0),
            lifted: AtomicBool::new(false),
        })
    }

    /// Whether it applies to this command; counts the command if so.
    pub(super) fn takes(&self, name: &str, argument: &str) -> bool {
        let meant = self.verb.covers(name)
            && self
                .path
                .as_ref()
                .is_none_or(|p| argument.ends_with(p.as_str()));
        if !meant || self.is_lifted() {
            return false;
        }
        // One thread asks, so nothing comes between the look and the change.
        let skip = self.skip.load(Ordering::SeqCst);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::SeqCst);
            return false;
        }
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return false;
        }
        if left != usize::MAX {
            self.left.store(left - 1, Ordering::SeqCst);
        }
        true
    }

    pub(super) fn is_lifted(&self) -> bool {
        self.lifted.load(Ordering::SeqCst)
    }

    pub(super) fn lift(&self) {
        self.lifted.store(true, Ordering::SeqCst);
    }

    pub(super) fn has_hit(&self) -> bool {
        self.hits.load(Ordering::SeqCst) > 0
    }

    /// It has happened.
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::SeqCst);
    }
}

/// When a fault is to happen; one of the last group of methods says what it is.
#[must_use]
pub struct When<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) verb: Verb,
    pub(super) path: Option<String>,
    pub(super) skip: usize,
    pub(super) left: usize,
}

impl When<'_> {
    /// Only for the first such command.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Only for so many such commands.
    pub fn times(mut self, count: usize) -> Self {
        self.left = count;
        self
    }

    /// Not for the first `count` such commands.
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Only if the argument of the command ends so.
    pub fn at(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// The control connection ends before the server sees the command.
    pub fn drop_before(self, how: How) -> Fault {
        self.set(Action::DropBefore(how))
    }

    /// The control connection ends when the server has got half of the command.
    pub fn drop_inside(self) -> Fault {
        self.set(Action::DropInside)
    }

    /// The server sees the command and answers; the answer is lost with the control connection.
    pub fn drop_after(self, how: How) -> Fault {
        self.set(Action::DropAfter(how))
    }

    /// As `drop_after`, but it is the final reply: a 1xx before it goes through.
    pub fn drop_at_end(self, how: How) -> Fault {
        self.set(Action::DropAtEnd(how))
    }

    /// The control connection ends when the final reply has gone through: it dies idle.
    pub fn drop_when_done(self, how: How) -> Fault {
        self.set(Action::DropWhenDone(how))
    }

    /// An unasked line follows the final reply.
    pub fn say_when_done(self, line: &str) -> Fault {
        self.set(Action::SayWhenDone(format!("{line}\r\n").into_bytes()))
    }

    /// The first reply does not come; the connection stays.
    pub fn swallow_reply(self) -> Fault {
        self.set(Action::SwallowReply)
    }

    /// The final reply does not come; the connection stays.
    pub fn swallow_final(self) -> Fault {
        self.set(Action::SwallowFinal)
    }

    /// The server does not see the command; this line is the answer. After 421 the connection ends. At
    /// [`Verb::Connect`] the server does not see the client, and the connection ends after any line.
    pub fn answer(self, line: &str) -> Fault {
        self.set(Action::Answer(format!("{line}\r\n").into_bytes()))
    }

    /// As `answer`, with bytes that need be no reply at all.
    pub fn answer_bytes(self, bytes: &[u8]) -> Fault {
        self.set(Action::Answer(bytes.to_vec()))
    }

    /// The answer begins so, and goes on so, until the fault is lifted: the connection then ends.
    pub fn answer_endlessly(self, bytes: &[u8]) -> Fault {
        self.set(Action::Endless(bytes.to_vec()))
    }

    /// This line instead of the final reply, whatever that is.
    pub fn answer_at_end(self, line: &str) -> Fault {
        self.set(Action::AnswerAtEnd(format!("{line}\r\n").into_bytes()))
    }

    /// Nothing goes on from this command on, until the fault is lifted; the server does not see it
    /// before. At [`Verb::Connect`]: a black hole that accepts and says nothing.
    pub fn stall(self) -> Fault {
        self.set(Action::Stall)
    }

    /// The server sees the command; the answer is held back until the fault is lifted.
    pub fn stall_reply(self) -> Fault {
        self.set(Action::StallReply)
    }

    /// From this answer on, all of this connection come byte by byte, until the fault is lifted.
    pub fn drip_replies(self, every: Duration) -> Fault {
        self.set(Action::DripReplies(every))
    }

    /// 227 names this address, with the right port.
    pub fn foreign_address(self, address: [u8; 4]) -> Fault {
        self.set(Action::ForeignAddress(address))
    }

    /// The server does not answer the client's part of the handshake: the connection ends. For AUTH that is the
    /// control connection, else the data connection.
    pub fn cut_handshake(self, how: How) -> Fault {
        self.set(Action::CutHandshake(how))
    }

    /// As `cut_handshake`, but nothing comes until the fault is lifted.
    pub fn stall_handshake(self) -> Fault {
        self.set(Action::StallHandshake)
    }

    /// `count` bytes of the data go through; where another would follow, the data connection ends on
    /// both sides. With [`How::Rst`] the last of these bytes may be lost, too, as in real life.
    pub fn cut_data_after(self, count: u64, how: How) -> Fault {
        self.set(Action::CutData(count, how))
    }

    /// `count` bytes of the data go through, and the others when the fault is lifted. It happens when there are others.
    pub fn stall_data_after(self, count: u64) -> Fault {
        self.set(Action::StallData(count))
    }

    /// The data comes byte by byte.
    pub fn drip_data(self, every: Duration) -> Fault {
        self.set(Action::DripData(every))
    }

    /// These bytes instead of what the server sends.
    pub fn data_instead(self, bytes: &[u8]) -> Fault {
        self.set(Action::ReplaceData(bytes.to_vec()))
    }

    /// These bytes, again and again, until the fault is lifted, instead of what the server sends.
    pub fn endless_data(self, bytes: &[u8]) -> Fault {
        self.set(Action::EndlessData(bytes.to_vec()))
    }

    fn set(self, action: Action) -> Fault {
        let rule = Arc::new(Rule {
            action,
            verb: self.verb,
            path: self.path,
            skip: AtomicUsize::new(self.skip),
            left: AtomicUsize::new(self.left),
            hits: AtomicUsize::new(0),
            lifted: AtomicBool::new(false),
        });
        let shared = Arc::clone(&self.proxy.shared);
        shared.state.lock().unwrap().rules.push(Arc::clone(&rule));
        Fault { rule, shared }
    }
}

/// A fault that was set. Dropping this does not lift it.
#[derive(Clone)]
pub struct Fault {
    rule: Arc<Rule>,
    shared: Arc<Shared>,
}

impl Fault {
    /// How often it has happened.
    pub fn hits(&self) -> usize {
        self.rule.hits.load(Ordering::SeqCst)
    }

    /// It does not happen any more, and what it holds goes on.
    pub fn lift(&self) {
        self.rule.lift();
        let mut state = self.shared.state.lock().unwrap();
        state.rules.retain(|rule| !Arc::ptr_eq(rule, &self.rule));
        state.lifted.push(Arc::clone(&self.rule));
        drop(state);
        self.shared.wake();
    }

    /// Waits until it has happened.
    ///
    /// # Panics
    /// When it does not within `limit`.
    #[track_caller]
    pub fn happens_within(&self, limit: Duration) {
        poll::until(limit, "the fault happens", || self.hits() > 0);
    }
}
