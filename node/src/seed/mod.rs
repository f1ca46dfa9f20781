//! The seed, as this device talks to it: requests with answers, and what it sends on its own account.
//!
//! [`SeedClient`] can be used by anyone and at any time; without a connection its requests fail at once.
//! [`session::run`] keeps the connection, and tells the seed what it has to know.

mod client;
mod duties;
pub mod session;

pub use client::{SeedClient, SeedError};
pub use duties::DutyBook;
