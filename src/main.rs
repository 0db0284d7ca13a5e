//! Passes the arguments to `cli` and its answer to the operating system.

use std::process::ExitCode;

use stagewright::cli::{Invocation, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).take(2).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(status) = stagewright::backend::run_inside(&words) {
        return ExitCode::from(status);
    }
    ExitCode::from(run(Invocation::of_process()))
}
