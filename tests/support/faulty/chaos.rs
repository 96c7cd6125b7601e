//! Faults by chance.

use std::sync::Arc;
use std::time::Duration;

use super::rule::{Action, Rule, Verb, moves_data};
use super::wire::How;

/// Draws faults. The same seed and the same commands give the same ones.
pub(super) struct Chaos {
    state: u64,
    rate: f64,
}

impl Chaos {
    pub(super) fn new(seed: u64, rate: f64) -> Self {
        Self { state: seed, rate }
    }

    /// What is to happen at this command, if anything.
    pub(super) fn draw(&mut self, name: &str) -> Option<Arc<Rule>> {
        let chance = f64::from((self.next() >> 40) as u32) / f64::from(1u32 << 24);
        if chance >= self.rate {
            return None;
        }
        let how = if self.below(2) == 0 {
            How::Fin
        } else {
            How::Rst
        };
        let action = if Verb::Connect.covers(name) {
            self.at_connect(how)
        } else if name == "QUIT" || Verb::Pass.covers(name) || Verb::User.covers(name) {
            // A refused login is no transient fault, and after QUIT nobody listens.
            Action::DropAfter(how)
        } else if moves_data(name) {
            self.at_transfer(how)
        } else {
            self.at_command(how)
        };
        Some(Rule::drawn(action))
    }

    fn at_connect(&mut self, how: How) -> Action {
        match self.below(2) {
            0 => Action::DropBefore(how),
            _ => Action::Answer(b"421 Too many connections.\r\n".to_vec()),
        }
    }

    fn at_command(&mut self, how: How) -> Action {
        match self.below(7) {
            0 => Action::DropBefore(how),
            1 => Action::DropInside,
            2 | 3 => Action::DropAfter(how),
            4 => Action::DropWhenDone(how),
            5 => Action::Answer(b"421 Timeout.\r\n".to_vec()),
            _ => Action::DripReplies(Duration::from_millis(1)),
        }
    }

    fn at_transfer(&mut self, how: How) -> Action {
        match self.below(8) {
            0 => Action::DropAtEnd(how),
            1 => Action::AnswerAtEnd(b"426 Connection closed; transfer aborted.\r\n".to_vec()),
            2 => Action::Answer(b"425 Cannot open data connection.\r\n".to_vec()),
            3 => self.at_command(how),
            _ => {
                // Small files and large ones.
                let largest = 1 << self.below(20);
                Action::CutData(self.below(largest), how)
            }
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
