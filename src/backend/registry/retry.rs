//! Trying again: when, and how often.

#![expect(clippy::disallowed_methods, reason = "a server may name the time at which to come again")]

use std::time::{Duration, SystemTime};

use super::error::{Kind, RegistryError};

/// The longest time that a server may make us wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// A server that cannot be reached is tried this often.
const CONNECTS: u32 = 4;

/// How often something is tried, and how long the first pause is; each is twice as long as the one before.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// At least 1.
    pub attempts: u32,
    /// The first pause.
    pub pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 6, pause: Duration::from_millis(250) }
    }
}

/// The attempts at one thing.
pub struct Attempts {
    retry: Retry,
    made: u32,
}

impl Attempts {
    /// Nothing was tried yet.
    pub fn new(retry: Retry) -> Self {
        Self { retry, made: 0 }
    }

    /// Waits until it may be tried again; returns the error when it may not.
    pub async fn again(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.made += 1;
        let most =
            if error.kind() == Kind::Unreachable { self.retry.attempts.min(CONNECTS) } else { self.retry.attempts };
        if self.made >= most {
            return Err(error.after(self.made));
        }
        let pause = match error.kind() {
            Kind::Lasting | Kind::NotFound => return Err(error),
            Kind::Passing(Some(asked)) => asked.min(LONGEST_WAIT) + jitter(self.retry.pause),
            Kind::Passing(None) | Kind::Unreachable | Kind::Corrupted => {
                let doubled = self.retry.pause * 2_u32.pow((self.made - 1).min(8));
                doubled / 2 + jitter(doubled)
            }
        };
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Returns a random part of a time, so that many builders do not come again at once.
fn jitter(most: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness everybody waits equally long, nothing worse.
    let _ = getrandom::fill(&mut byte);
    most * u32::from(byte[0]) / 256
}

/// Reads `Retry-After`: seconds, or a date.
pub fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let at = Duration::from_secs(u64::try_from(date.as_second()).ok()?);
    Some(at.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_names_seconds_or_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(retry_after("21 Oct 2195 07:28:00 GMT").is_some_and(|wait| wait > LONGEST_WAIT));
        assert_eq!(retry_after("soon"), None);
    }
}
