//! The one runtime of asynchronous clients. Ports are synchronous; behind them, this waits.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

/// How many threads serve connections; the work itself is done elsewhere.
const THREADS: usize = 2;

/// Runs a future to its end. Not to be called from within another one.
pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// Something that goes on beside; it ends with this value at the latest.
pub struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins something that goes on beside.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(runtime().spawn(future).abort_handle())
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        // Clients are made without a provider of cryptography of their own; one that is there already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        runtime.expect("the operating system gives threads")
    })
}

/// Makes sure that clients can be made; making one needs no runtime, but a provider of cryptography.
pub fn prepare() {
    runtime();
}
