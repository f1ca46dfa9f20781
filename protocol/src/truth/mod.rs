//! Truth: from recorders' reports to confirmed chunks (DESIGN 6).

mod facts;

pub use facts::{Class, Decision, Fact, RawFact, Reception, Report, Standing, VerifiedFact};
