//! Encryption: whom ftpfs believes and what it says of the others, and many transfers in a row on real servers.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod authority;
mod refusals;
mod transfers;
mod trust;

#[path = "../support/mod.rs"]
mod support;
