//! What the README says is held by tests, which are named here: each sentence about what differs from a local disk,
//! and each message that the troubleshooting explains. One that is new, gone or changed at its beginning fails, and
//! so does a test that is gone.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::fs;
use std::path::Path;

/// How each sentence begins, and below it the tests that hold it: a file below `tests`, and a function or a case in it.
const DIFFERS: &str = "\
Writing is finished by close.
    mount/semantics::a_closed_file_is_on_the_server
What you write is kept on a local disk and sent meanwhile
    mount/options::files_are_staged_where_the_user_says
    mount/write::fsync_stores_while_the_file_is_open
Their errors are real
    mount/trouble::a_full_disk_is_told_and_takes_nothing_away
    mount/semantics::a_failed_replacement_leaves_the_old_content
    faults/table::dropped_before_always
A program that ignores the result of close
    mount/unmount::what_cannot_be_stored_is_told
With writeback close waits for the local disk only
    faults/writeback::close_does_not_wait
    mount/writeback::versions_come_in_their_order
Programs on this mount see the new content at once
    mount/writeback::every_write_is_read_back_at_once
    faults/writeback::a_new_file_overwrites_no_empty_one
fsync, rename and truncate still wait
    faults/writeback::fsync_waits
    mount/writeback::renamed_before_it_is_stored
    mount/writeback::cut_before_it_is_stored
    faults/writeback::unmounting_sends_the_rest
close promises then
    faults/writeback::it_outlives_kill_9
It does not promise that the server takes it
    faults/writeback::it_waits_for_the_server
    faults/writeback::a_refusal_is_told
    faults/writeback::what_cannot_be_sent_is_kept
A new file never overwrites one that somebody else has made
    faults/writeback::a_new_file_overwrites_nothing
    faults/writeback::an_edit_overwrites_nothing
Replacing is careful.
    mount/trouble::a_full_disk_is_told_and_takes_nothing_away
The new content of an existing file goes up under a name like
    mount/semantics::names_of_unfinished_uploads_are_hidden
    mount/semantics::a_failed_replacement_leaves_the_old_content
Others may see such a name
    mount/semantics::names_of_unfinished_uploads_are_hidden
A change inside a large file may send
    mount/limits::a_large_file_of_others_is_patched_at_its_end
    faults/kept::a_part_of_a_large_file
Appending sends only what is new
    status::appending_sends_only_what_is_new
Changes made by others on the server are seen after
    mount/freshness::with_the_defaults_changes_are_seen_in_time
    mount/freshness::own_changes_are_seen_at_once
A file is checked again when it is opened
    mount/small_files::changes_of_others_in_front_of_the_reader_are_seen
    mount/freshness::a_file_replaced_while_open_is_never_mixed
Two writers.
    mount/freshness::a_lost_update_is_refused
If a file that you edit in part or append to was changed
    mount/freshness::a_lost_update_is_refused
    mount/freshness::an_append_behind_a_change_of_others_is_refused
Truncating and writing anew overwrites.
    mount/freshness::a_truncating_open_overwrites_what_others_wrote
Exclusive creation (O_EXCL) is checked just before
    mount/freshness::an_exclusive_create_sees_what_others_made
    mount/concurrency::one_of_many_gets_the_exclusive_file
Locks work between programs on this mount only.
    mount/locks::fcntl_locks_exclude_another_process
    mount/locks::locks_are_of_one_mount
Owners are not known to FTP
    mount/semantics::everything_belongs_to_the_user_who_mounted
    mount/options::uid_and_gid_are_shown
Permissions are the server's where it tells them
    mount/read::stat_tells_type_size_mode_time_and_owner
Changing mode, owner or time where the server cannot
    mount/attributes::chown_to_somebody_else_changes_nothing
    mount/semantics::what_the_server_cannot_do_is_logged_once
    mount/options::strict_makes_the_impossible_an_error
    mount/tools::rsync_twice_sends_nothing_the_second_time
Times are as exact as the server tells them
    mount/semantics::times_of_others_are_whole_seconds
    mount/attributes::the_time_of_a_written_file_stays
make may miss a change that others made
    mount/attributes::what_is_touched_is_newer_than_what_was_written
    mount/tools::a_small_c_project_is_made
