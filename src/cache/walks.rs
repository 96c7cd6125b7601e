//! `Walks`: which programs go through a tree of directories, and how far ahead of them it pays to list.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ftp::RemotePath;

/// Programs that walk at the same time.
const MAX_WALKS: usize = 8;
/// Steps from one directory to another that is not inside it, before it counts as a walk: a path of many
/// names is none, nor is a copy from one directory to another.
const EVIDENCE: u32 = 2;
/// Steps of a walk follow each other; people pause.
const PAUSE: Duration = Duration::from_secs(2);
/// The first directories that are listed on a guess.
const FIRST: usize = 8;
/// Most directories listed ahead of one walk.
const MOST: usize = 256;

/// What is known of the programs that list one directory after the other.
#[derive(Debug, Default)]
pub(super) struct Walks {
    /// The one that moved last comes last.
    walks: Vec<Walk>,
    /// Listed ahead and not looked at yet: until when it is of use, and for which walk.
    ahead: HashMap<RemotePath, (Instant, u64)>,
    next: u64,
}

/// Which directories come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    /// How many are worth listing.
    pub(super) count: usize,
    /// Against the order of names.
    pub(super) backwards: bool,
}

#[derive(Debug)]
struct Walk {
    number: u64,
    /// Where it is.
    last: RemotePath,
    moved: Instant,
    sideways: u32,
    /// From the last name of a directory to the first, as programs go that put what is left on a stack.
    backwards: bool,
    /// How many of our guesses came true, and how many did not in time.
    used: usize,
    wasted: usize,
}

impl Walks {
    /// A program wants to see `dir`, which is not in memory. What is worth listing together with it.
    pub(super) fn missed(&mut self, dir: &RemotePath, now: Instant) -> Next {
        self.expire(now);
        self.ahead.remove(dir);
        let walk = self.step(dir, now);
        let (number, backwards) = (walk.number, walk.backwards);
        let allowed = match walk.sideways {
            EVIDENCE.. => walk.allowed(),
            _ => 0,
        };
        let outstanding = self.ahead.values().filter(|(_, w)| *w == number).count();
        Next {
            count: allowed.saturating_sub(outstanding),
            backwards,
        }
    }

    /// These were listed ahead of the walk that missed `of`, to be of use until `until`.
    pub(super) fn listed(&mut self, of: &RemotePath, dirs: Vec<RemotePath>, until: Instant) {
        let Some(walk) = self.walks.iter().rfind(|walk| walk.last == *of) else {
            return;
        };
        let number = walk.number;
        self.ahead
            .extend(dirs.into_iter().map(|dir| (dir, (until, number))));
    }

    /// A program looks at a directory that was listed ahead, for the first time.
    pub(super) fn used(&mut self, dir: &RemotePath, now: Instant) {
        let guess = self.ahead.remove(dir);
        let walk = self.step(dir, now);
        walk.used += usize::from(guess.is_some());
    }

    /// Takes out what nobody wanted in time.
    fn expire(&mut self, now: Instant) {
        let walks = &mut self.walks;
        self.ahead.retain(|_, (until, number)| {
            let late = now > *until;
            if late && let Some(walk) = walks.iter_mut().find(|w| w.number == *number) {
                walk.wasted += 1;
            }
            !late
        });
    }

    /// The walk that has come to `dir`: below, beside, or beside a directory above where it was.
    fn step(&mut self, dir: &RemotePath, now: Instant) -> &mut Walk {
        let parent = dir.parent();
        let found = parent.and_then(|parent| {
            let here = |walk: &Walk| walk.last.starts_with(&parent) && !walk.last.starts_with(dir);
            let again = |walk: &Walk| walk.last == *dir;
            let position = self.walks.iter().rposition(again);
            position.or_else(|| self.walks.iter().rposition(here))
        });
        let mut walk = match found {
            Some(at) => self.walks.remove(at),
            None => {
                if self.walks.len() >= MAX_WALKS {
                    self.walks.remove(0);
                }
                self.next += 1;
                Walk {
                    number: self.next,
                    last: dir.clone(),
                    moved: now,
                    sideways: 0,
                    backwards: false,
                    used: 0,
                    wasted: 0,
                }
            }
        };
        if now.duration_since(walk.moved) > PAUSE {
            walk.sideways = 0;
        }
        if !dir.starts_with(&walk.last) {
            walk.sideways += 1;
            if walk.last.parent() == dir.parent() {
                walk.backwards = dir.name() < walk.last.name();
            }
        }
        walk.last = dir.clone();
        walk.moved = now;
        self.walks.push(walk);
        let last = self.walks.len() - 1;
        &mut self.walks[last]
    }
}

