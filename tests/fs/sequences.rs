//! Random sequences of operations against the model.

use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::machine::{Machine, Verdict};
use crate::operation::{Sequence, sequence};
use crate::site::Site;
use crate::support::server::{Brand, servers_under_test};

/// Sequences for each server, and operations in the longest of them.
const CASES: u32 = 40;
const LENGTH: usize = 80;

/// A sequence is made shorter by at most this many attempts.
const SHORTENING: u32 = 200;

fn number(variable: &str, otherwise: u32) -> u32 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
        Err(_) => otherwise,
    }
}

fn replay(site: &Site, sequence: &Sequence) -> Verdict {
    let mut machine = Machine::new(site, sequence);
    for operation in &sequence.operations {
        machine.run(*operation)?;
    }
    machine.finish()
}

fn agree_with_the_model(brand: Brand, seed: u32) {
    let site = Site::start(brand);
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: number("FTPFS_TEST_CASES", CASES),
        max_shrink_iters: SHORTENING,
        failure_persistence: None,
        ..Config::default()
    };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let outcome = runner.run(&sequence(LENGTH), |sequence| replay(&site, &sequence));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, sequence)) => {
            panic!("{brand}, seed {seed}: {reason}\n{sequence:?}")
        }
        Err(failure) => panic!("{brand}, seed {seed}: {failure}"),
    }
}

#[test]
fn sequences_agree_with_the_model() {
    let seed = number("FTPFS_TEST_SEED", 1);
    std::thread::scope(|scope| {
        for brand in servers_under_test() {
            scope.spawn(move || agree_with_the_model(brand, seed));
        }
    });
}
