//! What of FTP is seen on the line: commands are lines to the control port, data connections are SYNs to any other.

use std::collections::HashMap;
use std::fmt;

const TCP: u8 = 6;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// Counts since the beginning.
#[derive(Default)]
pub(crate) struct Traffic {
    /// Where the servers of the far end listen.
    pub(crate) control: u16,
    sessions: u64,
    connections: u64,
    commands: u64,
    /// Segments with commands: those of a batch that go together are one.
    segments: u64,
    up_bytes: u64,
    down_bytes: u64,
    /// Of each control connection, by the client's port: up to which sequence number lines are counted.
    counted: HashMap<u16, u32>,
}

impl Traffic {
    /// A packet from the far end.
    pub(crate) fn down(&mut self, size: usize) {
        self.down_bytes += size as u64;
    }

    /// A packet from the near end.
    pub(crate) fn up(&mut self, packet: &[u8]) {
        self.up_bytes += packet.len() as u64;
        let Some(segment) = Segment::of(packet) else {
            return;
        };
        let to_control = segment.to == self.control;
        if segment.flags & SYN != 0 {
            // A SYN that was sent again is the same connection.
            let first = self
                .counted
                .insert(segment.from, segment.sequence.wrapping_add(1));
            if first != Some(segment.sequence.wrapping_add(1)) {
                *(if to_control {
                    &mut self.sessions
                } else {
                    &mut self.connections
                }) += 1;
            }
        } else if to_control && !segment.payload.is_empty() {
            let size = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
            let end = segment.sequence.wrapping_add(size);
            let counted = *self.counted.entry(segment.from).or_insert(segment.sequence);
            let fresh = end.wrapping_sub(counted).cast_signed();
            if let Ok(fresh @ 1..) = usize::try_from(fresh) {
                let skip = segment.payload.len().saturating_sub(fresh);
                let lines = segment.payload[skip..]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count();
                self.commands += lines as u64;
                self.segments += 1;
                self.counted.insert(segment.from, end);
            }
        }
        if segment.flags & (FIN | RST) != 0 && !to_control {
            self.counted.remove(&segment.from);
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sessions={} connections={} commands={} segments={} up_bytes={} down_bytes={}",
            self.sessions,
            self.connections,
            self.commands,
            self.segments,
            self.up_bytes,
            self.down_bytes
        )
    }
}

struct Segment<'a> {
    from: u16,
    to: u16,
    sequence: u32,
    flags: u8,
    payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The TCP segment in an IPv4 packet.
    fn of(packet: &'a [u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 15) * 4;
        let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        if packet[0] >> 4 != 4 || *packet.get(9)? != TCP {
            return None;
        }
        let tcp = packet.get(header..total)?;
        let offset = usize::from(*tcp.get(12)? >> 4) * 4;
        Some(Self {
            from: u16::from_be_bytes([tcp[0], tcp[1]]),
            to: u16::from_be_bytes([tcp[2], tcp[3]]),
            sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
            flags: *tcp.get(13)?,
            payload: tcp.get(offset..)?,
        })
    }
}
