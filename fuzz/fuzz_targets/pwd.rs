//! Answers to PWD, and paths.

#![no_main]

#[path = "../../tests/fuzz/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::pwd(data));
