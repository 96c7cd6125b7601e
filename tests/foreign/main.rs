//! Servers that speak of names, times and users in ways of their own, through real mounts.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod account;
mod codepage;
mod documented;
mod folder;
mod on_servers;
mod space;
mod zone;

#[path = "../support/mod.rs"]
mod support;