Access times are not kept.
    mount/semantics::access_times_are_not_kept
Links.
    mount/links::links_are_shown_and_followed
Symbolic links are shown
    mount/links::links_are_shown_and_followed
    mount/links::links_that_leave_the_mount_are_not_followed
    mount/links::dots_behind_a_link_lead_to_no_other_file
With follow_symlinks a link is shown as what the server finds
    mount/links::followed_links_are_what_they_lead_to
Links that climb by .. inside such a folder
    mount/links::followed_links_are_what_they_lead_to
Links to nothing, or to a folder that one came through
    mount/links::followed_links_are_what_they_lead_to
Changes made by another name of the file
    mount/links::followed_links_are_what_they_lead_to
Making symbolic links depends on the server
    mount/links::making_links
    mount/semantics::there_are_no_hard_links
    mount/semantics::there_are_no_pipes_sockets_and_devices
    mount/attributes::xattrs_are_quietly_absent
A file that is removed while it is open is gone
    mount/open_files::a_reader_goes_on_after_the_removal
A writer that still has it sends nothing
    mount/open_files::a_writer_goes_on_and_sends_nothing
    fs/unlinked::a_reader_that_has_not_read_yet_reads_on
Names are bytes, as on a local disk
    mount/names::odd_files_are_made
    mount/names::line_ends_in_names_are_refused
With codepage they are text of that encoding
    foreign/codepage::latin1_names
A name whose bytes are no such text
    foreign/codepage::sjis_names_and_bytes_that_are_none
    foreign/codepage::two_names_are_never_one
A new name that the encoding cannot write
    foreign/codepage::what_latin1_cannot_write_is_refused_and_nothing_is_sent
Encodings are those of browsers
    foreign/codepage::latin1_names
Messages and the log show the server's bytes.
    foreign/codepage::messages_show_the_bytes_of_the_server
Free space is what the server tells
    foreign/space::free_space_is_what_the_server_tells
    mount/attributes::statfs_is_never_full
Nothing waits for ever (unless hard is given).
    faults/table::black_hole
    faults/outage::hard_waits_until_it_is_back
While the server is known to be away, calls fail at once
    faults/outage::who_asks_while_it_is_away_is_told_at_once
    faults/outage::a_restart_is_not_noticed
Signals end every wait, except one for another program
    fuse_border::a_program_that_waits_for_a_dead_server_can_be_interrupted
    fuse_border::who_waits_for_another_to_make_something_ends_when_the_other_does
After a refused password ftpfs does not try again
    remote/pool::a_refused_password_is_not_tried_again_by_itself
| stat, ls, free space from memory
    faults/outage::memory_answers_while_nothing_moves
| everything else, also one read
    faults/table::reply_stalls
    faults/table::data_stalls
| close, fsync
    faults/table::upload_stalls
| rename, truncate of what is being uploaded
    faults/special::who_renames_or_cuts_what_is_being_uploaded_is_told_in_time
| the end after unmounting
    status::unmounting_by_name_tells_what_could_not_be_stored
Unmounting takes the mount away at once
    mount/unmount::a_lazy_unmount_stores_what_is_open
    mount/unmount::open_files_are_stored_on_sigterm
A file whose close failed is tried once more
    mount/unmount::an_unstored_copy_leaves_no_temporary_name
    mount/unmount::what_could_not_be_stored_does_not_come_back
";

/// The messages, by the same rule.
const TROUBLESHOOTING: &str = "\
unknown option …; did you mean …?
    cli/names::the_nearest_name_is_among_all_that_work
option …: …
    cli/names::what_they_promised_and_is_not_done_is_refused_with_the_reason
no password for '…' on …, and there is no terminal to ask at
    cli/login::refusals
… could not store are kept here since …
    faults/kept::it_outlives_kill_9
… holds a password and others can read it
    cli/login::from_a_file_that_others_can_read_with_a_warning
…: the folder is not empty
    cli/mountpoint::not_empty
…: a crashed FUSE mount is still there
    cli/mounted::a_mount_that_is_there_already_or_that_crashed
