//! `aftercast-seed`: the broadcaster's side of Aftercast.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    aftercast_seed::cli::main()
}
