//! Command lines as they are cut into segments.

/// Lines in groups of at most `most` bytes, or one line.
pub(super) fn whole_lines(lines: &[u8], most: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end_in = |part: &[u8]| part.iter().rposition(|b| *b == b'\n');
        let fitting = &rest[..rest.len().min(most)];
        let end = end_in(fitting)
            .or_else(|| rest.iter().position(|b| *b == b'\n'))
            .map_or(rest.len(), |last| last + 1);
        let (group, left) = rest.split_at(end);
        rest = left;
        Some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_not_torn() {
        for (most, groups) in [
            (100, &["a\r\nbb\r\nccc\r\n"][..]),
            (7, &["a\r\nbb\r\n", "ccc\r\n"]),
            (6, &["a\r\n", "bb\r\n", "ccc\r\n"]),
            (1, &["a\r\n", "bb\r\n", "ccc\r\n"]),
        ] {
            let found: Vec<_> = whole_lines(b"a\r\nbb\r\nccc\r\n", most).collect();
            let groups: Vec<_> = groups.iter().map(|g| g.as_bytes()).collect();
            assert_eq!(found, groups, "at most {most}");
        }
        assert_eq!(whole_lines(b"", 9).count(), 0);
    }
}
