//! How fast it is, beside what a user would take instead, in one run on one machine.
//!
//! `cargo bench -p tests --bench corelog [-- --quick] [-- --only wallets,http] [-- --runs 5]`. PostgreSQL is the server
//! that `CORELOG_TEST_POSTGRES_URL` names. What was measured stands in README.md.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures ends where it cannot go on")]

mod aims;
mod battery;
mod filling;
mod http;
mod idiomatic;
mod limits;
mod lists;
mod machine;
mod measure;
mod memory;
mod replay;
mod settings;
mod stores;
mod table;
mod wallets;

use mimalloc::MiMalloc;
use settings::Settings;

/// The allocator that the server runs with.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let settings = Settings::of_this_run();
    println!("{}", machine::describe());
    for (name, section) in [
        ("limits", limits::section as fn(&Settings) -> String),
        ("wallets", wallets::section),
        ("http", http::section),
        ("replay", replay::section),
        ("memory", memory::section),
        ("lists", lists::section),
        ("battery", battery::section),
    ] {
        if settings.wants(name) {
            println!("{}", section(&settings));
            println!("{}\n", machine::load());
        }
    }
    println!("{}", settings.aims.into_text());
}
