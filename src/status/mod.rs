//! Counters that every room may report to, and that ask nobody.
