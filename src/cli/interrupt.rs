//! ^C: the first asks the run to end in order, the second ends it at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::error::{CliError, exit_code};

/// Returns the flag that an interruption sets.
///
/// # Errors
/// The operating system refuses.
pub fn flag() -> Result<Arc<AtomicBool>, CliError> {
    let cancelled = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let code = i32::from(exit_code::INTERRUPTED);
        // Registered first: it acts only when the flag was set by an earlier signal.
        let registered = flag::register_conditional_shutdown(signal, code, Arc::clone(&cancelled))
            .and_then(|_| flag::register(signal, Arc::clone(&cancelled)));
        registered.map_err(|e| CliError::environment("wait for interruptions", e))?;
    }
    Ok(cancelled)
}
