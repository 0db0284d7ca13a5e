//! A limit of requests, where one is wanted.
//!
//! The one idea: whoever comes too early is told how long to wait, and keeps its place.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many requests a second, and so many at once before that counts.
pub struct Limit {
    rate: f64,
    burst: f64,
    /// How many may go now, fewer than none where some are waiting, and since when that is so.
    left: Mutex<(f64, Instant)>,
}

impl Limit {
    /// Returns a limit; `None` where the rate is 0. A burst of 0 is as many as go in a second.
    pub fn new(rate: u32, burst: u32) -> Option<Self> {
        let burst = f64::from(if burst == 0 { rate } else { burst });
        (rate > 0).then(|| Self { rate: f64::from(rate), burst, left: Mutex::new((burst, Instant::now())) })
    }

    /// Waits until the next request may go.
    pub async fn pass(&self) {
        let wait = self.wait(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes the next place, and says how long it is until then.
    fn wait(&self, now: Instant) -> Duration {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, since) = *left;
        let came = now.saturating_duration_since(since).as_secs_f64() * self.rate;
        let after = (before + came).min(self.burst) - 1.0;
        *left = (after, now.max(since));
        Duration::from_secs_f64((-after / self.rate).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let limit = Limit::new(10, 3).unwrap();
        let start = limit.left.lock().unwrap().1;
        let waits: Vec<u128> = (0..5).map(|_| limit.wait(start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200]);
        // Whoever comes later finds the places of those who waited taken, and no more than the burst free.
        assert_eq!(limit.wait(start + Duration::from_millis(300)).as_millis(), 0);
        assert_eq!(limit.wait(start + Duration::from_mins(1)).as_millis(), 0);
        assert!(limit.left.lock().unwrap().0 <= 2.0);
        assert!(Limit::new(0, 5).is_none());
    }
}
