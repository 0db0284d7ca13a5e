//! What the engine tells while it builds.
//!
//! Source: the stream of `POST /build?version=2`: a JSON document a line; the progress of BuildKit is base64 of a
//! `moby.buildkit.v1.StatusResponse`, of which four fields are read here.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// How many lines of a failed command are told again.
const LAST_LINES: usize = 20;

/// A build as far as it was told.
#[derive(Default)]
pub struct Progress {
    /// What was received and is no whole line yet.
    rest: Vec<u8>,
    /// Names of vertices, by digest.
    names: BTreeMap<String, String>,
    /// The beginnings of lines that commands print, by vertex and stream.
    partial: BTreeMap<(String, u64), Vec<u8>>,
    last: BTreeMap<String, VecDeque<String>>,
    failed: Option<String>,
    /// What the engine says went wrong.
    pub error: Option<String>,
    /// The image that was built.
    pub image: Option<String>,
}

/// A field of a protocol buffer.
pub enum Field<'a> {
    /// A number.
    Number(u64),
    /// Bytes or text, or a message.
    Bytes(&'a [u8]),
}

impl Progress {
    /// Takes what was received; lines that commands printed go to `output`.
    pub fn receive(&mut self, bytes: &[u8], output: &mut dyn FnMut(&str)) {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { return };
        let rest = self.rest.split_off(end + 1);
        for line in std::mem::replace(&mut self.rest, rest).split(|b| *b == b'\n') {
            self.document(line, output);
        }
    }

    /// Ends the stream.
    pub fn finish(&mut self, output: &mut dyn FnMut(&str)) {
        let rest = std::mem::take(&mut self.rest);
        self.document(&rest, output);
        for ((vertex, _), line) in std::mem::take(&mut self.partial) {
            self.line(&vertex, &line, output);
        }
    }

    /// Returns the name of the step that failed, and the last lines that it printed.
    pub fn failed(&self) -> Option<(&str, Vec<String>)> {
        let vertex = self.failed.as_ref()?;
        let lines = self.last.get(vertex).map(|l| l.iter().cloned().collect()).unwrap_or_default();
        Some((self.names.get(vertex).map_or("", String::as_str), lines))
    }

    fn document(&mut self, line: &[u8], output: &mut dyn FnMut(&str)) {
        let Ok(document) = serde_json::from_slice::<Value>(line) else { return };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        match document.get("id").and_then(Value::as_str) {
            Some("moby.buildkit.trace") => {
                let trace = text(document.get("aux")).and_then(|t| STANDARD.decode(t).ok());
                self.trace(&trace.unwrap_or_default(), output);
            }
            Some("moby.image.id") => self.image = text(document.get("aux").and_then(|a| a.get("ID"))),
            Some(_) | None => {}
        }
        if let Some(error) = text(document.get("error")) {
            self.error = Some(error);
        }
    }

    fn trace(&mut self, bytes: &[u8], output: &mut dyn FnMut(&str)) {
        for (number, field) in Fields(bytes) {
            match (number, field) {
                (1, Field::Bytes(vertex)) => self.vertex(vertex),
                (3, Field::Bytes(log)) => self.log(log, output),
                (_, Field::Bytes(_) | Field::Number(_)) => {}
            }
        }
    }

    fn vertex(&mut self, bytes: &[u8]) {
        let (mut digest, mut name, mut failed) = (String::new(), String::new(), false);
        for (number, field) in Fields(bytes) {
            match (number, field) {
                (1, Field::Bytes(text)) => digest = String::from_utf8_lossy(text).into_owned(),
                (3, Field::Bytes(text)) => name = String::from_utf8_lossy(text).into_owned(),
                (7, Field::Bytes(text)) => failed = !text.is_empty() && !text.ends_with(b"context canceled"),
                (_, Field::Bytes(_) | Field::Number(_)) => {}
            }
        }
        if failed && self.failed.is_none() {
            self.failed = Some(digest.clone());
        }
        self.names.insert(digest, name);
    }

    fn log(&mut self, bytes: &[u8], output: &mut dyn FnMut(&str)) {
        let (mut vertex, mut stream, mut text): (String, u64, &[u8]) = (String::new(), 0, &[]);
        for (number, field) in Fields(bytes) {
            match (number, field) {
                (1, Field::Bytes(digest)) => vertex = String::from_utf8_lossy(digest).into_owned(),
                (3, Field::Number(number)) => stream = number,
                (4, Field::Bytes(message)) => text = message,
                (_, Field::Bytes(_) | Field::Number(_)) => {}
            }
        }
        let mut whole = self.partial.remove(&(vertex.clone(), stream)).unwrap_or_default();
        whole.extend_from_slice(text);
        let mut lines: Vec<&[u8]> = whole.split(|b| *b == b'\n').collect();
        let begun = lines.pop().unwrap_or_default();
        for line in lines {
            self.line(&vertex, line, output);
        }
        if !begun.is_empty() {
            self.partial.insert((vertex, stream), begun.to_vec());
        }
    }

    fn line(&mut self, vertex: &str, line: &[u8], output: &mut dyn FnMut(&str)) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\r');
        output(line);
        let last = self.last.entry(vertex.to_owned()).or_default();
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line.to_owned());
    }
}

/// The fields of a message, as far as they can be read.
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.number()?;
        let mut take = |count: u64| {
            let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
            self.0 = rest;
            Some(taken)
        };
        let field = match key & 7 {
            0 => Field::Number(self.number()?),
            1 => Field::Bytes(take(8)?),
            2 => {
                let count = self.number()?;
                let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
                self.0 = rest;
                Field::Bytes(taken)
            }
            5 => Field::Bytes(take(4)?),
            _ => return None,
        };
        Some((key >> 3, field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn document(trace: &[u8]) -> String {
        format!("{{\"id\":\"moby.buildkit.trace\",\"aux\":\"{}\"}}\n", STANDARD.encode(trace))
    }

    #[test]
    fn lines_are_told_whole_and_the_failed_step_keeps_its_last() {
        let vertex =
            |error: &str| [field(1, b"sha256:1"), field(3, b"[2/2] RUN x"), field(7, error.as_bytes())].concat();
        let log = |text: &str| [field(1, b"sha256:1"), vec![3 << 3, 1], field(4, text.as_bytes())].concat();
        let mut stream = document(&field(1, &vertex("")));
        for text in ["one\ntw", "o\nthree"] {
            stream += &document(&field(3, &log(text)));
        }
        stream += &document(&field(1, &vertex("exit code: 3")));
        stream += "{\"errorDetail\":{\"message\":\"m\"},\"error\":\"exit code: 3\"}";
        let (mut progress, mut told) = (Progress::default(), Vec::new());
        for piece in stream.as_bytes().chunks(7) {
            progress.receive(piece, &mut |line| told.push(line.to_owned()));
        }
        progress.finish(&mut |line| told.push(line.to_owned()));
        assert_eq!(told, ["one", "two", "three"]);
        assert_eq!(progress.failed(), Some(("[2/2] RUN x", told)));
        assert_eq!(progress.error.as_deref(), Some("exit code: 3"));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let mut progress = Progress::default();
        for bytes in [&b"\n{\n"[..], document(&[0xff; 30]).as_bytes(), document(&[10, 200, 1]).as_bytes()] {
            progress.receive(bytes, &mut |_| panic!("nothing was printed"));
        }
        assert!(progress.failed().is_none() && progress.image.is_none());
    }
}
