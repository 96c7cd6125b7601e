//! What the tests with servers and mounts share. Taken in by `#[path = "../support/mod.rs"] mod support;`.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part of this"
)]

pub mod descriptors;
pub mod faulty;
pub mod footprint;
pub mod mounted;
pub mod poll;
pub mod proxies;
pub mod scripted;
pub mod server;
