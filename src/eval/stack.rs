//! How much of the thread's stack may be used: deep templates end in an error, not in a crash.

use std::cell::Cell;

thread_local! {
    /// Address at the start of the work, and the bytes it may use below.
    static STACK: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// Bytes of stack that rendering may use on a thread that says nothing.
const UNKNOWN: usize = 900 * 1024;

/// Bytes of the stack of [`on_deep_stack`]; the system gives memory as it is touched.
const DEEP: usize = 512 * 1024 * 1024;

#[inline(never)]
fn address() -> usize {
    let here = 0u8;
    std::ptr::from_ref(std::hint::black_box(&here)) as usize
}

/// Runs work on a thread with a stack that is deep enough for any chart that Helm renders.
///
/// Where no thread can be started the work runs in place, with a smaller bound.
pub fn on_deep_stack<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if STACK.get().is_some() {
        return work();
    }
    let run = move || {
        STACK.set(Some((address(), DEEP - 1024 * 1024)));
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("render".to_owned()).stack_size(DEEP);
        let handle = thread.spawn_scoped(scope, run).expect("the system starts a thread");
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The bound of one rendering.
#[derive(Clone, Copy, Debug)]
pub struct StackBound {
    lowest: usize,
}

impl StackBound {
    /// Returns the bound of the current thread.
    pub fn here() -> Self {
        let (start, size) = STACK.get().unwrap_or_else(|| (address(), UNKNOWN));
        Self { lowest: start.saturating_sub(size) }
    }

    /// Says whether the bound is reached.
    pub fn reached(self) -> bool {
        address() < self.lowest
    }
}
