//! Editors and databases: programs that change files in place, each in its own way.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::case::{ATOMIC, IN_PLACE, NO_CACHE, ONE_CONNECTION};
use crate::check::{OrFail, eventually, holding, holds, same_bytes};
use crate::files::{bytes, get, has, put};
use crate::place::Place;
use crate::shell::{output, program, sh, sh_fails, succeeds};

cases! {
    sed_in_place.seeded(seed_text).smoke().also(&[NO_CACHE, ATOMIC, IN_PLACE]),
    perl_in_place_with_a_backup.seeded(seed_text),
    vim_edits.seeded(seed_text).smoke().also(&[NO_CACHE, ONE_CONNECTION, ATOMIC]),
    vim_edits_with_backups.seeded(seed_text),
    vim_makes_a_new_file.smoke(),
    a_save_by_backup_and_rewrite.seeded(seed_text).smoke(),
    a_save_by_temporary_file_and_rename.seeded(seed_text).smoke().also(&[NO_CACHE]),
    sqlite_with_a_rollback_journal.smoke().seconds(240).also(&[ONE_CONNECTION]),
    sqlite_rolls_back.smoke(),
    two_sqlite_processes_exclude_each_other,
    ed_and_patch_and_sort.seeded(seed_text),
}

fn seed_text(dir: &Path) {
    let text: String = (0..500)
        .map(|n| format!("line {n} of the old text\n"))
        .collect();
    put(&dir.join("text"), text.as_bytes());
}

fn new_text() -> String {
    (0..500)
        .map(|n| format!("line {n} of the new text\n"))
        .collect()
}

/// vim by any of the names that it is installed under.
fn vim() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    ["vim", "vim.tiny", "vim.basic", "vi"]
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|path| path.exists())
        .expect("vim is installed (scripts/test does that)")
}

fn sed_in_place(place: &Place) {
    sh(&place.here, "sed -i 's/old/new/' text");
    has(&place.there.join("text"), new_text().as_bytes());
    holds(&place.here, ["text"]);
    sh(&place.here, "sed -i.bak -e 1d -e '$a the end' text");
    let expected = sh(&place.there, "tail -n +2 text.bak; echo the end");
    has(&place.there.join("text"), expected.as_bytes());
    has(&place.there.join("text.bak"), new_text().as_bytes());
    holds(&place.there, ["text", "text.bak"]);
}

fn perl_in_place_with_a_backup(place: &Place) {
    sh(&place.here, "perl -pi.orig -e 's/old/new/' text");
    has(&place.there.join("text"), new_text().as_bytes());
    holds(&place.there, ["text", "text.orig"]);
}

/// Runs vim without anybody's settings on a file of the place; `before` goes first.
fn edit(place: &Place, before: &[&str], file: &str, commands: &[&str]) {
    let mut vim = program(&place.here, vim());
    vim.args(["-es", "-N", "-i", "NONE", "-u", "NONE"]);
    for command in before {
        vim.args(["--cmd", command]);
    }
    for command in commands {
        vim.args(["-c", command]);
    }
    succeeds(vim.args(["-c", "wq", file]));
}

fn vim_edits(place: &Place) {
    edit(
        place,
        &["set swapfile directory=."],
        "text",
        &["%s/old/new/"],
    );
    has(&place.there.join("text"), new_text().as_bytes());
    holds(&place.there, ["text"]);
    edit(
        place,
        &["set swapfile directory=."],
        "text",
        &["%s/new/old/", "1,499d"],
    );
    has(&place.there.join("text"), b"line 499 of the old text\n");
}

fn vim_edits_with_backups(place: &Place) {
    for (n, copy) in ["yes", "no", "auto", "yes,breaksymlink"]
        .into_iter()
        .enumerate()
    {
        let options = format!(
            "set backup writebackup backupcopy={copy} backupdir=. backupskip= directory=. fsync"
        );
        let (old, new) = if n % 2 == 0 {
            ("old", "new")
        } else {
            ("new", "old")
        };
        let before = get(&place.there.join("text"));
        edit(place, &[&options], "text", &[&format!("%s/{old}/{new}/")]);
        has(&place.there.join("text~"), &before);
        let after = String::from_utf8(before).or_fail("text").replace(old, new);
        has(&place.there.join("text"), after.as_bytes());
    }
    holds(&place.there, ["text", "text~"]);
}

fn vim_makes_a_new_file(place: &Place) {
    edit(
        place,
        &["set directory=."],
        "new file",
        &["normal ihello world"],
    );
    has(&place.there.join("new file"), b"hello world\n");
    holds(&place.there, ["new file"]);
}

fn a_save_by_backup_and_rewrite(place: &Place) {
    for n in 0..5 {
        sh(
            &place.here,
            &format!("mv text 'text~'; echo version {n} > text; sync text; chmod 644 text"),
        );
        has(
            &place.there.join("text"),
            format!("version {n}\n").as_bytes(),
        );
    }
    has(&place.there.join("text~"), b"version 3\n");
}

