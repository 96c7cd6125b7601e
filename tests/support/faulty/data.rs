//! A data connection: made when the client comes, relayed, and cut, held or forged as rules say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;
use rustls::ServerConfig;

use super::rule::{Action, Rule};
use super::wire::{End, How, ROOM, connect};

/// From one end to the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

enum Phase {
    Waiting(TcpListener),
    Relaying { client: End, server: End },
    Over,
}

/// One data connection.
pub(super) struct Channel {
    phase: Phase,
    own: IpAddr,
    server: SocketAddr,
    plan: Vec<Arc<Rule>>,
    /// Bytes that went through: up, down.
    pub(super) moved: [u64; 2],
    /// The bytes of `Action::ReplaceData` have been given out.
    replaced: bool,
    /// All that may go through has been taken in; it ends when that has left.
    cutting: Option<(Way, How)>,
    stalled: bool,
    /// The client's side is encrypted.
    tls: Option<Arc<ServerConfig>>,
    stage: Stage,
    /// The client did not go on with a session of its control connection.
    pub(super) is_a_strangers: bool,
}

/// How far the transfer is. Under TLS nothing moves before the server has begun it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Early,
    Asked,
    Begun,
}

impl Channel {
    /// Listens at `own` for the client; `port` is where the server does.
    pub(super) fn listen(
        own: IpAddr,
        port: u16,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((own, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            phase: Phase::Waiting(listener),
            own,
            server: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            plan: Vec::new(),
            moved: [0; 2],
            replaced: false,
            cutting: None,
            stalled: false,
            tls,
            stage: Stage::Early,
            is_a_strangers: false,
        })
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        match &self.phase {
            Phase::Waiting(listener) => listener.local_addr().map_or(0, |a| a.port()),
            _ => 0,
        }
    }

    /// What is to happen in the transfer that begins now.
    pub(super) fn plan(&mut self, rules: &[Arc<Rule>]) {
        self.stage = Stage::Asked;
        for rule in rules {
            if matches!(rule.action, Action::DripData(_)) {
                rule.hit();
            }
            self.plan.push(Arc::clone(rule));
        }
    }

    /// The server has said that the data comes, or may come.
    pub(super) fn begin(&mut self) {
        if self.stage != Stage::Begun {
            self.stage = Stage::Begun;
            self.encrypt();
        }
    }

    fn encrypt(&mut self) {
        let Phase::Relaying { client, .. } = &mut self.phase else {
            return;
        };
        if let Some(config) = &self.tls
            && client.start_tls(config, &self.plan).is_err()
        {
            self.end(How::Rst);
        }
    }

    /// The server has refused the transfer.
    pub(super) fn is_refused(&mut self) {
        if self.stage == Stage::Asked {
            self.stage = Stage::Early;
        }
    }

    /// Under TLS: the client has not got all yet. A server says the final reply after that.
    pub(super) fn is_under_way(&self) -> bool {
        match &self.phase {
            Phase::Relaying { client, .. } => {
                self.tls.is_some() && self.stage == Stage::Begun && !client.is_finished()
            }
            _ => false,
        }
    }

    /// Under TLS: what moves would be taken for a handshake.
    fn is_held(&self) -> bool {
        self.tls.is_some() && self.stage != Stage::Begun
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// A new one has taken its place: nobody will come any more.
    pub(super) fn replace(&mut self) {
        if matches!(self.phase, Phase::Waiting(_)) {
            self.phase = Phase::Over;
        }
    }

    /// The transfer was refused: the connection ends in good order if the client has made it; else it may
    /// still come, as on most servers.
    pub(super) fn refuse(&mut self) {
        self.accept();
        if matches!(self.phase, Phase::Relaying { .. }) {
            self.end(How::Fin);
        }
    }

    /// Whether it is a connection by now; ends it if so.
    pub(super) fn end(&mut self, how: How) -> bool {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Relaying {
                mut client,
                mut server,
            } => {
                client.end(how);
                server.end(how);
                true
            }
            _ => false,
        }
    }

    /// Moves what can be moved. Returns whether the connection was made just now.
    pub(super) fn pump(&mut self) -> bool {
        let made = self.accept();
        if self.relay().is_err() {
            // What tore one side tears the other.
            self.end(How::Rst);
        }
        made
    }