impl Walk {
    /// How many guesses may be open: more and more while they come true.
    fn allowed(&self) -> usize {
        (FIRST + 3 * self.used)
            .saturating_sub(4 * self.wasted)
            .min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::parse(text.as_bytes()).unwrap()
    }

    /// What missing each of these in turn allows.
    fn missing(walks: &mut Walks, now: Instant, dirs: &[&str]) -> Vec<usize> {
        {
            let missed = |d: &&str| walks.missed(&path(d), now).count;
            dirs.iter().map(missed).collect()
        }
    }

    #[test]
    fn steps_beside_each_other_are_a_walk() {
        let now = Instant::now();
        for (dirs, allowed) in [
            (&["/", "/a", "/a/b", "/a/b/c", "/a/b/c/d"][..], 0),
            (&["/", "/a", "/b"], 0),
            (&["/", "/a", "/b", "/c"], FIRST),
            (&["/x", "/x/a", "/x/a/1", "/x/a/2", "/x/b"], FIRST),
            (&["/a/1", "/b/1", "/c/1", "/d/1"], 0),
            (&["/", "/a", "/a", "/a", "/a"], 0),
        ] {
            let found = missing(&mut Walks::default(), now, dirs);
            assert_eq!(found.last(), Some(&allowed), "{dirs:?}");
        }
    }

    #[test]
    fn two_walks_at_a_time_are_told_apart() {
        let now = Instant::now();
        let dirs = ["/a", "/b", "/a/1", "/b/1", "/a/2", "/b/2", "/a/3", "/b/3"];
        let found = missing(&mut Walks::default(), now, &dirs);
        assert_eq!(found[6..], [FIRST, FIRST]);
    }

    #[test]
    fn the_direction_is_that_of_the_last_step_aside() {
        let (mut walks, now) = (Walks::default(), Instant::now());
        for (dir, backwards) in [
            ("/a/5", false),
            ("/a/6", false),
            ("/a/4", true),
            ("/a/4/z", true),
            ("/a/3", true),
            ("/a/7", false),
        ] {
            assert_eq!(walks.missed(&path(dir), now).backwards, backwards, "{dir}");
        }
    }

    #[test]
    fn people_pause() {
        let (mut walks, mut now) = (Walks::default(), Instant::now());
        for dir in ["/a", "/b", "/c", "/d", "/e"] {
            now += PAUSE * 2;
            assert_eq!(walks.missed(&path(dir), now).count, 0, "{dir}");
        }
    }

    #[test]
    fn guesses_grow_while_they_come_true() {
        let (mut walks, now) = (Walks::default(), Instant::now());
        missing(&mut walks, now, &["/", "/a", "/b", "/c"]);
        let until = now + Duration::from_secs(10);
        let guessed: Vec<_> = (0..FIRST).map(|n| path(&format!("/d{n}"))).collect();
        walks.listed(&path("/c"), guessed.clone(), until);
        // All guesses are open.
        assert_eq!(walks.missed(&path("/other"), now).count, 0);
        guessed.iter().for_each(|dir| walks.used(dir, now));
        assert_eq!(walks.missed(&path("/e"), now).count, 4 * FIRST);
        // Only once each.
        guessed.iter().for_each(|dir| walks.used(dir, now));
        assert_eq!(walks.missed(&path("/f"), now).count, 4 * FIRST);
    }

    #[test]
    fn wrong_guesses_end_it() {
        let (mut walks, now) = (Walks::default(), Instant::now());
        missing(&mut walks, now, &["/", "/a", "/b", "/c"]);
        let until = now + Duration::from_secs(1);
        let guessed = (0..FIRST).map(|n| path(&format!("/d{n}"))).collect();
        walks.listed(&path("/c"), guessed, until);
        let later = until + Duration::from_millis(1);
        assert_eq!(walks.missed(&path("/x"), later).count, 0);
        assert_eq!(walks.missed(&path("/y"), later).count, 0);
    }
}
