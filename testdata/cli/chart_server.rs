//! A repository of charts on 127.0.0.1: answers what it was given, notes what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// What is answered to a path.
#[derive(Clone)]
pub enum Answer {
    Bytes(Vec<u8>),
    /// Says it is longer than it is, and ends.
    CutOff(Vec<u8>),
    Status(&'static str),
    Redirect(String),
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    asked: Vec<String>,
    /// What `Authorization` must be.
    authorization: Option<String>,
}

/// A server that ends with the process of the test.
pub struct ChartServer {
    state: Arc<Mutex<State>>,
    pub url: String,
}

impl ChartServer {
    pub fn new() -> Self {
        Self::start("http", |stream, state| answer(&mut BufReader::new(stream), state))
    }

    /// Speaks TLS with a certificate for 127.0.0.1; returns the certificate of its authority too.
    pub fn with_tls() -> (Self, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let server = Self::start("https", move |stream, state| {
            let tls = rustls::ServerConnection::new(config.clone()).unwrap();
            answer(&mut BufReader::new(rustls::StreamOwned::new(tls, stream)), state);
        });
        (server, made.cert.pem())
    }

    fn start(scheme: &str, serve: impl Fn(std::net::TcpStream, &Mutex<State>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serve, shared) = (serve.clone(), shared.clone());
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { state, url }
    }

    pub fn put(&self, path: &str, answer: Answer) -> &Self {
        self.state.lock().unwrap().answers.insert(path.to_owned(), answer);
        self
    }

    /// Puts charts and an index that lists them, with the digests they have now.
    pub fn put_charts(&self, charts: &[(&str, &str, Vec<u8>)]) -> &Self {
        let mut index = "apiVersion: v1\nentries:\n".to_owned();
        let mut last = "";
        for (name, version, bytes) in charts {
            if last != *name {
                index += &format!("  {name}:\n");
                last = name;
            }
            let digest = stagewright::ports::BlobDigest::of(bytes);
            index += &format!(
                "  - apiVersion: v2\n    name: {name}\n    version: {version}\n    digest: {}\n    urls:\n    - files/{name}-{version}.tgz\n",
                digest.hex()
            );
            self.put(&format!("/files/{name}-{version}.tgz"), Answer::Bytes(bytes.clone()));
        }
        self.put("/index.yaml", Answer::Bytes(index.into_bytes()))
    }

    pub fn require(&self, authorization: &str) -> &Self {
        self.state.lock().unwrap().authorization = Some(authorization.to_owned());
        self
    }

    /// Returns the paths that were asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

fn answer<S: Read + Write>(stream: &mut BufReader<S>, state: &Mutex<State>) {
    let (mut first, mut authorization) = (String::new(), None);
    if stream.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.trim().to_owned());
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        if state.authorization.is_some() && state.authorization != authorization {
            Answer::Status("401 Unauthorized")
        } else {
            state.answers.get(&path).cloned().unwrap_or(Answer::Status("404 Not Found"))
        }
    };
    let (head, body) = match answer {
        Answer::Bytes(bytes) => (format!("200 OK\r\nContent-Length: {}", bytes.len()), bytes),
        Answer::CutOff(bytes) => (format!("200 OK\r\nContent-Length: {}", bytes.len() + 1000), bytes),
        Answer::Status(status) => (format!("{status}\r\nContent-Length: 0"), Vec::new()),
        Answer::Redirect(to) => (format!("302 Found\r\nLocation: {to}\r\nContent-Length: 0"), Vec::new()),
    };
    let out = stream.get_mut();
    let _ = out.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
    let _ = out.write_all(&body);
    let _ = out.flush();
}

/// Packs a chart of one template.
pub fn packed(name: &str, version: &str) -> Vec<u8> {
    let zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(zipped);
    let files = [
        ("Chart.yaml", format!("apiVersion: v2\nname: {name}\nversion: {version}\n")),
        (
            "templates/config.yaml",
            format!(
                "kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: {{{{ .Release.Name }}}}-{name}\ndata:\n  version: {version}\n"
            ),
        ),
    ];
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("{name}/{path}"), text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}
