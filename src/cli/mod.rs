//! The command line: what was typed, what it means, and every word that is printed.
//!
//! What lives here: arguments (`args`), commands (`commands`, a file each), the ports made from URIs (`wiring`), and
//! the exit codes (`error`). What does not: thought. A command calls the pipeline and draws what it answers.
//!
//! The one idea: this room alone prints, reads the environment and ends the process. Data goes to stdout, talk to
//! stderr.
#![allow(clippy::disallowed_methods, reason = "the command line is where the process meets the world")]

mod args;
mod charts;
mod commands;
mod docker_options;
mod durations;
mod environment;
mod error;
mod interrupt;
mod host;
mod plan_file;
mod post_render;
mod project;
mod secret_key;
mod seconds;
mod sizes;
mod streams;
mod values;
mod wiring;

pub use error::{CliError, exit_code};
pub use streams::{Invocation, Streams};

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a command line and returns the exit code.
pub fn run(mut invocation: Invocation) -> u8 {
    #[cfg(target_os = "linux")]
    if invocation.args.get(1).is_some_and(|word| word == "template") {
        // Before the first page is touched; the command itself says why.
        let _ = rustix::thread::disable_transparent_huge_pages(true);
    }
    if !invocation.env.contains_key("RUST_BACKTRACE") {
        // The bug report below says it all; who wants more asks for it.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let caught = catch_unwind(AssertUnwindSafe(|| command(&mut invocation)));
    let result = caught.unwrap_or_else(|payload| Err(CliError::bug(payload.as_ref())));
    match result {
        Ok(code) => code,
        Err(error) => {
            invocation.streams.tell(&error.text(invocation.streams.err_color));
            error.code()
        }
    }
}

fn command(invocation: &mut Invocation) -> Result<u8, CliError> {
    let line = environment::with_environment(args::command(), &invocation.args, &invocation.env);
    let cli = match args::parse(&line) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, invocation),
    };
    invocation.streams.configure(&cli.global, &invocation.env);
    use args::Command::{Apply, Build, Cache, Export, Publish, Run};
    let clears = matches!(cli.command, Cache(args::CacheCommand::Clear));
    if clears || matches!(cli.command, Build(_) | Publish(_) | Export(_) | Apply(_) | Run(_)) {
        wiring::become_root_to_build(invocation);
    }
    tell_unread(&cli.command, invocation);
    commands::run(cli, invocation)
}

/// A variable that is misspelt, or of an option that is not there yet, does nothing: whoever set it should know.
fn tell_unread(command: &args::Command, invocation: &Invocation) {
    use args::Command::{Completion, Explain, Template};
    if matches!(command, Completion(_) | Explain(_) | Template(_)) {
        return;
    }
    let unread = environment::unread(args::command(), &invocation.env);
    if !unread.is_empty() {
        let list = unread.join(", ");
        invocation.streams.inform(&format!("warning: no option has these variables, and they do nothing: {list}"));
    }
}

/// Help and versions are data; everything else that clap says is a usage error.
fn usage(error: &clap::Error, invocation: &mut Invocation) -> Result<u8, CliError> {
    let rendered = error.render();
    if error.use_stderr() {
        let colored = invocation.streams.err_color;
        let text = if colored { rendered.ansi().to_string() } else { rendered.to_string() };
        invocation.streams.tell(text.trim_end());
        return Ok(exit_code::USAGE);
    }
    let colored = invocation.streams.out_color;
    let text = if colored { rendered.ansi().to_string() } else { rendered.to_string() };
    invocation.streams.print(&text)?;
    Ok(exit_code::DONE)
}
