//! A control connection: commands one way, replies the other, each looked at on its way.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;
use rustls::ServerConfig;

use super::data::Channel;
use super::lines::{passive_port, reply_length, split};
use super::rule::{Action, Rule, moves_data};
use super::tls;
use super::wire::{End, How, ROOM, connect};
use super::{Encryption, Shared};

/// Longer lines and replies are not looked at any more: the connection ends.
const MAX: usize = 1 << 20;

/// A command whose final reply has not come.
struct Asked {
    name: String,
    rules: Vec<Arc<Rule>>,
    /// Its first reply has been looked at.
    begun: bool,
    /// The server has not been asked: this is the answer.
    instead: Option<Instead>,
}

enum Instead {
    Bytes(Vec<u8>),
    /// What is the proxy's affair, and no fault: rules hold for it as for the server's replies.
    Own(&'static [u8]),
    Endless(Vec<u8>, Arc<Rule>),
}

/// A command, or a greeting, that a rule holds back.
struct Held {
    line: Vec<u8>,
    rules: Vec<Arc<Rule>>,
    by: Arc<Rule>,
}

/// One control connection.
pub(super) struct Conversation {
    number: usize,
    /// Where the client came to.
    own: IpAddr,
    client: End,
    /// None until the greeting is asked for, and when the server is not to see this client.
    server: Option<End>,
    address: SocketAddr,
    /// Clients are to encrypt.
    tls: Option<Arc<ServerConfig>>,
    commands: Vec<u8>,
    replies: Vec<u8>,
    asked: VecDeque<Asked>,
    held: Option<Held>,
    /// To be dropped now.
    over: Option<How>,
    /// To be dropped when all is sent to the client.
    last: bool,
    /// Why replies come byte by byte.
    dripping: Option<Arc<Rule>>,
    /// A final reply waits for its data to be through.
    awaits_data: bool,
    /// The data connection that the next transfer gets, or the last one got.
    pub(super) channel: Option<Channel>,
    /// Data connections before that, as long as they live.
    pub(super) former: Vec<Channel>,
}

impl Conversation {
    /// A client has come; `rules` are those for its greeting.
    pub(super) fn new(
        number: usize,
        client: TcpStream,
        address: SocketAddr,
        rules: Vec<Arc<Rule>>,
        shared: &Shared,
    ) -> std::io::Result<Self> {
        let own = client.local_addr()?.ip();
        let mut conversation = Self {
            number,
            own,
            client: End::new(client)?,
            server: None,
            address,
            tls: tls::config(shared.encryption),
            commands: Vec::new(),
            replies: Vec::new(),
            asked: VecDeque::new(),
            held: None,
            over: None,
            last: false,
            dripping: None,
            awaits_data: false,
            channel: None,
            former: Vec::new(),
        };
        if shared.encryption == Encryption::Implicit
            && let Some(config) = &conversation.tls
        {
            conversation.client.start_tls(config, &[])?;
        }
        conversation.take(Vec::new(), rules, shared);
        Ok(conversation)
    }

    /// Ends it; it is to be dropped then.
    pub(super) fn drop_now(&mut self, how: How) {
        self.end(how);
    }

    /// No command is under way.
    pub(super) fn is_idle(&self) -> bool {
        let is_quiet = self.asked.is_empty() && self.held.is_none() && self.commands.is_empty();
        is_quiet && !self.client.is_handshaking()
    }

    /// Sends bytes of our own to the client at once.
    pub(super) fn say_now(&mut self, bytes: &[u8]) {
        self.say(bytes);
        // An end that is gone is found so by the next move.
        _ = self.client.flush();
    }

    fn say(&mut self, bytes: &[u8]) {
        self.client.push(bytes);
        self.last |= bytes.starts_with(b"421");
    }

    /// Moves what can be moved. False when it is over.
    pub(super) fn pump(&mut self, shared: &Shared) -> bool {
        if self.dripping.take_if(|rule| rule.is_lifted()).is_some() {
            self.client.drip_no_more();
        }
        let shakes = self.client.is_handshaking();
        let torn = self.read().is_err();
        if let Some(version) = self.client.version().filter(|_| shakes) {
            shared.note(|| format!("{} < {version:?}", self.number));
        }
        loop {
            let resumed = self.resume(shared);
            let commanded = self.next_command(shared);
            let answered = self.next_answer(shared);
            if self.over.is_some() || !(resumed || commanded || answered) {
                break;
            }
        }
        let torn = torn || self.flush().is_err();
        if let Some(how) = self.over {
            self.end(how);
            return false;
        }
        let server_gone = self.server.as_ref().is_some_and(|server| server.eof);
        if server_gone && reply_length(&self.replies).is_none() {
            let half = std::mem::take(&mut self.replies);
            self.client.push(&half);
            self.last = true;
        }
        let all_said = self.last && self.client.waiting() == 0;
        if torn || self.client.eof || all_said {
            self.end(if torn { How::Rst } else { How::Close });
            return false;
        }
        true
    }

