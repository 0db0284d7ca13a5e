//! Trying again: which failures of requests pass by themselves, and for how long that is waited for.
//!
//! What lives here: [`Passing`], which tells a failure that passes from one that stays, [`Patience`], which waits between
//! the attempts at one request, and how long an answer is waited for. What does not: requests, and which of them may be sent twice (`api`).
//!
//! The one idea: time is bounded, not the number of attempts. A server that never answered is not waited for.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::api::{ApiError, causes, is_mistyped};

/// How long a failure that passes is waited for when nobody says otherwise.
pub const LIMIT: Duration = Duration::from_mins(1);
/// The most that is waited, whatever is asked for.
const MOST: Duration = Duration::from_hours(24);
/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// A server that never answered is tried for so long.
const STRANGER: Duration = Duration::from_secs(1);
/// So long what is under way goes on when the run is to end.
const LAST: Duration = Duration::from_secs(5);
/// A dry run that fails for a while is tried for so long, and for so long where it can be told without the server.
const DRY: Duration = Duration::from_secs(15);
const DRY_WEBHOOK: Duration = Duration::from_secs(1);
/// How much of the limit is waited for a webhook, and for the account of a new namespace, in hundredths.
const WEBHOOK: u32 = 400;
const ACCOUNT: u32 = 50;
/// After so long somebody is told, and again.
const SILENT: Duration = Duration::from_secs(5);
/// So long all of an answer is waited for.
pub const WHOLE: Duration = Duration::from_mins(5);
/// So long an answer to a write is waited for: the server itself gives up after a minute.
const WRITE: Duration = Duration::from_secs(75);
/// So long an answer to what only reads is waited for; so long where the server never answered, and so long where it does not
/// answer others either.
const READ: Duration = Duration::from_secs(30);
const FIRST: Duration = Duration::from_secs(10);
const GONE: Duration = Duration::from_secs(5);
/// How often it is looked whether the run is to end.
const NAP: Duration = Duration::from_millis(100);

/// Tells somebody a line.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// What all requests to one server have in common.
pub struct Retries {
    limit: Duration,
    tell: Option<Tell>,
    /// Whether the server ever answered.
    known: AtomicBool,
    /// Whether a request was given up because nothing answers, and nothing has since.
    gone: AtomicBool,
    end: Mutex<End>,
    told: Mutex<Option<Instant>>,
}

