//! What no compiler checks: sizes, names, the arrows between crates and contexts, words that must not stay in the tree,
//! and what the dependencies may be.

mod arrows;
mod dependencies;
mod names;
mod words;
