//! Canonical chunk form out.
