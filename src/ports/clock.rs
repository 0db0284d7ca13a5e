//! The clock port.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the time now. Unit: milliseconds since the Unix epoch, UTC.
    fn now_ms(&self) -> u64;
}

/// A clock that advances by one millisecond a question: the twin.
#[derive(Debug)]
pub struct FixedClock(AtomicU64);

impl FixedClock {
    /// Starts at that time. Unit: milliseconds since the Unix epoch.
    pub fn at(ms: u64) -> Self {
        Self(AtomicU64::new(ms))
    }
}

impl Clock for FixedClock {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
