//! The floors `remote` and `pool`: against real servers, and against scripted ones that fail on cue.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

#[path = "../support/mod.rs"]
mod support;

mod on_servers;
