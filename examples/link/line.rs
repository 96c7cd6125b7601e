//! One direction of the line: packets leave it in order, each after the time that it takes to send it and the delay.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a direction is like.
#[derive(Clone, Copy)]
pub(crate) struct Properties {
    /// From the last bit sent to its arrival.
    pub(crate) delay: Duration,
    /// Bits per second.
    pub(crate) rate: u64,
    /// Bytes that may wait to be sent.
    pub(crate) queue: u64,
    /// Share of packets that vanish, from 0 to 1.
    pub(crate) loss: f64,
}

struct Packet {
    due: Instant,
    bytes: Vec<u8>,
}

/// One direction.
pub(crate) struct Line {
    properties: Properties,
    packets: VecDeque<Packet>,
    /// The packet that arrived last.
    last: Option<Packet>,
    /// Memory of packets that arrived before.
    spare: Vec<Vec<u8>>,
    /// When the last bit of all that waits has been sent.
    free: Instant,
    random: u64,
    /// Packets that found no room or vanished.
    pub(crate) dropped: u64,
}

impl Line {
    pub(crate) fn new(properties: Properties, seed: u64) -> Self {
        Self {
            properties,
            packets: VecDeque::new(),
            spare: Vec::new(),
            last: None,
            free: Instant::now(),
            random: seed | 1 << 63,
            dropped: 0,
        }
    }

    /// Puts a packet on the line, or drops it.
    pub(crate) fn send(&mut self, packet: &[u8], now: Instant) {
        let start = self.free.max(now);
        let waits = self.bytes_in(start - now);
        let size = packet.len() as u64;
        if waits + size > self.properties.queue || self.unlucky() {
            self.dropped += 1;
            return;
        }
        self.free = start + Duration::from_nanos(size * 8 * 1_000_000_000 / self.properties.rate);
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        self.packets.push_back(Packet {
            due: self.free + self.properties.delay,
            bytes,
        });
    }

    /// Packets on the line.
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// When the next packet arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.packets.front().map(|packet| packet.due)
    }

    /// The next packet that has arrived.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<&[u8]> {
        if self.next().is_none_or(|due| due > now) {
            return None;
        }
        if let Some(last) = self.last.take() {
            self.spare.push(last.bytes);
        }
        self.last = self.packets.pop_front();
        self.last.as_ref().map(|packet| packet.bytes.as_slice())
    }

    /// What is sent in this time.
    fn bytes_in(&self, time: Duration) -> u64 {
        let bits = time.as_nanos() * u128::from(self.properties.rate) / 1_000_000_000;
        u64::try_from(bits / 8).unwrap_or(u64::MAX)
    }

    /// Does the packet vanish? (xorshift64*)
    fn unlucky(&mut self) -> bool {
        if self.properties.loss <= 0.0 {
            return false;
        }
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let high = u32::try_from(self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32);
        f64::from(high.unwrap_or(0)) / 4_294_967_296.0 < self.properties.loss
    }
}
