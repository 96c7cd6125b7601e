//! A case: one promise, tried in a folder of its own.

use std::path::Path;
use std::time::Duration;

use crate::place::Place;

/// One promise of the mount.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// The function's name.
    pub(crate) name: &'static str,
    /// The case itself; it fails by panicking.
    pub(crate) run: fn(&Place),
    /// Fills the case's folder on the server's disk before anything is mounted.
    pub(crate) seed: Option<fn(&Path)>,
    /// Also runs on the brands that get the smoke set only.
    pub(crate) smoke: bool,
    /// Says something that a local folder does not promise.
    pub(crate) mounts_only: bool,
    /// After this time the case has failed.
    pub(crate) limit: Duration,
    /// Option lists with which the case runs once more.
    pub(crate) variants: &'static [&'static [&'static str]],
    /// Whether the harness compares the mount's view with the server's disk afterwards.
    pub(crate) compare: bool,
    /// How long the mount's view may lag behind the server's disk at that comparison.
    pub(crate) lag: Duration,
}

impl Case {
    /// A case with the usual limits.
    pub(crate) const fn new(name: &'static str, run: fn(&Place)) -> Self {
        Self {
            name,
            run,
            seed: None,
            smoke: false,
            mounts_only: false,
            limit: Duration::from_secs(120),
            variants: &[],
            compare: true,
            lag: Duration::ZERO,
        }
    }

    /// Content that is on the server before the mount.
    pub(crate) const fn seeded(mut self, seed: fn(&Path)) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Part of the smoke set.
    pub(crate) const fn smoke(mut self) -> Self {
        self.smoke = true;
        self
    }

    /// Not for a local folder.
    pub(crate) const fn mounts_only(mut self) -> Self {
        self.mounts_only = true;
        self
    }

    /// Another time limit.
    pub(crate) const fn seconds(mut self, limit: u64) -> Self {
        self.limit = Duration::from_secs(limit);
        self
    }

    /// Runs again with these mount options.
    pub(crate) const fn also(mut self, variants: &'static [&'static [&'static str]]) -> Self {
        self.variants = variants;
        self
    }

    /// Others change the server's disk: the mount sees that when its listings have expired.
    pub(crate) const fn by_others(mut self) -> Self {
        self.lag = Duration::from_secs(30);
        self
    }

    /// The mount's view and the server's disk may differ at the end: the case itself looks at both.
    pub(crate) const fn uncompared(mut self) -> Self {
        self.compare = false;
        self
    }
}

/// A mount that believes nothing for longer than an instant.
pub(crate) const NO_CACHE: &[&str] = &["cache_timeout=0"];
/// A mount that keeps no content of files beyond what is being read.
pub(crate) const NO_BLOCKS: &[&str] = &["cache_size=0"];
/// A mount with one connection.
pub(crate) const ONE_CONNECTION: &[&str] = &["max_conns=1"];
/// A mount that writes every file under a temporary name.
pub(crate) const ATOMIC: &[&str] = &["upload=atomic"];
/// A mount that never renames what it uploads.
pub(crate) const IN_PLACE: &[&str] = &["upload=inplace"];

/// `CASES`, the list of a topic.
macro_rules! cases {
    ($($name:ident $(. $with:ident ( $($value:expr),* ))* ),* $(,)?) => {
        /// The cases of this topic.
        pub(crate) const CASES: &[crate::case::Case] = &[
            $(crate::case::Case::new(stringify!($name), $name) $(. $with($($value),*))*),*
        ];
    };
}
