//! The lock port: one apply at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("the lock `{name}` is held by {holder}; wait for it, or stop it")]
    Held {
        /// The lock.
        name: String,
        /// Who has it, as they said.
        holder: String,
    },
    /// Input or output failed.
    #[error("{attempt}")]
    Io {
        /// What was attempted, on which object.
        attempt: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Holds a lock until it is dropped.
pub trait LockGuard: Send {}

/// Gives each named lock to one holder at a time. The locks of a dead holder are free.
pub trait Lock: Send + Sync {
    /// Takes a lock, or says who has it. `holder` tells the others who we are: a process, a host, a pipeline.
    ///
    /// # Errors
    /// See [`LockError`].
    fn try_lock(&self, name: &str, holder: &str) -> Result<Box<dyn LockGuard>, LockError>;
}

/// Locks in memory: the twin.
#[derive(Clone, Debug, Default)]
pub struct MemoryLock(Arc<Mutex<BTreeMap<String, String>>>);

struct MemoryGuard {
    locks: MemoryLock,
    name: String,
}

impl LockGuard for MemoryGuard {}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        self.locks.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Lock for MemoryLock {
    fn try_lock(&self, name: &str, holder: &str) -> Result<Box<dyn LockGuard>, LockError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = held.get(name) {
            return Err(LockError::Held { name: name.to_owned(), holder: other.clone() });
        }
        held.insert(name.to_owned(), holder.to_owned());
        Ok(Box::new(MemoryGuard { locks: self.clone(), name: name.to_owned() }))
    }
}
