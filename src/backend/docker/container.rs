//! Containers that the user talks to: `run`, and the shell after a failed command.
//!
//! What lives here: making, following and removing one container. What does not: which image it is of (`mod`).
//!
//! The one idea: the engine's stream is turned into two of ours. With a terminal the bytes are those of the terminal; without,
//! each piece says in eight bytes whether it is of stdout or of stderr, and how long it is.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder,
};
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use rustix::event::{PollFd, PollFlags};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::engine::{Connection, with_causes};
use crate::backend::runtime;
use crate::backend::terminal::{NOTICE, PIECE, Terminal, wait_for};

/// How soon a signal is handed on.
const TICK: Duration = Duration::from_millis(100);
/// Who does not hear so many signals is killed.
const MOST_SIGNALS: usize = 2;

/// Runs a container to its end and returns its exit status; it is removed, whatever happens.
///
/// # Errors
/// Says what failed.
pub fn run(connection: &Connection, body: ContainerCreateBody, signal: &AtomicUsize) -> Result<i32, String> {
    let terminal = body.tty == Some(true);
    let body = ContainerCreateBody {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        ..body
    };
    let docker = &connection.docker;
    let created = runtime::block_on(docker.create_container(None, body)).map_err(|e| with_causes(&e))?;
    let status = follow(connection, &created.id, terminal, signal);
    let remove = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let removed = runtime::block_on(docker.remove_container(&created.id, Some(remove)));
    let status = status?;
    removed.map_err(|e| format!("remove the container {}: {}", created.id, with_causes(&e)))?;
    Ok(status)
}

fn follow(connection: &Connection, id: &str, terminal: bool, signal: &AtomicUsize) -> Result<i32, String> {
    let terminal = if terminal { Some(Arc::new(Terminal::take().map_err(|e| e.to_string())?)) } else { None };
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel(8);
    let reader = {
        let (terminal, stop) = (terminal.clone(), stop.clone());
        std::thread::spawn(move || read_input(terminal.as_deref(), &stop, &sender))
    };
    let status = runtime::block_on(talk(connection, id, terminal.as_deref(), receiver, signal));
    stop.store(true, Ordering::Relaxed);
    if terminal.is_some() {
        // What is typed from now on is ours again.
        let _ = reader.join();
    }
    status
}

/// Hands on what is typed, or what stdin holds.
fn read_input(terminal: Option<&Terminal>, stop: &AtomicBool, sender: &mpsc::Sender<Vec<u8>>) {
    let stdin = std::io::stdin();
    let mut piece = vec![0; PIECE];
    while !stop.load(Ordering::Relaxed) {
        let ready = match terminal {
            Some(terminal) => terminal.wait(),
            None => wait_for(&mut [PollFd::new(&stdin, PollFlags::IN)]),
        };
        let bytes = match ready {
            Ok(false) => continue,
            Ok(true) => match terminal {
                Some(terminal) => terminal.typed(&mut piece).map(<[u8]>::to_vec),
                None => rustix::io::read(stdin.as_fd(), &mut piece)
                    .map(|count| piece.get(..count).unwrap_or_default().to_vec())
                    .map_err(Into::into),
            },
            Err(error) => Err(error),
        };
        match bytes {
            Ok(bytes) if !bytes.is_empty() => {
                if sender.blocking_send(bytes).is_err() {
                    return;
                }
            }
            // The end; the other side hears of it by the channel.
            Ok(_) | Err(_) => return,
        }
    }
}

async fn talk(
    connection: &Connection,
    id: &str,
    terminal: Option<&Terminal>,
    mut typed: mpsc::Receiver<Vec<u8>>,
    signal: &AtomicUsize,
) -> Result<i32, String> {
    let docker = &connection.docker;
    let url = format!("{}/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1", connection.base);
    let request = connection.http.post(url).header("Connection", "Upgrade").header("Upgrade", "tcp");
    let answer = request.send().await.map_err(|e| with_causes(&e))?;
    if answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("attach to the container: {}", answer.status()));
    }
    let stream = answer.upgrade().await.map_err(|e| with_causes(&e))?;
    let (mut output, mut input) = tokio::io::split(stream);
    docker.start_container(id, None).await.map_err(|e| with_causes(&e))?;
    let writer = tokio::spawn(async move {
        while let Some(bytes) = typed.recv().await {
            if input.write_all(&bytes).await.is_err() || input.flush().await.is_err() {
                return;
            }
        }
        let _ = input.shutdown().await;
    });
    let mut shown = Shown { terminal, rest: Vec::new() };
    let mut piece = vec![0; PIECE];
    let mut size = None;
    let mut signals = 0;
    loop {
        let caught = signal.swap(0, Ordering::Relaxed);
        if caught != 0 {
            signals += 1;
            let name = if signals > MOST_SIGNALS { "KILL".to_owned() } else { caught.to_string() };
            let options = KillContainerOptionsBuilder::new().signal(&name).build();
            let _ = docker.kill_container(id, Some(options)).await;
        }
        if let Some(now) = terminal.and_then(Terminal::size).map(|s| (s.ws_row, s.ws_col)).filter(|s| size != Some(*s))
        {
            let options = ResizeContainerTTYOptionsBuilder::new().h(i32::from(now.0)).w(i32::from(now.1)).build();
            let _ = docker.resize_container_tty(id, options).await;
            size = Some(now);
        }
        let read = std::pin::pin!(output.read(&mut piece));
        let tick = std::pin::pin!(tokio::time::sleep(if terminal.is_some() { NOTICE } else { TICK }));
        let count = match select(read, tick).await {
            Either::Left((count, _)) => count.unwrap_or(0),
            Either::Right(_) => continue,
        };
        if count == 0 {
            break;
        }
        shown.show(piece.get(..count).unwrap_or_default()).map_err(|e| format!("show what the command wrote: {e}"))?;
    }
    writer.abort();
    let mut ended = std::pin::pin!(docker.wait_container(id, None));
    match ended.next().await {
        Some(Ok(ended)) => Ok(i32::try_from(ended.status_code).unwrap_or(1)),
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => {
            Ok(i32::try_from(code).unwrap_or(1))
        }
        Some(Err(error)) => Err(with_causes(&error)),
        None => Err("the engine does not tell how the command ended".to_owned()),
    }
}

/// Where output goes.
struct Shown<'a> {
    terminal: Option<&'a Terminal>,
    rest: Vec<u8>,
}

impl Shown<'_> {
    fn show(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if let Some(terminal) = self.terminal {
            return terminal.show(bytes);
        }
        self.rest.extend_from_slice(bytes);
        while let Some((head, rest)) = self.rest.split_first_chunk::<8>() {
            let [kind, _, _, _, size @ ..] = *head;
            let size = u32::from_be_bytes(size) as usize;
            let Some(message) = rest.get(..size) else { return Ok(()) };
            if kind == 2 {
                let mut err = std::io::stderr().lock();
                err.write_all(message)?;
                err.flush()?;
            } else {
                let mut out = std::io::stdout().lock();
                out.write_all(message)?;
                out.flush()?;
            }
            self.rest.drain(..8 + size);
        }
        Ok(())
    }
}
