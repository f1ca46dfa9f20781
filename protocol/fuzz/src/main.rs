//! The kit's targets under libFuzzer: `AFTERCAST_FUZZ_TARGET` names one.
#![no_main]

mod kit;

use std::sync::OnceLock;

use kit::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    let name = std::env::var("AFTERCAST_FUZZ_TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("AFTERCAST_FUZZ_TARGET must be one of: {}", names.join(" "));
        std::process::exit(2)
    })
}

fuzz_target!(init: { write_seeds(chosen()) }, |input: &[u8]| {
    (TARGET.get_or_init(chosen).run)(input);
});

/// Inputs to begin with, for `make fuzz`: into the folder that `AFTERCAST_FUZZ_SEEDS` names.
fn write_seeds(target: &Target) {
    let Ok(folder) = std::env::var("AFTERCAST_FUZZ_SEEDS") else { return };
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        let path = std::path::Path::new(&folder).join(format!("seed-{number}"));
        if let Err(error) = std::fs::write(&path, seed) {
            eprintln!("{}: {error}", path.display());
            std::process::exit(2);
        }
    }
}
