//! How programs of a desktop save a file, call by call: each has its own way of not losing the old one.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use crate::check::{OrFail, holds};
use crate::files::{bytes, close, get, has, put};
use crate::place::Place;

cases! {
    gnome_programs_save.seeded(seed).smoke(),
    libreoffice_saves.seeded(seed).smoke(),
    vscode_saves.seeded(seed).smoke(),
    kde_programs_save.seeded(seed),
}

fn seed(dir: &Path) {
    put(&dir.join("document"), &bytes(1, 30_000));
}

fn version(n: u64) -> Vec<u8> {
    bytes(100 + n, 20_000 + 10_000 * usize::try_from(n).unwrap_or(0))
}

/// GIO (gedit, GNOME Text Editor): a file beside it, synced and given the old one's mode; the old one becomes the
/// backup by a link, or where there are none by a rename; the new one takes the name while it is open.
fn gnome_programs_save(place: &Place) {
    let document = place.here.join("document");
    for n in 0..3 {
        let before = get(&document);
        let mode = fs::metadata(&document).or_fail("stat").permissions();
        let beside = place.here.join(format!(".goutputstream-{n}ABCDE"));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .or_fail("create");
        file.set_permissions(mode).or_fail("fchmod");
        for piece in version(n).chunks(8192) {
            file.write_all(piece).or_fail("write");
        }
        file.sync_all().or_fail("fsync");
        let backup = place.here.join("document~");
        if backup.exists() {
            fs::remove_file(&backup).or_fail("unlink");
        }
        if fs::hard_link(&document, &backup).is_err() {
            fs::rename(&document, &backup).or_fail("rename to the backup");
        }
        fs::rename(&beside, &document).or_fail("rename");
        close(file).or_fail("close");
        has(&place.there.join("document"), &version(n));
        has(&place.there.join("document~"), &before);
        holds(&place.there, ["document", "document~"]);
    }
}

/// A lock file with who has it open; the document is locked, emptied and written anew by the descriptor that it
/// was read by.
fn libreoffice_saves(place: &Place) {
    let lock = place.here.join(".~lock.document#");
    let mut mark = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&lock)
        .or_fail("the lock file");
    mark.write_all(b",user,host,22.11.2026 12:00,file:///home/user;")
        .or_fail("write");
    close(mark).or_fail("close");
    let document = place.here.join("document");
    for n in 0..3 {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&document)
            .or_fail("open");
        let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| error)
            .or_fail("lock");
        let mut before = Vec::new();
        file.read_to_end(&mut before).or_fail("read");
        file.set_len(0).or_fail("ftruncate");
        file.rewind().or_fail("lseek");
        for piece in version(n).chunks(32 << 10) {
            file.write_all(piece).or_fail("write");
        }
        file.sync_all().or_fail("fsync");
        let file = file.unlock().map_err(|(_, error)| error).or_fail("unlock");
        close(file).or_fail("close");
        has(&place.there.join("document"), &version(n));
    }
    fs::remove_file(&lock).or_fail("unlink");
    holds(&place.there, ["document"]);
}

/// Looks whether the file is still the one that it has shown, then truncates and writes it, and looks again.
fn vscode_saves(place: &Place) {
    let document = place.here.join("document");
    let mut known = fs::metadata(&document).or_fail("stat");
    for n in 0..3 {
        let now = fs::metadata(&document).or_fail("stat");
        assert_eq!(now.len(), known.len(), "nobody else has changed it");
        assert_eq!(
            now.modified().or_fail("time"),
            known.modified().or_fail("time"),
            "nobody else has changed it"
        );
        let mut file = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&document)
            .or_fail("open");
        file.write_all(&version(n)).or_fail("write");
        file.sync_data().or_fail("fdatasync");
        close(file).or_fail("close");
        has(&place.there.join("document"), &version(n));
        known = fs::metadata(&document).or_fail("stat");
        assert_eq!(known.len(), version(n).len() as u64);
    }
    holds(&place.there, ["document"]);
}

/// QSaveFile (Kate, Okular): a file beside it with a random name, synced, closed, and renamed over.
fn kde_programs_save(place: &Place) {
    for n in 0..3 {
        let beside = place.here.join(format!("document.{n}XyZab"));
        let mut file = File::create_new(&beside).or_fail("create");
        file.write_all(&version(n)).or_fail("write");
        file.set_permissions(fs::Permissions::from_mode(0o644))
            .or_fail("fchmod");
        file.sync_data().or_fail("fdatasync");
        close(file).or_fail("close");
        fs::rename(&beside, place.here.join("document")).or_fail("rename");
        has(&place.there.join("document"), &version(n));
        holds(&place.there, ["document"]);
    }
}
