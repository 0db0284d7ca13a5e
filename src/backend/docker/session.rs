//! What commands of a build ask us for while they run: secrets, and the ssh agent.
//!
//! What lives here: the session of a build, and the four methods that the engine calls. What does not: which secrets
//! there are (`dockerfile`), where they are read (`host_access`).
//!
//! The one idea: the engine is the client. A connection of ours is turned around (`POST /session`, then HTTP/2), and the
//! engine calls gRPC methods on it whose messages have one field or none; so they are written here by hand.
//!
//! Source: BuildKit `session/{secrets,sshforward}` and gRPC over HTTP/2.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::engine::{Connection, with_causes};
use super::progress::{Field, Fields};

const GET_SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CHECK_AGENT: &str = "/moby.sshforward.v1.SSH/CheckAgent";
const FORWARD_AGENT: &str = "/moby.sshforward.v1.SSH/ForwardAgent";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// The most that one message may take. Unit: bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// How much of an agent's answer is sent at once. Unit: bytes.
const PIECE: usize = 32 * 1024;

/// Status codes of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Ok = 0,
    InvalidArgument = 3,
    NotFound = 5,
    Unimplemented = 12,
    Unavailable = 14,
}

/// What commands may ask for.
#[derive(Clone, Default)]
pub struct Offer {
    /// Secrets by the id that the engine knows.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// The socket of the ssh agent.
    pub agent: Option<PathBuf>,
}

impl Offer {
    /// Says whether there is nothing to ask for.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.agent.is_none()
    }
}

/// A session. It ends when it is dropped.
pub struct Session {
    /// Names it to the build.
    pub id: String,
    task: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    /// Opens a session, and answers in it from then on.
    ///
    /// # Errors
    /// The engine refuses, or the connection fails.
    pub async fn open(connection: &Connection, offer: Offer) -> Result<Self, String> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut request = connection
            .http
            .post(format!("{}/session", connection.base))
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("X-Docker-Expose-Session-Uuid", &id)
            .header("X-Docker-Expose-Session-Name", "stagewright");
        for method in [GET_SECRET, CHECK_AGENT, FORWARD_AGENT, HEALTH] {
            request = request.header("X-Docker-Expose-Session-Grpc-Method", method);
        }
        let answer = request.send().await.map_err(|e| with_causes(&e))?;
        if answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(format!("the engine opens no session: {}", answer.status()));
        }
        let stream = answer.upgrade().await.map_err(|e| with_causes(&e))?;
        let offer = Arc::new(offer);
        let task = tokio::spawn(async move {
            let Ok(mut calls) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, respond))) = calls.accept().await {
                tokio::spawn(answer_call(request, respond, offer.clone()));
            }
        });
        Ok(Self { id, task })
    }
}

/// Answers one call. A connection that ended is nobody's fault.
async fn answer_call(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, offer: Arc<Offer>) {
    let path = request.uri().path().to_owned();
    let mut body = Messages::new(request.into_body());
    let answer = match path.as_str() {
        GET_SECRET => match body.next().await {
            Some(message) => secret(&message, &offer),
            None => Err(Code::InvalidArgument),
        },
        CHECK_AGENT => offer.agent.as_ref().map(|_| Vec::new()).ok_or(Code::NotFound),
        // SERVING
        HEALTH => Ok(vec![8, 1]),
        FORWARD_AGENT => {
            let connected = match &offer.agent {
                Some(socket) => UnixStream::connect(socket).await.map_err(|_| Code::Unavailable),
                None => Err(Code::NotFound),
            };
            match connected {
                Ok(agent) => {
                    forward(agent, body, &mut respond).await;
                    return;
                }
                Err(code) => Err(code),
            }
        }
        _ => Err(Code::Unimplemented),
    };
    let _ = match answer {
        Ok(message) => respond.send_response(head(None), false).and_then(|mut out| {
            out.send_data(framed(&message), false)?;
            out.send_trailers(status(Code::Ok))
        }),
        Err(code) => respond.send_response(head(Some(code)), true).map(drop),
    };
}

fn head(code: Option<Code>) -> Response<()> {
    let mut response = Response::new(());
    if let Some(code) = code {
        *response.headers_mut() = status(code);
    }
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn status(code: Code) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from(code as u16))])
}

/// Reads `GetSecretRequest`, returns `GetSecretResponse`.
fn secret(message: &[u8], offer: &Offer) -> Result<Vec<u8>, Code> {
    let id = Fields(message).find_map(|(number, field)| match field {
        Field::Bytes(text) if number == 1 => Some(String::from_utf8_lossy(text).into_owned()),
        Field::Bytes(_) | Field::Number(_) => None,
    });
    let id = id.ok_or(Code::InvalidArgument)?;
    offer.secrets.get(&id).map(|content| bytes_field(content)).ok_or(Code::NotFound)
}

