//! What every lock promises.

use stagewright::backend::FileLock;
use stagewright::ports::{Lock, LockError, MemoryLock};

#[test]
fn a_lock_has_one_holder_and_is_free_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let mut locks: Vec<Box<dyn Lock>> =
        vec![Box::new(MemoryLock::default()), Box::new(FileLock::new(dir.path().join("a/locks")))];
    locks.extend(in_a_cluster());
    for lock in locks {
        let first = lock.try_lock("shop", "process 7 on host-a").unwrap();
        let error = lock.try_lock("shop", "process 8").err().expect("the lock is held");
        assert!(matches!(&error, LockError::Held { holder, .. } if holder == "process 7 on host-a"), "{error}");
        assert!(error.to_string().contains("`shop` is held by process 7 on host-a"), "{error}");
        let other = lock.try_lock("other", "process 8").unwrap();
        drop(first);
        let again = lock.try_lock("shop", "9").unwrap();
        assert!(lock.try_lock("shop", "10").is_err_and(|e| e.to_string().contains("held by 9")));
        drop((again, other));
    }
}

/// Leases of the namespace `default`, where there is a cluster.
#[cfg(feature = "cluster")]
fn in_a_cluster() -> Option<Box<dyn Lock>> {
    use stagewright::backend::{ClusterOptions, ClusterTarget};
    let cluster = crate::services::Cluster::shared()?;
    let kubeconfig = Some(cluster.kubeconfig().display().to_string());
    Some(Box::new(ClusterTarget::connect(&ClusterOptions { kubeconfig, ..ClusterOptions::default() }).unwrap()))
}

#[cfg(not(feature = "cluster"))]
fn in_a_cluster() -> Option<Box<dyn Lock>> {
    None
}
