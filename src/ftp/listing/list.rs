//! LIST: the parsers in order, and the lines that are no entry in any form.

use std::cell::OnceCell;

use super::dos::{self, DayOrder};
use super::line::{Outcome, Table, lines, unpadded, word};
use super::time::Clock;
use super::{
    ParsedListing, connect_enterprise, eplf, ibmi, mvs, netware, nonstop, os2, unix, vms, vshell,
    vxworks,
};

/// A line, and what a parser may have to know beside it.
struct Place<'a> {
    line: &'a [u8],
    next: Option<&'a [u8]>,
    /// The header that stood above.
    table: Option<Table>,
    clock: &'a Clock,
    /// The whole listing, and what it says of its dates once somebody asks.
    listing: &'a [u8],
    day_order: &'a OnceCell<DayOrder>,
}

impl Place<'_> {
    fn day_order(&self) -> DayOrder {
        *self.day_order.get_or_init(|| dos::day_order(self.listing))
    }
}

/// One for each form; the first that knows a line has it. The common ones come first, and those that
/// are content with little come last.
const PARSERS: [fn(&Place<'_>) -> Outcome; 13] = [
    |p| unix::entry(p.line, p.clock),
    |p| dos::entry(p.line, p.clock, || p.day_order()),
    |p| eplf::entry(p.line),
    |p| netware::entry(p.line, p.clock),
    |p| connect_enterprise::entry(p.line, p.clock),
    |p| unix::numeric_entry(p.line),
    |p| os2::entry(p.line, p.clock),
    |p| vxworks::entry(p.line, p.clock),
    |p| vshell::entry(p.line, p.clock),
    |p| ibmi::entry(p.line, p.clock),
    |p| nonstop::entry(p.line, p.clock),
    |p| vms::entry(p.line, p.next, p.table, p.clock),
    |p| mvs::entry(p.line, p.table, p.clock),
];

/// Parses a LIST in whatever form.
pub(super) fn parse(listing: &[u8], clock: &Clock) -> ParsedListing {
    let day_order = OnceCell::new();
    let mut found = ParsedListing::default();
    let mut versions = Vec::new();
    let mut table = None;
    let mut after_gap = false;
    let mut lines = lines(listing).peekable();
    while let Some(line) = lines.next() {
        if unpadded(line).is_empty() {
            after_gap = true;
            continue;
        }
        let place = Place {
            line,
            next: lines.peek().copied(),
            table,
            clock,
            listing,
            day_order: &day_order,
        };
        let outcome = PARSERS
            .iter()
            .map(|parser| parser(&place))
            .find(|outcome| !matches!(outcome, Outcome::NotMine))
            .unwrap_or(Outcome::NotMine);
        let first = found.entries.is_empty();
        match outcome {
            Outcome::Entry(entry) => found.entries.push(entry),
            Outcome::Version {
                entry,
                version,
                wraps,
            } => {
                versions.push((found.entries.len(), version));
                found.entries.push(entry);
                if wraps {
                    lines.next();
                }
            }
            Outcome::Skip => {}
            Outcome::Header(header) if first => table = Some(header),
            // A second directory: not the one that was asked for.
            Outcome::Header(Table::Directory) if table == Some(Table::Directory) => {
                found.unparsed.push(line.to_vec());
                break;
            }
            Outcome::NotMine if is_total(line, first) => {}
            Outcome::NotMine if line.ends_with(b":") && first => {}
            // `ls -R`: what follows belongs to other directories. This command was never sent, and
            // the line may as well be the rest of a name with a line break: so it is told.
            Outcome::NotMine if line.ends_with(b":") => {
                found.unparsed.push(line.to_vec());
                // Without the empty line that ls puts before its header, so is what it hides.
                if !after_gap {
                    found.unparsed.extend(lines.map(<[u8]>::to_vec));
                }
                break;
            }
            Outcome::Header(_) | Outcome::Bad | Outcome::NotMine => {
                found.unparsed.push(line.to_vec());
            }
        }
        after_gap = false;
    }
    if !versions.is_empty() {
        found.entries = vms::newest(found.entries, &versions);
    }
    found
}

/// `total 48` in any language. Behind the first entry only the words that `ls` is known to use.
fn is_total(line: &[u8], first: bool) -> bool {
    const WORDS: [&str; 13] = [
        "total",
        "insgesamt",
        "gesamt",
        "totale",
        "totaal",
        "totalt",
        "totalt:",
        "razem",
        "итого",
        "合計",
        "总用量",
        "總計",
        "합계",
    ];
    let Some((name, rest)) = word(line) else {
        return false;
    };
    let Some((count, rest)) = word(rest) else {
        return false;
    };
    let is_count = count[0].is_ascii_digit() && count.len() <= 24;
    let known = || WORDS.iter().any(|w| w.as_bytes() == name);
    let is_word = || !name.iter().any(u8::is_ascii_digit);
    is_count && unpadded(rest).is_empty() && (known() || first && is_word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::listing::ListingClock;
    use std::time::SystemTime;

    /// The names that come out, and the lines that nobody understood.
    fn read(listing: &str) -> (Vec<String>, Vec<String>) {
        let clock = Clock::new(ListingClock {
            now: SystemTime::UNIX_EPOCH,
            utc_offset: 0,
        });
        let found = parse(listing.as_bytes(), &clock);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            found.entries.into_iter().map(|e| text(e.name)).collect(),
            found.unparsed.into_iter().map(text).collect(),
        )
    }

    const A: &str = "-rw-r--r-- 1 u g 1 Jan 1 1970 a\n";
    const B: &str = "-rw-r--r-- 1 u g 1 Jan 1 1970 b\n";
    const V: &str = "X.Y;1 1 2-JUN-1998 07:32:04\n";

    #[test]
    fn only_the_first_directory_counts() {
        let cases: [(String, &[&str], &[&str]); 7] = [
            (format!(".:\ntotal 8\n{A}\n./x:\n{B}"), &["a"], &["./x:"]),
            (format!("{A}x:\n{B}"), &["a"], &["x:", B.trim_end()]),
            (
                format!("{A}-rw-r--r-- 1 u g 1 Jan 1 1970 c:\n{B}"),
                &["a", "c:", "b"],
                &[],
            ),
            (format!("итого 3,5K\n{A}total 8\n{B}"), &["a", "b"], &[]),
            (
                format!("{A}x 8\nls: x: No\n{B}"),
                &["a", "b"],
                &["x 8", "ls: x: No"],
            ),
            (
                format!("Directory A:[B]\n\n{V}\nDirectory A:[C]\n\n{V}"),
                &["X.Y"],
                &["Directory A:[C]"],
            ),
            (
                format!("{A}Directory A:[B]\n{B}"),
                &["a", "b"],
                &["Directory A:[B]"],
            ),
        ];
        for (listing, names, unparsed) in cases {
            let (found, told) = read(&listing);
            assert_eq!(found, names, "{listing}");
            assert_eq!(told, unparsed, "{listing}");
        }
    }

    #[test]
    fn versions_and_broken_lines() {
        let columns = "9/9  2-JUN-1998 07:32:04";
        let cases = [
            (
                format!("A.B;9 {columns}\nA.B;10 {columns}\nA.B;9 {columns}\n"),
                vec!["A.B"],
                0,
            ),
            (
                format!("A.B;1\n   {columns}\nC.D;1 {columns}\n"),
                vec!["A.B", "C.D"],
                0,
            ),
            (format!("A.B;1\nC.D;1 {columns}\n"), vec!["C.D"], 1),
            (
                format!("Directory X:[Y]\nA.B;1\nC.D;1 {columns}\nE.F;1"),
                vec!["A.B", "C.D", "E.F"],
                0,
            ),
            (
                format!("SUB.DIR;1 {columns}\nSUB.DIR;2 {columns}\n;1 {columns}"),
                vec!["SUB"],
                1,
            ),
        ];
        for (listing, names, unparsed) in cases {
            let (found, told) = read(&listing);
            assert_eq!(found, names, "{listing}");
            assert_eq!(told.len(), unparsed, "{listing}: {told:?}");
        }
    }
}
