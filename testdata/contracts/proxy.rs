//! A proxy before a registry that does harm on request, and notes what it was asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the proxy was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
    pub length: usize,
    pub status: u16,
}

impl Asked {
    /// The path, without what is new in every upload.
    fn kind(&self) -> &str {
        self.path.find("/blobs/uploads/").map_or(&self.path, |at| &self.path[..at])
    }
}

/// What the proxy does with a request.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Lets it pass.
    Pass,
    /// Answers itself: status line, headers, body.
    Answer(&'static str, String, String),
    /// Sends half of the body of the answer, and ends the connection.
    CutAnswer,
    /// Gives the registry half of the body of the request, and ends both connections.
    CutRequest,
    /// Ends the connection without a word.
    Close,
    /// Changes a byte in the middle of the body of the answer.
    Corrupt,
    /// Lets it pass after a while.
    Slow(Duration),
}

type Rule = dyn Fn(&Asked, usize) -> Deed + Send + Sync;

/// A proxy on a port of 127.0.0.1; ends with the process.
pub struct Proxy {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    /// `rule` is given each request, and how often the same method and path were asked for before; all
    /// uploads of a repository count as one path.
    pub fn start(registry: &str, rule: impl Fn(&Asked, usize) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, rule): (_, Arc<Rule>) = (Arc::new(Mutex::new(Vec::new())), Arc::new(rule));
        let (noted, registry) = (asked.clone(), registry.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (noted, rule, registry) = (noted.clone(), rule.clone(), registry.clone());
                std::thread::spawn(move || serve(client, &registry, &noted, &*rule));
            }
        });
        Self { address, asked }
    }

    /// Returns what was asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// Reads a request: its lines, and its body.
fn read_request(client: &mut TcpStream) -> Option<(Vec<String>, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
        // Not the beginning of a request, but of TLS.
        if !head[0].is_ascii_uppercase() {
            return None;
        }
    }
    let lines: Vec<String> =
        String::from_utf8(head).unwrap().lines().map(str::to_owned).filter(|l| !l.is_empty()).collect();
    let length = header(&lines, "content-length").map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    client.read_exact(&mut body).ok()?;
    Some((lines, body))
}

fn header(lines: &[String], name: &str) -> Option<String> {
    let fields = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
}

fn serve(mut client: TcpStream, registry: &str, noted: &Mutex<Vec<Asked>>, rule: &Rule) {
    let Some((lines, body)) = read_request(&mut client) else { return };
    let mut first = lines[0].split(' ').map(str::to_owned);
    let mut asked = Asked {
        method: first.next().unwrap(),
        path: first.next().unwrap(),
        authorization: header(&lines, "authorization"),
        range: header(&lines, "range").or_else(|| header(&lines, "content-range")),
        length: body.len(),
        status: 0,
    };
    let at = {
        let mut noted = noted.lock().unwrap();
        noted.push(asked.clone());
        noted.len() - 1
    };
    let before = {
        let noted = noted.lock().unwrap();
        noted.iter().take(at).filter(|a| (&a.method, a.kind()) == (&asked.method, asked.kind())).count()
    };
    let deed = rule(&asked, before);
    if matches!(deed, Deed::Close) {
        return;
    }
    let mut answer = match &deed {
        Deed::Answer(status, headers, body) => {
            let head =
                format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            [head.as_bytes(), body.as_bytes()].concat()
        }
        Deed::Slow(time) => {
            std::thread::sleep(*time);
            pass(registry, &lines, &body)
        }
        Deed::CutRequest => {
            let _ = pass(registry, &lines, &body[..body.len() / 2]);
            return;
        }
        Deed::Pass | Deed::CutAnswer | Deed::Corrupt | Deed::Close => pass(registry, &lines, &body),
    };
    asked.status = String::from_utf8_lossy(answer.get(9..12).unwrap_or(b"0")).parse().unwrap_or(0);
    if let Some(noted) = noted.lock().unwrap().get_mut(at) {
        noted.status = asked.status;
    }
    let start = answer.windows(4).position(|w| w == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let middle = start + (answer.len() - start) / 2;
    match deed {
        Deed::CutAnswer => answer.truncate(middle),
        Deed::Corrupt if middle < answer.len() => answer[middle] ^= 1,
        Deed::Pass | Deed::Answer(..) | Deed::CutRequest | Deed::Close | Deed::Corrupt | Deed::Slow(_) => {}
    }
    let _ = client.write_all(&answer);
    let _ = client.flush();
}

/// Asks the registry, which sees the proxy's own name; a body that is too short is left so.
fn pass(registry: &str, lines: &[String], body: &[u8]) -> Vec<u8> {
    let mut upstream = TcpStream::connect(registry).unwrap();
    let kept = lines.iter().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    upstream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let _ = upstream.write_all(body);
    let promised = header(lines, "content-length").map_or(0, |l| l.parse().unwrap());
    if body.len() < promised {
        // What was sent must arrive before the end does.
        std::thread::sleep(Duration::from_millis(50));
        let _ = upstream.shutdown(std::net::Shutdown::Both);
        std::thread::sleep(Duration::from_millis(100));
        return Vec::new();
    }
    let mut answer = Vec::new();
    let _ = upstream.read_to_end(&mut answer);
    answer
}
