//! What a process takes of the machine: memory, descriptors, threads, connections.

use std::fs;
use std::time::Duration;

use super::poll;

/// More memory than this is growth; less may be what an allocator keeps for later.
const SLACK: u64 = 8 << 20;
/// Threads, connections and other descriptors that may come and go at any time.
const FEW: usize = 4;

/// What a process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes in memory.
    pub memory: u64,
    /// The most bytes in memory so far.
    pub peak: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Sockets among them: connections to the server.
    pub sockets: usize,
    /// Threads.
    pub threads: usize,
}

impl Footprint {
    /// Of a running process.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn of(pid: u32) -> Footprint {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).expect(name)
        };
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
        // One may be closed while we look.
        let targets: Vec<_> = entries
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .collect();
        let is_socket =
            |target: &&std::path::PathBuf| target.to_string_lossy().starts_with("socket:");
        Footprint {
            memory: number("VmRSS:") * 1024,
            peak: number("VmHWM:") * 1024,
            descriptors: targets.len(),
            sockets: targets.iter().filter(is_socket).count(),
            threads: usize::try_from(number("Threads:")).expect("a number of threads"),
        }
    }

    /// The process takes no more than this now, or soon.
    ///
    /// # Panics
    /// When it still takes more after `limit`.
    #[track_caller]
    pub fn is_kept(&self, pid: u32, limit: Duration) {
        let mut now = *self;
        let kept = poll::becomes_true(limit, || {
            now = Footprint::of(pid);
            now.memory <= self.memory + SLACK
                && now.descriptors <= self.descriptors + FEW
                && now.sockets <= self.sockets + FEW
                && now.threads <= self.threads + FEW
        });
        assert!(kept, "it has grown from {self:?} to {now:?}");
    }
}

/// What a process has had of the processors so far, in steps of a tick (10 ms).
///
/// # Panics
/// When it is not there.
#[track_caller]
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its stat");
    // The name stands in brackets, and may hold anything; utime and stime are fields 14 and 15, state is 3.
    let (_, rest) = stat.rsplit_once(')').expect("its name");
    let field = |at: usize| -> u64 {
        let word = rest.split_whitespace().nth(at - 3);
        word.and_then(|word| word.parse().ok()).expect("ticks")
    };
    Duration::from_millis(10 * (field(14) + field(15)))
}
