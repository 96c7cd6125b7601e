//! The whole program at work: one list of cases, run through a real mount of every server brand, and
//! first on a plain local folder, which shows that the cases themselves ask for no more than POSIX.
//!
//! `FTPFS_TEST_SERVERS=vsftpd,proftpd` runs all cases on these brands only; `FTPFS_TEST_ALL=1` all cases on
//! all brands. Without them vsftpd and proftpd get all cases, the others the smoke set.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[macro_use]
mod case;
mod check;
mod facts;
mod files;
mod harness;
mod place;
mod shell;
mod small_files;
mod site;
mod steady;
mod sys;
mod tree;

mod active;
mod attributes;
mod concurrency;
mod denied;
mod desktop;
mod editors;
mod freshness;
mod fsx;
mod limits;
mod links;
mod locks;
mod names;
mod namespace;
mod open_files;
mod options;
mod pool;
mod read;
mod rename;
mod segments;
mod semantics;
mod tools;
mod trouble;
mod unmount;
mod versioning;
mod walks;
mod write;
mod write_random;
mod writeback;

#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use crate::case::Case;

/// Every topic, in the order in which they run.
const TOPICS: &[(&str, &[Case])] = &[
    ("read", read::CASES),
    ("write", write::CASES),
    ("write_random", write_random::CASES),
    ("namespace", namespace::CASES),
    ("rename", rename::CASES),
    ("open_files", open_files::CASES),
    ("denied", denied::CASES),
    ("attributes", attributes::CASES),
    ("names", names::CASES),
    ("links", links::CASES),
    ("locks", locks::CASES),
    ("options", options::CASES),
    ("active", active::CASES),
    ("freshness", freshness::CASES),
    ("walks", walks::CASES),
    ("concurrency", concurrency::CASES),
    ("pool", pool::CASES),
    ("segments", segments::CASES),
    ("limits", limits::CASES),
    ("steady", steady::CASES),
    ("editors", editors::CASES),
    ("desktop", desktop::CASES),
    ("tools", tools::CASES),
    ("trouble", trouble::CASES),
    ("versioning", versioning::CASES),
    ("fsx", fsx::CASES),
    ("semantics", semantics::CASES),
    ("small_files", small_files::CASES),
    ("writeback", writeback::CASES),
    ("unmount", unmount::CASES),
];

fn main() -> ExitCode {
    if let Some(code) = locks::helper().or_else(sys::helper) {
        return code;
    }
    // The cases say what modes new files get from programs with the usual mask.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    harness::run(TOPICS)
}
