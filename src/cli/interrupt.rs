//! ^C: the first asks what is under way to end in order, the second ends it at once.
//!
//! The one idea: once somebody listens, somebody listens until the end of the process; whoever gave a signal back would
//! not get the system's own handling of it.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;

use super::error::{CliError, exit_code};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Returns the flag that an interruption sets.
///
/// # Errors
/// The operating system refuses.
pub fn flag() -> Result<Arc<AtomicBool>, CliError> {
    if let Some(known) = FLAG.get() {
        return Ok(Arc::clone(known));
    }
    let flag = Arc::<AtomicBool>::default();
    for signal in [SIGINT, SIGTERM] {
        let code = i32::from(exit_code::INTERRUPTED);
        // Registered first: it acts only when the flag was set by an earlier signal.
        flag::register_conditional_shutdown(signal, code, Arc::clone(&flag)).map_err(refused)?;
        flag::register(signal, Arc::clone(&flag)).map_err(refused)?;
    }
    Ok(Arc::clone(FLAG.get_or_init(|| flag)))
}

/// Says whether somebody listened, and was interrupted.
pub fn is_set() -> bool {
    FLAG.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

fn refused(error: std::io::Error) -> CliError {
    CliError::environment("wait for interruptions", error)
}

/// Returns where the number of a signal is found that somebody else is to be told of.
///
/// # Errors
/// The operating system refuses.
pub fn handed_on() -> Result<Arc<AtomicUsize>, CliError> {
    let caught = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2] {
        flag::register_usize(signal, Arc::clone(&caught), usize::try_from(signal).unwrap_or(0)).map_err(refused)?;
    }
    Ok(caught)
}
