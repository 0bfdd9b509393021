//! The ports to the world outside and their adapters: effects that an event asks for, with an outcome that becomes an
//! event. None of them runs in a replay.

pub mod miners;