/// When a run is to end.
#[derive(Clone, Default)]
struct End {
    interrupted: Option<Arc<AtomicBool>>,
    deadline: Option<Instant>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Retries {
    /// Waits for so long; `tell` is told when that takes a while.
    pub fn new(limit: Duration, tell: Option<Tell>) -> Self {
        let (known, gone) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { limit: limit.min(MOST), tell, known, gone, end: Mutex::default(), told: Mutex::default() }
    }

    /// Says where it is seen that the run is to end.
    pub fn heed(&self, interrupted: &Arc<AtomicBool>, deadline: Option<Instant>) {
        *held(&self.end) = End { interrupted: Some(interrupted.clone()), deadline };
    }

    /// Says whether the run is to end: nothing is waited for then.
    pub fn is_ending(&self) -> bool {
        let end = held(&self.end);
        end.interrupted.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
            || end.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The server answered.
    pub fn answered(&self) {
        self.known.store(true, Ordering::Relaxed);
        self.gone.store(false, Ordering::Relaxed);
    }

    /// Waits for the answer to a request: tells when it takes long, and gives up when it takes too long.
    pub async fn answer<T>(
        &self,
        (whom, request): (&str, &str),
        most: Duration,
        sent: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ApiError> {
        let mut sent = std::pin::pin!(sent);
        let began = Instant::now();
        let mut ending: Option<Instant> = None;
        loop {
            if let Ok(answer) = tokio::time::timeout(NAP, &mut sent).await {
                return Ok(answer?);
            }
            let waited = began.elapsed();
            if self.is_ending() {
                ending.get_or_insert_with(Instant::now);
            }
            if waited >= most || ending.is_some_and(|at| at.elapsed() >= LAST) {
                let words = format!("{request}: no answer for {} s", waited.as_secs());
                let late = std::io::Error::new(ErrorKind::TimedOut, words);
                return Err(ApiError::Client(Box::new(kube::Error::Service(Box::new(late)))));
            }
            if waited >= SILENT {
                self.tell(|| format!("{whom} has not answered for {} s: {request}", waited.as_secs()));
            }
        }
    }

    /// Returns how long an answer is waited for at most.
    pub fn most(&self, reads: bool) -> Duration {
        if !reads {
            WRITE
        } else if self.gone.load(Ordering::Relaxed) {
            GONE
        } else if !self.known.load(Ordering::Relaxed) {
            FIRST
        } else {
            READ
        }
    }

    /// Tells something at once.
    pub fn say(&self, text: &str) {
        if let Some(tell) = &self.tell {
            tell(text);
        }
    }

    /// Tells, but not each request for itself.
    fn tell(&self, text: impl FnOnce() -> String) {
        let Some(tell) = &self.tell else { return };
        let mut told = held(&self.told);
        if told.is_none_or(|at| at.elapsed() >= SILENT) {
            *told = Some(Instant::now());
            drop(told);
            tell(&text());
        }
    }
}

/// A failure that may pass by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// What is told.
    pub what: String,
    /// Whether the request may have been carried out all the same.
    pub in_doubt: bool,
    /// Whether nothing answered.
    pub unreachable: bool,
    /// How much of the limit is waited, in hundredths.
    share: u32,
    /// How long the server asks to wait.
    asked: Option<Duration>,
}

/// What the API server says when a part behind it does not answer in time. Source: Kubernetes, etcd.
const LATE: [&str; 5] =
    ["etcdserver:", "leader changed", "request timed out", "context deadline exceeded", "connection refused"];
/// What it says of webhooks. Source: Kubernetes.
const WEBHOOKS: [&str; 2] = ["failed calling webhook", "conversion webhook for"];
/// What it says when it keeps account of a quota twice at the same time. Source: Kubernetes.
const QUOTA: &str = "Operation cannot be fulfilled on resourcequotas";

/// What it says of a pod in a namespace that was made a moment ago: its controller has not made the account yet that pods
/// have where they name none. Source: Kubernetes, admission of service accounts.
const NO_ACCOUNT: &str = "serviceaccount \"default\" not found";

/// Says whether a failure comes from a webhook that does not answer.
pub fn is_webhook(status: &kube::core::Status) -> bool {
    status.code >= 500 && WEBHOOKS.iter().any(|text| status.message.contains(text))
}

/// Says whether a pod is refused because its namespace is not whole yet.
pub fn has_no_account(status: &kube::core::Status) -> bool {
    status.code == 403 && status.message.contains(NO_ACCOUNT)
}

impl Passing {
    /// Returns what passes of a failure; `None` where it stays.
    pub fn of(error: &ApiError) -> Option<Self> {
        match error {
            ApiError::Status(status) => Self::of_status(status),
            ApiError::Client(error) => Self::of_client(error),
            ApiError::NoKind { .. }
            | ApiError::Login(_)
            | ApiError::Untrusted(_)
            | ApiError::Address(_)
            | ApiError::Late(_)
            | ApiError::Outdated(_)
            | ApiError::Tried { .. }
            | ApiError::Unexpected(_) => None,
        }
    }

    fn of_status(status: &kube::core::Status) -> Option<Self> {
        let asked = status.details.as_ref().map(|d| u64::from(d.retry_after_seconds)).filter(|s| *s > 0);
        let says = |texts: &[&str]| texts.iter().any(|text| status.message.contains(text));
        let share = match status.code {
            500 if is_mistyped(status) => return None,
            409 if status.message.contains(QUOTA) => 100,
            403 if has_no_account(status) => ACCOUNT,
            429 | 502 | 503 | 504 => 100,
            // A webhook may be starting right now, perhaps by this very run.
            500 if is_webhook(status) => WEBHOOK,
            500 if says(&LATE) || asked.is_some() => 100,
            500 => 15,
            _ => return None,
        };
        let what = if is_webhook(status) {
            format!("the API server answers: {}", status.message)
        } else if has_no_account(status) {
            "the namespace has no service account `default` yet".to_owned()
        } else {
            format!("the API server answers {} ({})", status.code, status.reason)
        };
        Some(Self {
            what,
            in_doubt: status.code >= 500,
            unreachable: false,
            share,
            asked: asked.map(Duration::from_secs),
        })
    }

    fn of_client(error: &kube::Error) -> Option<Self> {
        let (kube::Error::HyperError(_) | kube::Error::Service(_)) = error else { return None };
        let (mut words, mut kind) = (String::new(), None);
        for cause in causes(error) {
            words = cause.to_string();
            kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind).or(kind);
        }
        // What is not understood, as a certificate that is not trusted, does not get better.
        if matches!(kind, Some(ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::PermissionDenied)) {
            return None;
        }
        let in_doubt = !matches!(kind, Some(ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable));
        let what = format!("the API server does not answer ({words})");
        Some(Self { what, in_doubt, unreachable: true, share: 100, asked: None })
    }
}

/// How much hangs on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no other way.
    Needed,
    /// There is something to fall back to.
    DryRun,
}

