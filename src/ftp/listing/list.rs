//! LIST: the parsers in order, and the lines that are no entry in any form.

use std::cell::OnceCell;

use super::line::{Outcome, is_digits, lines, word};
use super::time::Clock;
use super::{ParsedListing, dos, unix};

/// Parses a LIST in whatever form.
pub(super) fn parse(bytes: &[u8], clock: &Clock) -> ParsedListing {
    let order = OnceCell::new();
    let order = || *order.get_or_init(|| dos::day_order(bytes));
    let mut listing = ParsedListing::default();
    for line in lines(bytes).filter(|line| !line.is_empty()) {
        let parsers: [&dyn Fn() -> Outcome; 3] = [
            &|| unix::entry(line, clock),
            &|| dos::entry(line, clock, order),
            &|| unix::numeric_entry(line),
        ];
        let outcome = parsers
            .iter()
            .map(|parser| parser())
            .find(|outcome| !matches!(outcome, Outcome::NotMine));
        match outcome {
            Some(Outcome::Entry(entry)) => listing.entries.push(entry),
            Some(Outcome::Skip) => {}
            Some(Outcome::Bad) => listing.unparsed.push(line.to_vec()),
            Some(Outcome::NotMine) | None => {
                if line.ends_with(b":") && !listing.entries.is_empty() {
                    break;
                }
                let heads = listing.entries.is_empty() && (is_total(line) || line.ends_with(b":"));
                if !heads {
                    listing.unparsed.push(line.to_vec());
                }
            }
        }
    }
    listing
}

/// `total 48` in any language.
fn is_total(line: &[u8]) -> bool {
    let Some((_, rest)) = word(line) else {
        return false;
    };
    word(rest).is_some_and(|(count, rest)| is_digits(count) && word(rest).is_none())
}
