//! `aftercast`: see `aftercast --help`.

use std::process::ExitCode;

// Threads of capture, store and network allocate and free buffers of one another; the system's allocator keeps such
// memory per thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    aftercast_node::cli::main()
}