… is mounted here already
    cli/mounted::a_mount_that_is_there_already_or_that_crashed
/dev/fuse is missing
    cli/mountpoint::without_fuse
fusermount3 is missing
    cli/mountpoint::without_fusermount
allow_other is for root, unless …
    cli/mountpoint::for_others_without_leave
login as '…' on … refused: … 530 …
    cli/network::a_wrong_password
the server's certificate is not trusted: …
    tls/trust::an_unknown_issuer_is_refused_with_the_way_on
… is another one than cert_sha256 tells
    tls/trust::another_certificate_than_the_pinned_one_is_refused
… refuses encryption
    tls/trust::a_server_without_encryption_is_refused_where_it_is_required
the proxy … cannot reach …
    proxy/main::who_refused_is_told
the proxy … refuses …
    proxy/main::who_refused_is_told
cannot connect to …
    cli/network::nobody_listens
… does not answer
    cli/network::a_server_that_never_answers
… has no place for another connection
    cli/network::a_server_that_is_full
…: there is no such folder on …
    cli/network::a_folder_that_is_not_there
…: cannot enter this folder on …
    cli/network::a_folder_that_is_not_there
ftpfs --check ADDRESS
    check::each_server_is_what_it_is
";

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A chapter of the README.
fn chapter(title: &str) -> String {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let (_, chapter) = readme.split_once(&format!("\n## {title}\n")).unwrap();
    chapter.split("\n## ").next().unwrap().to_owned()
}

/// The sentences and the rows of a chapter, as a reader sees them.
fn sentences(chapter: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in chapter.replace("\n- ", "\n\n").split("\n\n") {
        if part.trim_start().starts_with('|') {
            // Behind the head and its line.
            found.extend(part.lines().skip(2).map(plain));
        } else {
            let text = part.split_whitespace().collect::<Vec<_>>().join(" ");
            // A sentence ends with a full stop before a blank; the name `..` does not end one.
            let text = plain(&text).replace("..", "\u{2025}");
            let sentences = text.split_inclusive(". ");
            found.extend(sentences.map(|sentence| sentence.replace('\u{2025}', "..")));
        }
    }
    found.retain(|sentence| !sentence.is_empty());
    found
}

fn plain(text: &str) -> String {
    text.replace(['`', '*'], "").trim().to_owned()
}

/// What is printed in bold as something that is typed or shown.
fn shown(chapter: &str) -> Vec<String> {
    let bold = chapter.split("**").skip(1).step_by(2);
    bold.map(plain).collect()
}

/// The rows of a table.
fn rows(table: &str) -> Vec<(&str, Vec<&str>)> {
    let mut rows: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in table.lines() {
        match (line.strip_prefix("    "), rows.last_mut()) {
            (Some(test), Some((_, tests))) => tests.push(test),
            _ => rows.push((line, Vec::new())),
        }
    }
    rows
}

#[track_caller]
fn agree(found: &[String], table: &str) {
    let rows = rows(table);
    for (said, (beginning, _)) in found.iter().zip(&rows) {
        assert!(
            said.starts_with(beginning),
            "the README says: {said}\nthe next row is for: {beginning}"
        );
    }
    assert_eq!(found.len(), rows.len(), "the last: {:?}", found.last());
}

#[test]
fn every_sentence_about_what_differs_is_held_by_tests() {
    agree(
        &sentences(&chapter("What differs from a local disk")),
        DIFFERS,
    );
}

#[test]
fn every_message_that_is_explained_is_shown_by_tests() {
    agree(&shown(&chapter("Troubleshooting")), TROUBLESHOOTING);
}

#[test]
fn the_tests_are_there() {
    for (beginning, tests) in [DIFFERS, TROUBLESHOOTING].into_iter().flat_map(rows) {
        assert!(!tests.is_empty(), "{beginning}");
        for named in tests {
            let (file, test) = named.split_once("::").unwrap();
            let path = project().join("tests").join(file).with_extension("rs");
            let code = fs::read_to_string(&path).unwrap();
            let is_there = [format!("fn {test}("), format!("\"{test}\"")];
            assert!(
                is_there.iter().any(|text| code.contains(text)),
                "no test {named}"
            );
        }
    }
}