    fn accept(&mut self) -> bool {
        let Phase::Waiting(listener) = &self.phase else {
            return false;
        };
        let Ok((client, _)) = listener.accept() else {
            return false;
        };
        let ends = connect(self.own, self.server)
            .and_then(|server| Ok((End::new(client)?, End::new(server)?)));
        self.phase = match ends {
            Ok((client, server)) => Phase::Relaying { client, server },
            // The server does not listen any more; the client sees it go.
            Err(_) => Phase::Over,
        };
        if self.stage == Stage::Begun {
            self.encrypt();
        }
        true
    }

    /// Until the transfer begins all that can happen is that somebody leaves.
    fn hold(&mut self) {
        let Phase::Relaying { client, server } = &self.phase else {
            return;
        };
        if client.has_left() || self.stage == Stage::Early && server.has_left_silently() {
            self.end(How::Fin);
        }
    }

    /// Whether data may move. A client that is no friend of its control connection is sent away.
    fn shake_hands(&mut self) -> io::Result<bool> {
        let Phase::Relaying { client, server } = &mut self.phase else {
            return Ok(true);
        };
        client.shake_hands()?;
        client.flush()?;
        if client.is_stalled() && client.has_left() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((how, rule)) = client.handshake_cut() {
            rule.hit();
            client.end(how);
            server.end(How::Rst);
            self.phase = Phase::Over;
            return Ok(false);
        }
        if client.is_a_stranger() {
            client.end(How::Close);
            server.end(How::Rst);
            self.is_a_strangers = true;
            self.phase = Phase::Over;
            return Ok(false);
        }
        Ok(!client.is_handshaking())
    }

    fn relay(&mut self) -> io::Result<()> {
        if self.is_held() {
            self.hold();
            return Ok(());
        }
        if !self.shake_hands()? {
            return Ok(());
        }
        self.drip();
        self.forge();
        for way in [Way::Down, Way::Up] {
            self.relay_one(way)?;
        }
        let endless = self.endless().is_some();
        let Phase::Relaying { client, server } = &mut self.phase else {
            return Ok(());
        };
        if server.eof && !endless {
            client.finish();
        }
        if client.eof {
            server.finish();
        }
        client.flush()?;
        server.flush()?;
        if client.is_finished() && server.is_finished() {
            self.phase = Phase::Over;
            return Ok(());
        }
        if let Some((way, how)) = self.cutting {
            let to = if way == Way::Up { server } else { client };
            if to.waiting() == 0 {
                self.end(how);
            }
        }
        Ok(())
    }

    fn relay_one(&mut self, way: Way) -> io::Result<()> {
        let forged = way == Way::Down && (self.replaced || self.endless().is_some());
        loop {
            let room = self.room(way);
            if room == 0 {
                self.note_stall(way);
                return Ok(());
            }
            let cut = self.cut();
            let moved = self.moved[way as usize];
            let Phase::Relaying { client, server } = &mut self.phase else {
                return Ok(());
            };
            let (from, to) = match way {
                Way::Up => (client, server),
                Way::Down => (server, client),
            };
            to.flush()?;
            if from.eof || to.waiting() >= ROOM {
                return Ok(());
            }
            let mut buf = vec![0; room];
            match from.read(&mut buf)? {
                None | Some(0) => return Ok(()),
                Some(_) if forged => {}
                Some(count) => {
                    let left = cut.as_ref().map_or(u64::MAX, |rule| rule.1 - moved);
                    let through = usize::try_from(left).map_or(count, |left| left.min(count));
                    to.push(&buf[..through]);
                    self.moved[way as usize] += through as u64;
                    if let Some((rule, _, how)) = cut.filter(|_| through < count) {
                        rule.hit();
                        self.cutting = Some((way, how));
                        return Ok(());
                    }
                }
            }
        }
    }

