//! The thread of a proxy: waits for all its connections at once and moves what can be moved.

use std::io::{self, Read as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use socket2::{SockRef, Socket};

use super::control::Conversation;
use super::data::Channel;
use super::rule::Rule;
use super::wire::How;
use super::{Order, Shared, State};

impl State {
    /// The rules for this command, and the fault that chance adds.
    pub(super) fn rules_for(&mut self, name: &str, argument: &str) -> Vec<Arc<Rule>> {
        let mut rules: Vec<Arc<Rule>> = self
            .rules
            .iter()
            .filter(|rule| rule.takes(name, argument))
            .map(Arc::clone)
            .collect();
        if let Some(drawn) = self.chaos.as_mut().and_then(|chaos| chaos.draw(name)) {
            self.counts.random_faults += 1;
            rules.push(drawn);
        }
        rules
    }
}

pub(super) struct Relay {
    /// Bound and not listening: connections are refused when the listener is gone.
    _place: Socket,
    /// None while the door is closed.
    listener: Option<TcpListener>,
    own: SocketAddr,
    server: SocketAddr,
    woken: UnixStream,
    shared: Arc<Shared>,
    conversations: Vec<Conversation>,
    /// Data connections whose control connection is gone: the server decides what becomes of them.
    orphans: Vec<Channel>,
}

impl Relay {
    pub(super) fn new(
        place: Socket,
        listener: TcpListener,
        server: SocketAddr,
        woken: UnixStream,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            _place: place,
            own: listener.local_addr()?,
            listener: Some(listener),
            server,
            woken,
            shared,
            conversations: Vec::new(),
            orphans: Vec::new(),
        })
    }

    pub(super) fn run(mut self) {
        loop {
            let (orders, frozen, stop) = {
                let mut state = self.shared.state.lock().unwrap();
                (std::mem::take(&mut state.orders), state.frozen, state.stop)
            };
            if stop {
                return;
            }
            for order in orders {
                let touched = self.carry_out(&order);
                let mut state = self.shared.state.lock().unwrap();
                state.done += 1;
                state.touched = touched;
                drop(state);
                self.shared.changed.notify_all();
            }
            if !frozen {
                self.accept();
                self.pump();
            }
            self.wait(frozen);
        }
    }

    fn carry_out(&mut self, order: &Order) -> usize {
        let mut touched = 0;
        match order {
            Order::Drop { how, idle_only } => {
                let orphans = &mut self.orphans;
                self.conversations.retain_mut(|conversation| {
                    let stays = *idle_only && !conversation.is_idle();
                    if !stays {
                        conversation.drop_now(*how);
                        orphans.append(&mut conversation.orphans());
                        touched += 1;
                    }
                    stays
                });
                self.count(0, [0; 2]);
            }
            Order::Say { bytes, idle_only } => {
                for conversation in &mut self.conversations {
                    if !idle_only || conversation.is_idle() {
                        conversation.say_now(bytes);
                        touched += 1;
                    }
                }
            }
            Order::DropData(how) => {
                for conversation in &mut self.conversations {
                    let channels = conversation.channel.iter_mut();
                    for channel in channels.chain(&mut conversation.former) {
                        touched += usize::from(channel.end(*how));
                    }
                }
                for mut orphan in self.orphans.drain(..) {
                    touched += usize::from(orphan.end(*how));
                }
            }
            Order::Close => {
                if let Some(listener) = self.listener.take() {
                    // A process that another test is just starting may hold a copy for a moment: closing
                    // would not end the listening then.
                    SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
                }
                touched = self.carry_out(&Order::Drop {
                    how: How::Rst,
                    idle_only: false,
                });
                self.carry_out(&Order::DropData(How::Rst));
            }
            Order::Open => {
                if self.listener.is_none() {
                    let listener = TcpListener::bind(self.own).unwrap();
                    listener.set_nonblocking(true).unwrap();
                    self.listener = Some(listener);
                }
            }
        }
        touched
    }

    fn accept(&mut self) {
        while let Some((client, _)) = self.listener.as_ref().and_then(|l| l.accept().ok()) {
            let (number, rules) = {
                let mut state = self.shared.state.lock().unwrap();
                state.counts.connections += 1;
                (state.counts.connections, state.rules_for("", ""))
            };
            self.shared.note(|| format!("{number} connects"));
            // A client that has gone already is nobody's loss.
            let conversation = Conversation::new(number, client, self.server, rules, &self.shared);
            self.conversations.extend(conversation);
        }
    }

    fn pump(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut made = 0;
        let mut moved = [0; 2];
        let mut pump_data = |channel: &mut Channel| {
            let before = channel.moved;
            made += usize::from(channel.pump());
            moved[0] += channel.moved[0] - before[0];
            moved[1] += channel.moved[1] - before[1];
        };
        let orphans = &mut self.orphans;
        orphans.iter_mut().for_each(&mut pump_data);
        orphans.retain(|channel| !channel.is_over());
        self.conversations.retain_mut(|conversation| {
            let mut goes_on = conversation.pump(&shared);
            let channels = conversation.channel.iter_mut();
            channels
                .chain(&mut conversation.former)
                .for_each(&mut pump_data);
            conversation.former.retain(|channel| !channel.is_over());
            if goes_on && conversation.may_go_on() {
                // Nothing that comes would wake us for it.
                goes_on = conversation.pump(&shared);
            }
            if !goes_on {
                orphans.append(&mut conversation.orphans());
            }
            goes_on
        });
        self.count(made, moved);
    }

    fn count(&self, made: usize, moved: [u64; 2]) {
        let mut state = self.shared.state.lock().unwrap();
        let counts = &mut state.counts;
        counts.open = self.conversations.len();
        counts.most_open = counts.most_open.max(counts.open);
        counts.data_connections += made;
        counts.uploaded += moved[0];
        counts.downloaded += moved[1];
    }

    /// Until something can be done.
    fn wait(&mut self, frozen: bool) {
        let mut on: Vec<(BorrowedFd<'_>, PollFlags)> = vec![(self.woken.as_fd(), PollFlags::IN)];
        let mut until = None;
        if !frozen {
            on.extend(self.listener.iter().map(|l| (l.as_fd(), PollFlags::IN)));
            for conversation in &self.conversations {
                conversation.interests(&mut on);
                until = conversation.wakes_at().into_iter().chain(until).min();
            }
            for orphan in &self.orphans {
                orphan.interests(&mut on);
                until = orphan.wakes_at().into_iter().chain(until).min();
            }
        }
        let timeout = until.map(|at: Instant| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap()
        });
        let mut fds: Vec<_> = on
            .iter()
            .map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => panic!("poll: {e}"),
        }
        let mut wakes = [0; 64];
        while matches!(self.woken.read(&mut wakes), Ok(1..)) {}
    }
}