fn a_save_by_temporary_file_and_rename(place: &Place) {
    for n in 0..5 {
        sh(
            &place.here,
            &format!(
                "t=$(mktemp ./.text.XXXXXX); cat text > \"$t\"; echo version {n} > \"$t\"; sync \"$t\"; mv \"$t\" text"
            ),
        );
        has(
            &place.there.join("text"),
            format!("version {n}\n").as_bytes(),
        );
        holds(&place.there, ["text"]);
    }
}

fn sqlite(dir: &Path, sql: &str) -> String {
    succeeds(program(dir, "sqlite3").args(["-bail", "-batch", "db", sql]))
}

fn sqlite_with_a_rollback_journal(place: &Place) {
    let mode = sqlite(
        &place.here,
        "pragma journal_mode = delete; create table t (n integer primary key, text);",
    );
    assert_eq!(mode, "delete\n", "journal mode");
    for round in 0..10 {
        let rows: String = (0..100)
            .map(|n| format!("insert into t (text) values ('row {n} of round {round}');"))
            .collect();
        sqlite(&place.here, &format!("begin; {rows} commit;"));
    }
    sqlite(
        &place.here,
        "update t set text = text || ' changed' where n % 3 = 0; delete from t where n % 10 = 1;",
    );
    sqlite(&place.here, "create index i on t (text); vacuum;");
    let count = "select count(*), sum(n), sum(length(text)) from t; pragma integrity_check;";
    let told = sqlite(&place.here, count);
    assert!(told.starts_with("900|"), "rows: {told}");
    assert!(told.ends_with("\nok\n"), "integrity: {told}");
    assert_eq!(sqlite(&place.there, count), told, "the same on the server");
    holds(&place.there, ["db"]);
    same_bytes(
        "the database",
        &get(&place.here.join("db")),
        &get(&place.there.join("db")),
    );
}

fn sqlite_rolls_back(place: &Place) {
    sqlite(
        &place.here,
        "create table t (n); insert into t values (1), (2), (3);",
    );
    sqlite(
        &place.here,
        "begin; delete from t; insert into t values (9); rollback;",
    );
    assert_eq!(
        sqlite(&place.there, "select sum(n) from t;"),
        "6\n",
        "what was there before"
    );
    // A program that dies leaves its journal, and the next one undoes what it had begun.
    let journal =
        "pragma cache_size = 1; begin; insert into t select value from generate_series(1, 20000);";
    let out = output(program(&place.here, "sh").args([
        "-c",
        &format!("(echo \"{journal}\"; echo \"select count(*) from t;\"; echo .system 'kill -9 $PPID') | sqlite3 db"),
    ]));
    assert!(!out.status.success(), "the program was killed: {out:?}");
    assert_eq!(
        sqlite(&place.here, "select sum(n) from t; pragma integrity_check;"),
        "6\nok\n",
        "after the rollback"
    );
}

fn two_sqlite_processes_exclude_each_other(place: &Place) {
    sqlite(&place.here, "create table t (n);");
    // It waits for the lock: the look whether it has it takes it for an instant.
    let mut holder = program(&place.here, "sh")
        .args([
            "-ec",
            "(echo .timeout 60000; echo 'begin exclusive; insert into t values (1);'; touch held; while [ ! -e let-go ]; do sleep 0.1; done; echo 'commit;') | sqlite3 -bail db",
        ])
        .spawn()
        .or_fail("spawn");
    eventually(
        "the first holds the lock",
        std::time::Duration::from_secs(60),
        || {
            let ended = holder.try_wait().or_fail("wait");
            assert!(ended.is_none(), "the first has ended: {ended:?}");
            let busy =
                output(program(&place.here, "sqlite3").args(["db", "begin exclusive; commit;"]));
            let said = String::from_utf8_lossy(&busy.stderr).into_owned();
            holding(said.contains("database is locked"), || format!("{busy:?}"))
        },
    );
    put(&place.here.join("let-go"), b"");
    assert!(
        holder.wait().or_fail("wait").success(),
        "the first ends well"
    );
    sqlite(&place.here, "insert into t values (2);");
    assert_eq!(
        sqlite(&place.there, "select sum(n) from t;"),
        "3\n",
        "both have written"
    );
}

fn ed_and_patch_and_sort(place: &Place) {
    sh(
        &place.here,
        "sort -o text -r text; sort -c -r text; sort text | uniq -c > /dev/null; sort -n -k 2 -o text text",
    );
    let old: String = new_text().replace("new", "old");
    has(&place.there.join("text"), old.as_bytes());
    sh(
        &place.here,
        "cp text other; sed -i 's/line 7 /LINE 7 /' other; diff -u text other > d || true; cmp text other && exit 1; cat d | grep -q '+LINE 7'",
    );
    let said = sh_fails(&place.here, "cmp text other");
    assert!(said.is_empty(), "cmp says on standard error: {said}");
    put(&place.here.join("data"), &bytes(1, 100_000));
    sh(
        &place.here,
        "split -b 30000 data part.; cat part.* | cmp - data; rm part.*",
    );
    fs::remove_file(place.here.join("d")).or_fail("unlink");
    holds(&place.there, ["text", "other", "data"]);
}
