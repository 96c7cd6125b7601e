//! What the user typed, made into what is meant.