/// Writes a message whose field 1 holds bytes.
fn bytes_field(content: &[u8]) -> Vec<u8> {
    let mut message = vec![1 << 3 | 2];
    let mut size = content.len();
    while size >= 0x80 {
        message.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    message.push(size as u8);
    message.extend_from_slice(content);
    message
}

/// Writes what stands before each message: not compressed, and its length.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// Carries bytes between a command and the agent until one of them ends.
async fn forward(agent: UnixStream, mut body: Messages, respond: &mut SendResponse<Bytes>) {
    let Ok(mut out) = respond.send_response(head(None), false) else { return };
    let (mut from_agent, mut to_agent) = agent.into_split();
    let asked = async {
        while let Some(message) = body.next().await {
            for (number, field) in Fields(&message) {
                if let (1, Field::Bytes(bytes)) = (number, field)
                    && to_agent.write_all(bytes).await.is_err()
                {
                    return;
                }
            }
        }
    };
    let told = async {
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = from_agent.read(&mut piece).await {
            let message = bytes_field(piece.get(..count).unwrap_or_default());
            if send(&mut out, framed(&message)).await.is_none() {
                return;
            }
        }
    };
    futures_util::future::select(std::pin::pin!(asked), std::pin::pin!(told)).await;
    let _ = out.send_trailers(status(Code::Ok));
}

/// Sends when the other side has room.
async fn send(out: &mut SendStream<Bytes>, mut frame: Bytes) -> Option<()> {
    while !frame.is_empty() {
        out.reserve_capacity(frame.len());
        let room = std::future::poll_fn(|context| out.poll_capacity(context)).await?.ok()?;
        out.send_data(frame.split_to(room.min(frame.len())), false).ok()?;
    }
    Some(())
}

/// The messages of a call.
struct Messages {
    body: RecvStream,
    received: BytesMut,
}

impl Messages {
    fn new(body: RecvStream) -> Self {
        Self { body, received: BytesMut::new() }
    }

    /// Returns the next message; `None` at the end, and for what is no message.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some((head, rest)) = self.received.split_at_checked(5) {
                let [0, size @ ..] = <[u8; 5]>::try_from(head).ok()? else { return None };
                let size = u32::from_be_bytes(size) as usize;
                if size > MAX_MESSAGE {
                    return None;
                }
                if rest.len() >= size {
                    let mut message = self.received.split_to(5 + size);
                    return Some(message.split_off(5).freeze());
                }
            }
            let chunk = self.body.data().await?.ok()?;
            self.body.flow_control().release_capacity(chunk.len()).ok()?;
            self.received.extend_from_slice(&chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::runtime;

    /// Calls a method over a pipe as the engine does; returns the status and the message.
    fn call(offer: Offer, method: &str, messages: &[&[u8]]) -> (u16, Vec<u8>) {
        let body: Vec<Bytes> = messages.iter().map(|m| framed(m)).collect();
        runtime::block_on(async {
            let (here, there) = tokio::io::duplex(1024);
            let offer = Arc::new(offer);
            let server = tokio::spawn(async move {
                let mut calls = h2::server::handshake(there).await.unwrap();
                while let Some(Ok((request, respond))) = calls.accept().await {
                    tokio::spawn(answer_call(request, respond, offer.clone()));
                }
            });
            let (mut client, connection) = h2::client::handshake(here).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = Request::post(format!("http://localhost{method}")).body(()).unwrap();
            let (response, mut out) = client.send_request(request, false).unwrap();
            for message in body {
                // In two pieces, as a network might. A call that is refused by its name alone ends before it is read.
                for piece in [message.slice(..3), message.slice(3..)] {
                    let _ = out.send_data(piece, false);
                }
            }
            let answer = response.await.unwrap();
            let code = |headers: &HeaderMap| headers.get("grpc-status").map(|v| v.to_str().unwrap().parse().unwrap());
            if let Some(code) = code(answer.headers()) {
                return (code, Vec::new());
            }
            let mut messages = Messages::new(answer.into_body());
            let message = messages.next().await.unwrap().to_vec();
            // The answer may have ended the call.
            let _ = out.send_data(Bytes::new(), true);
            while messages.next().await.is_some() {}
            let trailers = messages.body.trailers().await.unwrap().unwrap();
            server.abort();
            connection.abort();
            (code(&trailers).unwrap(), message)
        })
    }

    #[test]
    fn a_secret_is_given_to_who_names_it() {
        let long = vec![b'x'; 70_000];
        let offer = || Offer {
            secrets: BTreeMap::from([("s0".to_owned(), b"value".to_vec()), ("s1".to_owned(), long.clone())]),
            agent: None,
        };
        assert_eq!(call(offer(), GET_SECRET, &[&bytes_field(b"s0")]), (0, b"\x0a\x05value".to_vec()));
        assert_eq!(call(offer(), GET_SECRET, &[&bytes_field(b"s1")]), (0, bytes_field(&long)));
        assert_eq!(call(offer(), GET_SECRET, &[&bytes_field(b"s2")]).0, Code::NotFound as u16);
        assert_eq!(call(offer(), GET_SECRET, &[&[]]).0, Code::InvalidArgument as u16);
        assert_eq!(call(offer(), HEALTH, &[&[]]), (0, vec![8, 1]));
        assert_eq!(call(offer(), "/other", &[&[]]).0, Code::Unimplemented as u16);
        assert_eq!(call(offer(), CHECK_AGENT, &[&[]]).0, Code::NotFound as u16);
    }

    #[test]
    fn the_agent_is_asked_through_the_session() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let agent = std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 6];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(b"answer").unwrap();
            asked
        });
        let offer = Offer { secrets: BTreeMap::new(), agent: Some(socket.clone()) };
        let (status, answer) = call(offer, FORWARD_AGENT, &[&bytes_field(b"ask"), &bytes_field(b"ing")]);
        assert_eq!((status, answer), (0, bytes_field(b"answer")));
        assert_eq!(&agent.join().unwrap(), b"asking");
        let offer = Offer { secrets: BTreeMap::new(), agent: Some(dir.path().join("gone")) };
        assert_eq!(call(offer, FORWARD_AGENT, &[&[]]).0, Code::Unavailable as u16);
    }
}