/// The attempts at one request.
pub struct Patience<'a> {
    retries: &'a Retries,
    kind: Kind,
    began: Option<Instant>,
    pause: Duration,
}

impl<'a> Patience<'a> {
    /// Nothing was tried yet.
    pub fn new(retries: &'a Retries, kind: Kind) -> Self {
        Self { retries, kind, began: None, pause: PAUSES.0 }
    }

    /// Waits until the request may be sent again, and says what failed; returns the error when it may not.
    pub async fn again(&mut self, error: ApiError) -> Result<Passing, ApiError> {
        let Some(passing) = Passing::of(&error) else { return Err(error) };
        let began = *self.began.get_or_insert_with(Instant::now);
        let limit = self.limit(&passing);
        let pause = passing.asked.unwrap_or_else(|| self.pause / 2 + jitter(self.pause));
        self.pause = (self.pause * 2).min(PAUSES.1);
        let (now, end) = (Instant::now(), began + limit);
        // At the end it is tried once more; but what is asked to come later than it may come is not tried again.
        let next = if passing.asked.is_some() { now + pause } else { (now + pause).min(end) };
        if now >= end || next > end {
            if passing.unreachable {
                self.retries.gone.store(true, Ordering::Relaxed);
            }
            let seconds = began.elapsed().as_secs();
            return Err(if seconds == 0 { error } else { ApiError::Tried { seconds, error: Box::new(error) } });
        }
        while Instant::now() < next {
            if self.retries.is_ending() && began.elapsed() > LAST {
                return Err(error);
            }
            let waited = began.elapsed();
            if waited >= SILENT {
                self.retries.tell(|| format!("{}, tried again for {} s", passing.what, waited.as_secs()));
            }
            tokio::time::sleep(NAP.min(next.saturating_duration_since(Instant::now()))).await;
        }
        Ok(passing)
    }

    fn limit(&self, passing: &Passing) -> Duration {
        let retries = self.retries;
        let mut limit = retries.limit * passing.share / 100;
        if self.kind == Kind::DryRun {
            limit = limit.min(if matches!(passing.share, WEBHOOK | ACCOUNT) { DRY_WEBHOOK } else { DRY });
        }
        if passing.unreachable && retries.gone.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        if passing.unreachable && !retries.known.load(Ordering::Relaxed) {
            limit = limit.min(STRANGER);
        }
        if retries.is_ending() { limit.min(LAST) } else { limit }
    }
}

