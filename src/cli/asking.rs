//! What asks or ends a mount that is there: `--status` and `--unmount`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches};

use crate::mount::{Ask, Look};

/// Words of the command line that make something else of it than a mount.
pub(super) const WORDS: [&str; 2] = ["status", "unmount"];

pub(super) fn arguments() -> [Arg; 4] {
    let switch = |name, help| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    [
        switch(
            "status",
            "tell what the mount at MOUNTPOINT is doing; without MOUNTPOINT all mounts of this user",
        ),
        switch("json", "with --status: for programs"),
        switch(
            "watch",
            "with --status: go on telling, with the transfers under way, until Ctrl-C or the end",
        ),
        switch(
            "unmount",
            "unmount MOUNTPOINT, and wait until the server has everything",
        ),
    ]
}

/// What is asked, if anything is.
///
/// # Errors
/// One line.
pub(super) fn found(matches: &ArgMatches) -> Result<Option<Ask>, String> {
    let set = |name| matches.get_flag(name);
    let (status, unmount) = (set("status"), set("unmount"));
    if !status && !unmount {
        return match set("json") || set("watch") {
            true => Err(
                "--json and --watch belong to --status: ftpfs --status [--json | --watch] [MOUNTPOINT]"
                    .into(),
            ),
            false => Ok(None),
        };
    }
    let place = |id: &str| matches.get_one::<std::ffi::OsString>(id).map(PathBuf::from);
    let others = set("check") || set("recover") || place("MOUNTPOINT").is_some();
    if status && (unmount || others || (set("json") && set("watch"))) {
        return Err(
            "--status takes a mountpoint at most: ftpfs --status [--json | --watch] [MOUNTPOINT]"
                .into(),
        );
    }
    match place("SOURCE") {
        Some(mountpoint) if unmount && !others && !set("json") && !set("watch") => {
            Ok(Some(Ask::Unmount(mountpoint)))
        }
        _ if unmount => Err("--unmount takes a mountpoint: ftpfs --unmount MOUNTPOINT".into()),
        mountpoint => Ok(Some(Ask::Status {
            mountpoint,
            look: match () {
                () if set("json") => Look::Json,
                () if set("watch") => Look::Watch,
                () => Look::Once,
            },
        })),
    }
}