    /// How much may be read now.
    fn room(&self, way: Way) -> usize {
        if self.cutting.is_some() {
            return 0;
        }
        let moved = self.moved[way as usize];
        let stalls = self.plan.iter().filter_map(|rule| match rule.action {
            Action::StallData(at) if !rule.is_lifted() => {
                Some(usize::try_from(at.saturating_sub(moved)).unwrap_or(ROOM))
            }
            _ => None,
        });
        stalls.min().unwrap_or(ROOM).min(ROOM)
    }

    /// It happens when there is something to hold back: from then on the sender is in the middle of its transfer.
    fn note_stall(&mut self, way: Way) {
        if !self.may_stall() {
            return;
        }
        let Phase::Relaying { client, server } = &mut self.phase else {
            return;
        };
        let from = if way == Way::Up { client } else { server };
        if !from.has_news() {
            return;
        }
        self.stalled = true;
        for rule in &self.plan {
            if matches!(rule.action, Action::StallData(_)) {
                rule.hit();
            }
        }
    }

    fn may_stall(&self) -> bool {
        self.cutting.is_none() && !self.stalled
    }

    fn cut(&self) -> Option<(Arc<Rule>, u64, How)> {
        self.plan.iter().find_map(|rule| match rule.action {
            Action::CutData(at, how) if !rule.is_lifted() => Some((Arc::clone(rule), at, how)),
            _ => None,
        })
    }

    fn endless(&self) -> Option<&Arc<Rule>> {
        let mut rules = self.plan.iter().filter(|rule| !rule.is_lifted());
        rules.find(|rule| matches!(rule.action, Action::EndlessData(_)))
    }

    /// Puts forged bytes on the way to the client.
    fn forge(&mut self) {
        let endless = self.endless().cloned();
        let Phase::Relaying { client, .. } = &mut self.phase else {
            return;
        };
        if let Some(rule) = endless
            && let Action::EndlessData(piece) = &rule.action
        {
            if self.moved[1] == 0 {
                rule.hit();
            }
            while client.waiting() < ROOM {
                client.push(piece);
                self.moved[1] += piece.len() as u64;
            }
        }
        for rule in &self.plan {
            if let Action::ReplaceData(bytes) = &rule.action
                && !self.replaced
                && !rule.is_lifted()
            {
                rule.hit();
                client.push(bytes);
                self.replaced = true;
            }
        }
    }

    fn drip(&mut self) {
        let Phase::Relaying { client, server } = &mut self.phase else {
            return;
        };
        for rule in &self.plan {
            if let Action::DripData(every) = rule.action {
                if rule.is_lifted() {
                    client.drip_no_more();
                    server.drip_no_more();
                } else {
                    client.drip(every);
                    server.drip(every);
                }
            }
        }
    }

    /// What to wait for.
    pub(super) fn interests<'a>(&'a self, on: &mut Vec<(BorrowedFd<'a>, PollFlags)>) {
        match &self.phase {
            Phase::Waiting(listener) => on.push((listener.as_fd(), PollFlags::IN)),
            Phase::Relaying { client, server } if self.is_held() => {
                on.push((client.fd(), PollFlags::RDHUP));
                if self.stage == Stage::Early {
                    on.push((server.fd(), PollFlags::IN));
                }
            }
            Phase::Relaying { client, .. } if client.is_handshaking() => {
                let what = match client.is_stalled() {
                    true => PollFlags::RDHUP,
                    false => PollFlags::IN,
                };
                on.push((client.fd(), what));
                if client.wants_to_write() {
                    on.push((client.fd(), PollFlags::OUT));
                }
            }
            Phase::Relaying { client, server } => {
                if self.endless().is_some() {
                    on.push((client.fd(), PollFlags::OUT));
                }
                for (from, to, way) in [(client, server, Way::Up), (server, client, Way::Down)] {
                    let looks = self.room(way) > 0 && to.waiting() < ROOM;
                    let waits = self.room(way) == 0 && self.may_stall();
                    if !from.eof && (looks || waits) {
                        on.push((from.fd(), PollFlags::IN));
                    }
                    if to.wants_to_write() {
                        on.push((to.fd(), PollFlags::OUT));
                    }
                }
            }
            Phase::Over => {}
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Relaying { client, server } => {
                client.wakes_at().into_iter().chain(server.wakes_at()).min()
            }
            _ => None,
        }
    }
}
