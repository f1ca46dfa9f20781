//! The broadcaster's side of Aftercast, as a library for the program and its tests.

pub mod head;
