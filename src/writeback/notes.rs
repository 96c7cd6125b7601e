//! The notes that lie in a place: what they say is kept, and what they say of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::place::{KEPT, Kept, files_of};
use super::sidecar::{Replaces, Sidecar};
use crate::ftp::RemotePath;

/// Everything that is kept below `directory`, the folder of all places: URL and file.
pub fn all_kept(directory: &Path) -> Vec<(String, Kept)> {
    let mut places = files_of(directory);
    places.sort();
    let mut all = Vec::new();
    for place in places.iter().filter(|path| path.is_dir()) {
        let url = fs::read_to_string(place.join("place")).unwrap_or_default();
        let kept = kept_in(place, false).into_iter();
        all.extend(kept.map(|kept| (url.trim_end().to_owned(), kept)));
    }
    all
}

/// In the order in which it is to be stored. What a newer note replaces was about to be removed.
pub(super) fn kept_in(directory: &Path, clear: bool) -> Vec<Kept> {
    let mut kept = Vec::new();
    for note in files_of(directory) {
        if note.extension().and_then(|e| e.to_str()) != Some(KEPT) {
            continue;
        }
        let read = fs::read(&note).map(|text| {
            let text = String::from_utf8(text).ok()?;
            Sidecar::decode(&text)
        });
        match read {
            Ok(Some(sidecar)) => {
                let found = Kept { sidecar, note };
                if !found.is_unwanted() {
                    kept.push(found);
                } else if clear {
                    found.remove();
                }
            }
            Ok(None) => log::warn!("{} cannot be understood", note.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("{}: {error}", note.display()),
        }
    }
    let replaced = Replaced::by(&kept);
    let (gone, mut kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|kept| replaced.has(kept));
    if clear {
        gone.iter().for_each(Kept::remove);
    }
    kept.sort_by_key(|kept| std::cmp::Reverse((kept.sidecar.when, number_of(&kept.note))));
    in_order(kept)
}

/// The name that was changed last comes first. Of copies under one name, the newest that was begun empty is stored
/// first, then what was done to the file afterwards, in that order; what is older is only left where it is.
fn in_order(newest_first: Vec<Kept>) -> Vec<Kept> {
    let mut names: Vec<Vec<Kept>> = Vec::new();
    let mut places = BTreeMap::new();
    for kept in newest_first {
        let next = names.len();
        let at = *places.entry(kept.sidecar.path.clone()).or_insert(next);
        if at == next {
            names.push(Vec::new());
        }
        names[at].push(kept);
    }
    for copies in &mut names {
        let is_whole = |kept: &Kept| kept.sidecar.replaces == Replaces::Everything;
        let first = copies.iter().position(is_whole);
        let since = first.map_or(copies.len(), |at| at + 1);
        copies[..since].reverse();
    }
    names.into_iter().flatten().collect()
}

/// What the notes of a folder say about each other. They say it only of those of the same process and file.
struct Replaced {
    /// Notes with smaller numbers are replaced.
    below: BTreeMap<(Option<String>, RemotePath), u64>,
    notes: BTreeSet<(String, RemotePath)>,
}

impl Replaced {
    fn by(kept: &[Kept]) -> Self {
        let (mut below, mut notes) = (BTreeMap::new(), BTreeSet::new());
        for kept in kept {
            let path = kept.sidecar.path.clone();
            match &kept.sidecar.replaces {
                Replaces::Everything => {
                    let all = below.entry((process_of(&kept.note), path)).or_insert(0);
                    *all = number_of(&kept.note).unwrap_or(0).max(*all);
                }
                Replaces::Note(note) => drop(notes.insert((note.clone(), path))),
                Replaces::Nothing => {}
            }
        }
        Self { below, notes }
    }

    fn has(&self, kept: &Kept) -> bool {
        let path = &kept.sidecar.path;
        let stem = kept.note.file_stem().unwrap_or_default();
        let name = (stem.to_string_lossy().into_owned(), path.clone());
        let below = self.below.get(&(process_of(&kept.note), path.clone()));
        let older = below.is_some_and(|all| number_of(&kept.note).unwrap_or(0) < *all);
        older || self.notes.contains(&name)
    }
}

impl Kept {
    /// Who removed the bytes does not want them. Where they are elsewhere, that disk may just not be there: the note
    /// stays.
    fn is_unwanted(&self) -> bool {
        let copy = self.copy();
        let Err(error) = fs::symlink_metadata(&copy) else {
            return false;
        };
        if error.kind() == io::ErrorKind::NotFound && self.sidecar.data.is_none() {
            return true;
        }
        log::warn!(
            "{}: {} cannot be seen: {error}; if it is not wanted any more, delete {}",
            self.sidecar.path,
            copy.display(),
            self.note.display()
        );
        false
    }
}

/// Of `<process>-<number>.kept`.
fn process_of(note: &Path) -> Option<String> {
    let stem = note.file_stem()?.to_str()?;
    stem.rsplit_once('-').map(|(process, _)| process.to_owned())
}

fn number_of(note: &Path) -> Option<u64> {
    let stem = note.file_stem()?.to_str()?;
    stem.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::place::{JournalConfig, Place, write_note};
    use super::*;

    fn config(directory: &Path) -> JournalConfig {
        JournalConfig {
            directory: directory.join("ftpfs"),
            key: "0123".into(),
            url: "ftp://h/d".into(),
            options: Vec::new(),
        }
    }

    fn path(name: &str) -> RemotePath {
        RemotePath::root().join(name.as_bytes()).unwrap()
    }

    fn stems(kept: &[Kept]) -> Vec<&str> {
        let stems = kept.iter().map(|kept| kept.note.file_stem().unwrap());
        stems.map(|stem| stem.to_str().unwrap()).collect()
    }

    #[test]
    fn what_a_newer_note_does_not_replace_stays() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let place = Place::open(&config, false).unwrap().0;
        let everything = || Replaces::Everything;
        let notes = [
            // Its own of before, and one of before that.
            ("7-1", "f", 10, everything()),
            ("7-2", "f", 20, Replaces::Nothing),
            ("7-3", "f", 20, Replaces::Note("7-2".into())),
            // Another process is no judge of this one's.
            ("8-9", "f", 5, everything()),
            ("7-5", "g", 30, Replaces::Nothing),
            ("7-6", "g", 30, everything()),
            ("7-7", "g", 31, Replaces::Nothing),
        ];
        for (stem, name, when, replaces) in notes {
            let mut sidecar = Sidecar::example(path(name), 0);
            sidecar.when = std::time::UNIX_EPOCH + Duration::from_secs(when);
            sidecar.replaces = replaces;
            fs::write(place.note(stem).with_extension("data"), "").unwrap();
            write_note(&place.note(stem), &sidecar).unwrap();
        }
        let expected = ["7-6", "7-7", "7-1", "7-3", "8-9"];
        let shared = kept_in(&place.directory, false);
        assert_eq!(stems(&shared), expected);
        assert!(place.note("7-2").exists() && place.note("7-5").exists());
        let alone = kept_in(&place.directory, true);
        assert_eq!(stems(&alone), expected);
        assert!(!place.note("7-2").exists() && !place.note("7-5").exists());
    }

    #[test]
    fn bytes_that_cannot_be_seen_are_not_unwanted() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let place = Place::open(&config, false).unwrap().0;
        let mut sidecar = Sidecar::example(path("f"), 0);
        write_note(&place.note("7-1"), &sidecar).unwrap();
        sidecar.data = Some(dir.path().join("not mounted/kept-7-2.data"));
        sidecar.path = path("g");
        write_note(&place.note("7-2"), &sidecar).unwrap();
        // Here it is not the file that is missing.
        sidecar.data = Some(dir.path().join("x".repeat(300)));
        sidecar.path = path("h");
        write_note(&place.note("7-3"), &sidecar).unwrap();
        let found = kept_in(&place.directory, true);
        assert_eq!(stems(&found), ["7-3", "7-2"]);
        assert!(!place.note("7-1").exists(), "somebody has deleted the data");
        assert!(place.note("7-2").exists() && place.note("7-3").exists());
    }
}
