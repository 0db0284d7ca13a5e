//! Passes the arguments to `cli` and its answer to the operating system.

use std::process::ExitCode;

use stagewright::cli::{Invocation, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(run(Invocation::of_process()))
}