/// Returns a random part of a time, so that many requests do not come again at once.
fn jitter(most: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness everybody waits equally long, nothing worse.
    let _ = getrandom::fill(&mut byte);
    most * u32::from(byte[0]) / 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::runtime::block_on;

    fn status(code: u16, message: &str) -> ApiError {
        ApiError::Status(Box::new(kube::core::Status::failure(message, "Reason").with_code(code)))
    }

    fn shut(kind: ErrorKind) -> ApiError {
        ApiError::Client(Box::new(kube::Error::Service(Box::new(std::io::Error::from(kind)))))
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let passes = |error: &ApiError| Passing::of(error).is_some();
        for code in [429, 500, 502, 503, 504] {
            assert!(passes(&status(code, "x")), "{code}");
        }
        for code in [400, 401, 403, 404, 409, 410, 413, 422] {
            assert!(!passes(&status(code, "x")), "{code}");
        }
        assert!(passes(&status(409, &format!("{QUOTA} \"q\": the object has been modified"))));
        let pod = "pods \"a\" is forbidden: error looking up service account shop/";
        assert!(passes(&status(403, &format!("{pod}default: serviceaccount \"default\" not found"))));
        assert!(!passes(&status(403, &format!("{pod}web: serviceaccount \"web\" not found"))), "nobody makes that");
        for kind in [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof] {
            assert!(passes(&shut(kind)), "{kind}");
        }
        assert!(!passes(&shut(ErrorKind::InvalidData)), "a certificate that is not trusted");
        assert!(!passes(&ApiError::Unexpected("x".into())));
    }

    #[test]
    fn an_answer_that_does_not_come_is_a_failure_that_passes() {
        let retries = Retries::new(LIMIT, None);
        let never = std::future::pending::<Result<(), kube::Error>>();
        let error = block_on(retries.answer(("it", "GET /a"), Duration::from_millis(300), never)).unwrap_err();
        let passing = Passing::of(&error).unwrap();
        assert!(passing.unreachable && passing.in_doubt, "{passing:?}");
        assert_eq!(passing.what, "the API server does not answer (GET /a: no answer for 0 s)");
        let answered = block_on(retries.answer(("it", "GET /a"), READ, async { Ok(1) })).unwrap();
        assert_eq!(answered, 1);
    }

    #[test]
    fn who_never_answered_is_waited_for_least() {
        let retries = Retries::new(LIMIT, None);
        assert_eq!((retries.most(true), retries.most(false)), (FIRST, WRITE));
        retries.answered();
        assert_eq!(retries.most(true), READ);
        retries.gone.store(true, Ordering::Relaxed);
        assert_eq!(retries.most(true), GONE);
    }

    #[test]
    fn it_is_known_what_may_have_been_carried_out() {
        let doubt = |error: &ApiError| Passing::of(error).unwrap().in_doubt;
        assert!(!doubt(&status(429, "x")) && !doubt(&shut(ErrorKind::ConnectionRefused)));
        assert!(doubt(&status(504, "x")) && doubt(&status(500, "etcdserver: request timed out")));
        assert!(doubt(&shut(ErrorKind::ConnectionReset)));
    }

    #[test]
    fn a_failure_that_does_not_pass_is_given_back_with_how_long_it_was_waited_for() {
        let retries = Retries::new(Duration::from_millis(1300), None);
        let mut patience = Patience::new(&retries, Kind::Needed);
        let mut tries = 0;
        let error = loop {
            tries += 1;
            if let Err(error) = block_on(patience.again(status(503, "not now"))) {
                break error;
            }
        };
        assert!(tries > 2, "{tries}");
        assert!(error.to_string().starts_with("tried again for 1 s"), "{error}");
    }

    #[test]
    fn what_the_server_asks_for_is_waited_and_no_longer_than_the_limit() {
        let busy = |seconds: u32| {
            let details = kube::core::response::StatusDetails {
                retry_after_seconds: seconds,
                ..serde_json::from_str("{}").unwrap()
            };
            let mut status = kube::core::Status::failure("too many", "TooManyRequests").with_code(429);
            status.details = Some(details);
            ApiError::Status(Box::new(status))
        };
        let retries = Retries::new(Duration::from_secs(3), None);
        let start = Instant::now();
        assert!(block_on(Patience::new(&retries, Kind::Needed).again(busy(1))).is_ok());
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert!(block_on(Patience::new(&retries, Kind::Needed).again(busy(600))).is_err(), "at once");
    }

    #[test]
    fn a_server_that_never_answered_is_not_waited_for_and_one_that_is_gone_once_only() {
        let retries = Retries::new(Duration::from_mins(10), None);
        let give_up = || {
            let mut patience = Patience::new(&retries, Kind::Needed);
            let start = Instant::now();
            while block_on(patience.again(shut(ErrorKind::ConnectionRefused))).is_ok() {
                assert!(start.elapsed() < Duration::from_mins(1));
            }
        };
        give_up();
        assert!(block_on(Patience::new(&retries, Kind::Needed).again(shut(ErrorKind::ConnectionRefused))).is_err());
        retries.answered();
        assert!(block_on(Patience::new(&retries, Kind::Needed).again(shut(ErrorKind::ConnectionRefused))).is_ok());
    }
}
