//! What stands between the program and the API server: passes requests on, counts writes, and does what a test asks of it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::is_lock;
use crate::services::{Cluster, PROGRAM};

/// A request, before it is passed on.
#[derive(Clone, Debug)]
pub struct Asked {
    pub target: String,
    /// Whether it changes anything; locks do not count.
    pub writes: bool,
    /// How many writes were carried out before.
    pub done: usize,
    /// How often the same was asked before.
    pub again: usize,
}

/// What becomes of a request.
pub enum Fate {
    Pass,
    /// It is answered by the proxy: code, `Retry-After`, text.
    Answer(u16, Option<u32>, String),
    /// As `Answer`, with bytes that need not be text.
    Bytes(u16, Vec<u8>),
    /// So much of an answer comes, and the connection ends.
    Break(Vec<u8>),
    /// An answer that goes on with the same for ever.
    Endless(Vec<u8>),
    /// The connection ends, and nothing is carried out.
    Cut,
    /// It is carried out, and the connection ends.
    Lose,
    /// It is passed on when this is set; others go on meanwhile.
    Wait(Arc<AtomicBool>),
}

type Rule = Box<dyn FnMut(&Asked) -> Fate + Send>;

#[derive(Default)]
struct State {
    /// The writes that were carried out, and not refused by the server: method and address.
    writes: Vec<String>,
    asked: BTreeMap<String, usize>,
    rule: Option<Rule>,
    /// The most that was taken of an answer without end. Unit: bytes.
    endless: usize,
    /// How many requests were answered, and the longest chain of them of which each began when the one before was answered.
    depth: (usize, usize),
    /// How long each request takes longer.
    latency: Duration,
}

/// What a client is given.
struct Given {
    code: u16,
    after: Option<u32>,
    bytes: Vec<u8>,
    end: End,
}

#[derive(PartialEq, Eq)]
enum End {
    Whole,
    Broken,
    Never,
}

impl Given {
    fn whole(code: u16, after: Option<u32>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { code, after, bytes: bytes.into(), end: End::Whole }
    }
}

/// The proxy; it ends with the process.
#[derive(Clone)]
pub struct Proxy {
    cluster: &'static Cluster,
    state: Arc<Mutex<State>>,
    pub address: String,
}

impl Proxy {
    pub fn start(cluster: &'static Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { cluster, state: Arc::default(), address: listener.local_addr().unwrap().to_string() };
        let own = proxy.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let proxy = own.clone();
                std::thread::spawn(move || proxy.serve(&stream));
            }
        });
        proxy
    }

    /// Begins to count anew, and says what becomes of requests from now on.
    pub fn set(&self, rule: impl FnMut(&Asked) -> Fate + Send + 'static) {
        *self.state.lock().unwrap() = State { rule: Some(Box::new(rule)), ..State::default() };
    }

    /// Passes everything on, and begins to count anew.
    pub fn pass(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// Once so many writes were carried out, nothing is answered any more.
    pub fn stop_after(&self, writes: usize) {
        self.set(move |asked| match asked.done + usize::from(asked.writes) {
            _ if asked.done >= writes => Fate::Cut,
            now if asked.writes && now == writes => Fate::Lose,
            _ => Fate::Pass,
        });
    }

    /// Passes everything on, each request with this delay, and begins to count anew.
    pub fn delay(&self, latency: Duration) {
        *self.state.lock().unwrap() = State { latency, ..State::default() };
    }

    /// How many requests were answered, and how many of them one after the other.
    pub fn depth(&self) -> (usize, usize) {
        self.state.lock().unwrap().depth
    }

    /// The writes that were carried out.
    pub fn writes(&self) -> Vec<String> {
        self.state.lock().unwrap().writes.clone()
    }

    /// The most that was taken of an answer without end. Unit: bytes.
    pub fn endless(&self) -> usize {
        self.state.lock().unwrap().endless
    }

    /// Serves requests, one after the other; `None` ends the connection.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, target) = (words.next()?, words.next()?);
            let (mut length, mut kind, mut accept) = (0, String::new(), String::new());
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).ok()?;
                let Some((name, value)) = header.trim().split_once(':') else { break };
                let value = value.trim().to_owned();
                match name.to_lowercase().as_str() {
                    "content-length" => length = value.parse().ok()?,
                    "content-type" => kind = value,
                    "accept" => accept = value,
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let body = String::from_utf8(body).unwrap();
            let ((_, before), latency) = {
                let state = self.state.lock().unwrap();
                (state.depth, state.latency)
            };
            std::thread::sleep(latency);
            let Given { code, after, bytes, end } = self.answer(&method, &target, &kind, body, &accept)?;
            {
                let (count, deepest) = &mut self.state.lock().unwrap().depth;
                *count += 1;
                *deepest = (*deepest).max(before + 1);
            }
            let after = after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
            let length = if end == End::Whole { bytes.len() } else { usize::MAX >> 8 };
            let head = format!(
                "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\n{after}Content-Length: {length}\r\n\r\n"
            );
            let mut writer = stream;
            writer.write_all(&[head.as_bytes(), &bytes].concat()).ok()?;
            if end == End::Never {
                let mut sent = bytes.len();
                while writer.write_all(&bytes).is_ok() {
                    sent += bytes.len();
                }
                let mut state = self.state.lock().unwrap();
                state.endless = state.endless.max(sent);
                return None;
            }
            if end == End::Broken {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return None;
            }
        }
    }

    fn answer(&self, method: &str, target: &str, kind: &str, body: String, accept: &str) -> Option<Given> {
        let writes = method != "GET" && !target.contains("dryRun=All") && !is_lock(method, target);
        // A write is alone: what was not counted before a stop is not carried out.
        let mut state = self.state.lock().unwrap();
        let done = state.writes.len();
        let count = state.asked.entry(format!("{method} {target}")).or_default();
        let again = *count;
        *count += 1;
        let asked = Asked { target: target.into(), writes, done, again };
        let fate = state.rule.as_mut().map_or(Fate::Pass, |rule| rule(&asked));
        let body = (!body.is_empty()).then_some((kind, body));
        match fate {
            Fate::Answer(code, after, text) => return Some(Given::whole(code, after, text)),
            Fate::Bytes(code, bytes) => return Some(Given::whole(code, None, bytes)),
            Fate::Break(bytes) => return Some(Given { end: End::Broken, ..Given::whole(200, None, bytes) }),
            Fate::Endless(bytes) => return Some(Given { end: End::Never, ..Given::whole(200, None, bytes) }),
            Fate::Cut => return None,
            Fate::Wait(flag) => {
                drop(state);
                while !flag.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                let (code, answer) = self.cluster.send_as(PROGRAM, method, target, body, accept);
                if writes && code < 400 {
                    self.state.lock().unwrap().writes.push(format!("{method} {}", target.split('?').next().unwrap()));
                }
                return Some(Given::whole(code, None, answer));
            }
            Fate::Pass | Fate::Lose if !writes => drop(state),
            Fate::Pass | Fate::Lose => {
                let (code, answer) = self.cluster.send_as(PROGRAM, method, target, body, accept);
                // What the server refuses is no write: it is answered.
                if code >= 400 {
                    return Some(Given::whole(code, None, answer));
                }
                state.writes.push(format!("{method} {}", target.split('?').next().unwrap()));
                return matches!(fate, Fate::Pass).then(|| Given::whole(code, None, answer));
            }
        }
        let (code, answer) = self.cluster.send_as(PROGRAM, method, target, body, accept);
        matches!(fate, Fate::Pass).then(|| Given::whole(code, None, answer))
    }
}
