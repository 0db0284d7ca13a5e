//! ^C: the first asks the run to end in order, the second ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::low_level::unregister;

use super::error::{CliError, exit_code};

/// What interruptions set, until it is dropped.
pub struct Interrupts {
    /// Set by the first.
    pub flag: Arc<AtomicBool>,
    ids: Vec<SigId>,
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            unregister(id);
        }
    }
}

/// Returns the flag that an interruption sets.
///
/// # Errors
/// The operating system refuses.
pub fn flag() -> Result<Interrupts, CliError> {
    let mut interrupts = Interrupts { flag: Arc::default(), ids: Vec::new() };
    for signal in [SIGINT, SIGTERM] {
        let code = i32::from(exit_code::INTERRUPTED);
        // Registered first: it acts only when the flag was set by an earlier signal.
        let second = flag::register_conditional_shutdown(signal, code, Arc::clone(&interrupts.flag));
        interrupts.ids.push(second.map_err(refused)?);
        interrupts.ids.push(flag::register(signal, Arc::clone(&interrupts.flag)).map_err(refused)?);
    }
    Ok(interrupts)
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
