//! The commands of the program, one file each.

pub mod chunk;
mod progress;
pub mod verify;

/// Exit code of wrong usage or configuration.
pub const EXIT_USAGE: u8 = 2;