    fn end(&mut self, how: How) {
        if let Some(server) = &mut self.server {
            server.end(how);
        }
        self.client.end(how);
    }

    fn read(&mut self) -> std::io::Result<()> {
        let mut buf = vec![0; ROOM];
        if self.client.is_stalled() {
            self.client.eof = self.client.has_left();
        }
        while self.commands.len() < MAX && !self.client.eof {
            match self.client.read(&mut buf) {
                Ok(Some(count)) if count > 0 => self.commands.extend_from_slice(&buf[..count]),
                Ok(_) => break,
                // Without close_notify: no command is half done for that.
                Err(_) if self.client.eof => break,
                Err(e) => return Err(e),
            }
        }
        if let Some(server) = &mut self.server {
            while self.replies.len() < MAX && !server.eof && self.client.waiting() < ROOM {
                match server.read(&mut buf)? {
                    Some(count) if count > 0 => self.replies.extend_from_slice(&buf[..count]),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.client.flush()?;
        if let Some(server) = &mut self.server {
            server.flush()?;
        }
        Ok(())
    }

    /// What was held back goes on once its rule is lifted.
    fn resume(&mut self, shared: &Shared) -> bool {
        if !self.held.as_ref().is_some_and(|held| held.by.is_lifted()) {
            return false;
        }
        if let Some(held) = self.held.take() {
            self.take(held.line, held.rules, shared);
        }
        true
    }

    fn next_command(&mut self, shared: &Shared) -> bool {
        if self.held.is_some() || self.last {
            return false;
        }
        let Some(end) = self.commands.iter().position(|b| *b == b'\n') else {
            if self.commands.len() >= MAX {
                self.over = Some(How::Rst);
            }
            return false;
        };
        let line: Vec<u8> = self.commands.drain(..=end).collect();
        let (name, argument) = split(&line);
        let rules = {
            let mut state = shared.state.lock().unwrap();
            *state.counts.commands.entry(name.clone()).or_default() += 1;
            state.rules_for(&name, &argument)
        };
        let secret = name == "PASS";
        shared.note(|| {
            let shown = if secret { "…" } else { &argument };
            format!("{} > {name} {shown}", self.number)
        });
        self.take(line, rules, shared);
        true
    }

    /// A command, or for an empty line the greeting: does to it what its rules say.
    fn take(&mut self, line: Vec<u8>, rules: Vec<Arc<Rule>>, shared: &Shared) {
        let (name, _) = split(&line);
        let stall = rules
            .iter()
            .find(|rule| matches!(rule.action, Action::Stall) && !rule.is_lifted());
        if let Some(by) = stall.map(Arc::clone) {
            self.happens(&by, shared);
            self.held = Some(Held { line, rules, by });
            return;
        }
        let mut instead = None;
        for rule in &rules {
            match &rule.action {
                Action::DropBefore(how) => {
                    self.happens(rule, shared);
                    self.over = Some(*how);
                    return;
                }
                Action::DropInside => {
                    self.happens(rule, shared);
                    if let Some(server) = &mut self.server {
                        server.push(&line[..line.len() / 2]);
                        // Whether it arrives or not, the connection is over.
                        _ = server.flush();
                    }
                    self.over = Some(How::Fin);
                    return;
                }
                Action::Answer(bytes) if instead.is_none() => {
                    self.happens(rule, shared);
                    instead = Some(Instead::Bytes(bytes.clone()));
                }
                Action::Endless(bytes) if instead.is_none() => {
                    self.happens(rule, shared);
                    instead = Some(Instead::Endless(bytes.clone(), Arc::clone(rule)));
                }
                _ => {}
            }
        }
        if self.tls.is_some() && instead.is_none() {
            instead = match &name[..] {
                "AUTH" => Some(Instead::Own(b"234 Proceed with negotiation.\r\n")),
                "PBSZ" => Some(Instead::Own(b"200 PBSZ set to 0.\r\n")),
                "PROT" => Some(Instead::Own(b"200 PROT now Private.\r\n")),
                _ => None,
            };
        }
        if let Some(channel) = self.channel.as_mut().filter(|_| moves_data(&name)) {
            if instead.is_some() {
                channel.refuse();
            } else {
                channel.plan(&rules);
            }
        }
        if instead.is_none() {
            if name.is_empty() {
                match connect(self.own, self.address).and_then(End::new) {
                    Ok(server) => self.server = Some(server),
                    Err(_) => self.over = Some(How::Rst),
                }
            } else if let Some(server) = &mut self.server {
                server.push(&line);
            }
        }
        self.asked.push_back(Asked {
            name,
            rules,
            begun: false,
            instead,
        });
    }

    /// An answer without an end is being given.
    fn is_forging(&self) -> bool {
        self.asked.front().is_some_and(
            |asked| matches!(&asked.instead, Some(Instead::Endless(_, rule)) if !rule.is_lifted()),
        )
    }

    fn next_answer(&mut self, shared: &Shared) -> bool {
        let Some(front) = self.asked.front_mut() else {
            // Unasked: 421 before it closes.
            let unasked = std::mem::take(&mut self.replies);
            self.client.push(&unasked);
            return false;
        };
        match &mut front.instead {
            Some(Instead::Endless(_, rule)) if rule.is_lifted() => {
                self.over = Some(How::Fin);
                false
            }
            Some(Instead::Endless(bytes, _)) => {
                while self.client.waiting() < ROOM {
                    self.client.push(bytes);
                }
                false
            }
            Some(Instead::Bytes(bytes)) => {
                let bytes = std::mem::take(bytes);
                let name = std::mem::take(&mut front.name);
                self.say(&bytes);
                self.last |= name.is_empty();
                self.asked.pop_front();
                self.encrypt_after(&name, &bytes, &[]);
                true
            }
            Some(Instead::Own(reply)) => {
                // What has come of the server answers later commands.
                self.replies.splice(0..0, reply.iter().copied());
                front.instead = None;
                self.next_reply(shared)
            }
            None => self.next_reply(shared),
        }
    }

    fn next_reply(&mut self, shared: &Shared) -> bool {
        let Some(front) = self.asked.front_mut() else {
            return false;
        };
        let held =
            |rule: &&Arc<Rule>| matches!(rule.action, Action::StallReply) && !rule.is_lifted();
        let Some(length) = reply_length(&self.replies) else {
            if self.replies.len() >= MAX {
                self.over = Some(How::Rst);
            }
            return false;
        };
        let is_final = self.replies.first() != Some(&b'1');
        let channel = self.channel.as_mut().filter(|_| moves_data(&front.name));
        self.awaits_data = is_final && channel.as_ref().is_some_and(|c| c.is_under_way());
        if self.awaits_data {
            return false;
        }
        if let Some(rule) = front.rules.iter().find(held).cloned() {
            if !front.begun {
                front.begun = true;
                self.happens(&rule, shared);
            }
            return false;
        }
        let mut reply: Vec<u8> = self.replies.drain(..length).collect();
        let first = !std::mem::replace(&mut front.begun, true);
        let rules = front.rules.clone();
        let name = front.name.clone();
        match channel {
            Some(channel) if !is_final => channel.begin(),
            Some(channel) if channel.is_a_strangers => {
                reply = b"522 SSL connection failed; session reuse required.\r\n".to_vec();
            }
            Some(channel) => channel.is_refused(),
            None => {}
        }
        if is_final {
            self.asked.pop_front();
        }
        shared.note(|| {
            let said = String::from_utf8_lossy(&reply);
            format!("{} < {}", self.number, said.trim_end())
        });
        self.offer_own_port(&mut reply, &rules, shared);
        for rule in &rules {
            match &rule.action {
                Action::DropAfter(how) if first => self.over = Some(*how),
                Action::DropAtEnd(how) if is_final => self.over = Some(*how),
                Action::SwallowReply if first => reply.clear(),
                Action::SwallowFinal if is_final => reply.clear(),
                Action::AnswerAtEnd(bytes) if is_final => reply.clone_from(bytes),
                Action::DripReplies(every) if !rule.is_lifted() => {
                    self.client.drip(*every);
                    self.dripping = Some(Arc::clone(rule));
                }
                _ => continue,
            }
            self.happens(rule, shared);
        }
        if self.over.is_some() {
            return false;
        }
        self.say(&reply);
        self.encrypt_after(&name, &reply, &rules);
        if is_final {
            self.afterwards(&rules, shared);
        }
        true
    }

    /// Everything behind a 234 is encrypted, whoever said it.
    fn encrypt_after(&mut self, name: &str, reply: &[u8], rules: &[Arc<Rule>]) {
        let Some(config) = self.tls.as_ref().filter(|_| name == "AUTH") else {
            return;
        };
        if !reply.starts_with(b"234") {
            return;
        }
        let started = self.client.start_tls(config, rules);
        // The reply leaves before anything happens to the handshake.
        if started.and_then(|()| self.client.flush()).is_err() {
            self.over = Some(How::Rst);
        } else if let Some((how, rule)) = self.client.handshake_cut() {
            rule.hit();
            self.over = Some(how);
        }
    }

    /// A reply is there that waited for data, and the data is through.
    pub(super) fn may_go_on(&self) -> bool {
        self.awaits_data && !self.channel.as_ref().is_some_and(Channel::is_under_way)
    }

    /// What follows a final reply.
    fn afterwards(&mut self, rules: &[Arc<Rule>], shared: &Shared) {
        for rule in rules {
            match &rule.action {
                Action::DropWhenDone(How::Fin | How::Close) => self.last = true,
                Action::DropWhenDone(How::Rst) => {
                    // The reply still arrives: on loopback it is there once it is sent.
                    _ = self.client.flush();
                    self.over = Some(How::Rst);
                }
                Action::SayWhenDone(line) => self.say(line),
                _ => continue,
            }
            self.happens(rule, shared);
        }
    }

    /// A reply to EPSV or PASV gets a port of the proxy.
    fn offer_own_port(&mut self, reply: &mut Vec<u8>, rules: &[Arc<Rule>], shared: &Shared) {
        let text = String::from_utf8_lossy(reply).into_owned();
        let Some(port) = passive_port(&text) else {
            return;
        };
        let Ok(channel) = Channel::listen(self.own, port, self.tls.clone()) else {
            self.over = Some(How::Rst);
            return;
        };
        let own = channel.port();
        if let Some(mut former) = self.channel.replace(channel) {
            former.replace();
            self.former.push(former);
        }
        if text.starts_with("229") {
            *reply = format!("229 Entering Extended Passive Mode (|||{own}|)\r\n").into_bytes();
            return;
        }
        let IpAddr::V4(own_host) = self.own else {
            return;
        };
        let mut host = own_host.octets();
        for rule in rules {
            if let Action::ForeignAddress(foreign) = rule.action {
                self.happens(rule, shared);
                host = foreign;
            }
        }
        let [a, b, c, d] = host;
        let [high, low] = own.to_be_bytes();
        let said = format!("227 Entering Passive Mode ({a},{b},{c},{d},{high},{low}).\r\n");
        *reply = said.into_bytes();
    }

    fn happens(&self, rule: &Rule, shared: &Shared) {
        rule.hit();
        shared.note(|| format!("{} ! {}", self.number, rule.action.shown()));
    }

    /// The data connections that outlive this control connection.
    pub(super) fn orphans(&mut self) -> Vec<Channel> {
        let mut channels = std::mem::take(&mut self.former);
        channels.extend(self.channel.take());
        channels.iter_mut().for_each(Channel::replace);
        channels.retain(|channel| !channel.is_over());
        channels
    }

    /// What to wait for.
    pub(super) fn interests<'a>(&'a self, on: &mut Vec<(BorrowedFd<'a>, PollFlags)>) {
        if self.client.is_stalled() {
            on.push((self.client.fd(), PollFlags::RDHUP));
        } else if self.commands.len() < MAX && !self.client.eof {
            on.push((self.client.fd(), PollFlags::IN));
        }
        if self.client.wants_to_write() || self.is_forging() {
            on.push((self.client.fd(), PollFlags::OUT));
        }
        if let Some(server) = &self.server {
            if self.replies.len() < MAX && !server.eof && self.client.waiting() < ROOM {
                on.push((server.fd(), PollFlags::IN));
            }
            if server.wants_to_write() {
                on.push((server.fd(), PollFlags::OUT));
            }
        }
        for channel in self.channel.iter().chain(&self.former) {
            channel.interests(on);
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let channels = self.channel.iter().chain(&self.former);
        self.client
            .wakes_at()
            .into_iter()
            .chain(channels.filter_map(Channel::wakes_at))
            .min()
    }
}
