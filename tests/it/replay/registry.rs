//! No aggregate is left out.

use crate::tree::{none_of, read, rust_files};

#[test]
fn every_aggregate_is_known_to_replays() {
    let list = read("replay/src/aggregates.rs");
    let aggregates = rust_files("domain/src").into_iter().flat_map(|source| {
        let names = source.text.split("\nimpl Decider for ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        names.map(str::to_owned).collect::<Vec<_>>()
    });
    let unlisted = aggregates.filter(|name| !list.contains(&format!("of::<{name}>()")));
    none_of(&unlisted.collect::<Vec<_>>(), "aggregates without a line in replay/src/aggregates.rs");
}
