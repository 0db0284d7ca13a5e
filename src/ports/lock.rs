//! The lock port: one apply at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("the lock `{name}` is held by {holder}{}; wait for it, or stop it", since.as_ref().map(|at| format!(" since {at}")).unwrap_or_default())]
    Held {
        /// The lock.
        name: String,
        /// Who has it, as they said.
        holder: String,
        /// Since when, where that is known.
        since: Option<String>,
    },
    /// There can be no lock here.
    #[error("{0}")]
    Unable(String),
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

/// How firmly a lock is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nobody else has it.
    Sure,
    /// It could not be said lately that it is still held: nothing new is begun until that is known.
    Unsure,
    /// Somebody else may have it, for this reason: nothing new is begun.
    Lost(String),
}

/// Holds a lock until it is dropped.
pub trait LockGuard: Send + Sync {
    /// Says how firmly it is held.
    fn hold(&self) -> Hold {
        Hold::Sure
    }

    /// Makes sure that it is held where there was no place for it yet when it was taken; waits for who has it.
    ///
    /// # Errors
    /// See [`LockError`].
    fn confirm(&self) -> Result<(), LockError> {
        Ok(())
    }
}

/// Gives each named lock to one holder at a time. The locks of a dead holder are free, perhaps after a while.
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
            return Err(LockError::Held { name: name.to_owned(), holder: other.clone(), since: None });
        }
        held.insert(name.to_owned(), holder.to_owned());
        Ok(Box::new(MemoryGuard { locks: self.clone(), name: name.to_owned() }))
    }
}
