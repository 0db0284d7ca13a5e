//! Charts made of pieces of the observed cases, cut and glued at random: whatever comes, loading and rendering end,
//! without a panic, and every fault has a place.
//!
//! `STAGEWRIGHT_FUZZ=100000` asks for more rounds, `STAGEWRIGHT_FUZZ_SEED=7` for others.

#![allow(clippy::disallowed_methods, reason = "a test that is told how long to run, and tells what hangs")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::{LoadOptions, RenderOptions, ValuesInput, compose, load, load_archive, render};
use crate::diag::Diagnostics;
use crate::source::{FileId, Files, MemoryObjects, Mode, Sources};
use crate::syntax::yaml;

const CASES: &str = include_str!("../../testdata/templates/cases.jsonl");
/// Functions that compute for long on purpose.
const SLOW: &[&str] = &["gen", "bcrypt", "htpasswd", "derivePassword", "seq", "until", "Crypt", "AES"];
/// A round that takes this long hangs.
const LONG: Duration = Duration::from_mins(1);

/// A small generator of numbers. Source: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D);
        (drawn >> 33) as usize % limit.max(1)
    }

    fn pick<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// The words of a text: names, numbers, blanks, and single marks.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let class = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 1,
        ' ' => 2,
        '{' | '}' => 3,
        _ => 4,
    };
    let mut last = 0;
    for (at, c) in text.char_indices() {
        let now = class(c);
        if at > start && (now != last || now == 4) {
            words.push(&text[start..at]);
            start = at;
        }
        last = now;
    }
    words.push(&text[start..]);
    words
}

/// Cuts, doubles, swaps and glues words of texts.
fn mutate(dice: &mut Dice, texts: &[String]) -> String {
    let mut out: Vec<&str> = words(dice.pick::<String>(texts));
    let other = words(dice.pick::<String>(texts));
    for _ in 0..=dice.below(4) {
        let at = dice.below(out.len() + 1);
        match dice.below(8) {
            0 => out.truncate(at),
            1 if at < out.len() => drop(out.remove(at)),
            2 if at < out.len() => out.insert(at, out[at]),
            3 if at < out.len() => out[at] = *dice.pick::<&str>(&other),
            4 => out.insert(
                at,
                *dice.pick::<&str>(&["{{", "}}", "\"", "(", ")", "|", ".", "$", "-", "\n", "\u{feff}", "\0", "é"]),
            ),
            5 => out.insert(
                at,
                *dice.pick::<&str>(&[
                    "range ",
                    "if ",
                    "end",
                    "else ",
                    "define \"a\"",
                    "include \"a\" .",
                    "nil",
                    "tpl ",
                ]),
            ),
            6 => {
                let end = (at + dice.below(20)).min(out.len());
                let piece: Vec<&str> = out[at..end].to_vec();
                for _ in 0..dice.below(30) {
                    out.splice(at..at, piece.iter().copied());
                }
            }
            _ => {
                let from = dice.below(other.len());
                let to = (from + dice.below(12)).min(other.len());
                out.splice(at..at, other[from..to].iter().copied());
            }
        }
        out.truncate(4_000);
    }
    out.concat()
}

fn chart(template: &str, values: &str) -> Files {
    let file = |text: &str| Some((Mode::File, text.as_bytes().to_vec()));
    let files = BTreeMap::from([
        ("Chart.yaml".to_owned(), file("apiVersion: v2\nname: fuzz\nversion: 0.1.0\n")),
        ("values.yaml".to_owned(), file(values)),
        ("templates/a.yaml".to_owned(), file(template)),
    ]);
    let store = MemoryObjects::new();
    let root = store.with_changes(None, &files).expect("a tree of files");
    Files::new(Arc::new(store), root)
}

/// Loads, composes and renders; every fault must be shown with a place.
fn round(template: &str, values: &str) {
    let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
    let found = load(&mut diagnostics, &sources, &chart(template, values), "", &LoadOptions::default());
    if let Some(chart) = found
        && let Some(values) = compose(&mut diagnostics, &sources, &chart, &ValuesInput::default())
    {
        let rendered = render(&mut diagnostics, &sources, &values, &RenderOptions::default());
        drop(rendered.print(&super::PrintOptions::default()));
    }
    for fault in diagnostics.as_slice() {
        let label = fault.primary.as_ref();
        assert!(label.is_some() || fault.path.is_some(), "{}", fault.message);
        if let Some(label) = label {
            let text = sources.get(label.span.file).text().clone();
            assert!(text.get(label.span.range()).is_some(), "{}: a place outside of its file", fault.message);
        }
    }
}

fn run(rounds: u64, texts: &[String], mut body: impl FnMut(&mut Dice, &[String]) -> String) {
    let seed = number("STAGEWRIGHT_FUZZ_SEED", 1);
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for number in 0..rounds {
        let start = Instant::now();
        let mut shown = String::new();
        let caught = catch_unwind(AssertUnwindSafe(|| shown = body(&mut dice, texts)));
        assert!(caught.is_ok(), "round {number} of seed {seed} panics");
        assert!(start.elapsed() < LONG, "round {number} of seed {seed} hangs: {shown}");
    }
}

fn texts(key: &str) -> Vec<String> {
    let cases = CASES.lines().map(|line| serde_json::from_str::<Json>(line).expect("a case is JSON"));
    let mut texts: Vec<String> = cases.filter_map(|case| case.get(key)?.as_str().map(str::to_owned)).collect();
    texts.retain(|text| !SLOW.iter().any(|slow| text.contains(slow)));
    texts.sort();
    texts.dedup();
    texts
}

#[test]
fn charts_cut_and_glued_at_random_render_or_are_refused_with_a_place() {
    let values = texts("values_yaml");
    run(number("STAGEWRIGHT_FUZZ", 1_500), &texts("t"), |dice, templates| {
        let template = mutate(dice, templates);
        let values = if dice.below(4) == 0 { mutate(dice, &values) } else { dice.pick(&values).clone() };
        round(&template, &values);
        template
    });
}

#[test]
fn yaml_cut_and_glued_at_random_is_read_or_refused() {
    let mut all = texts("values_yaml");
    all.extend(texts("out"));
    run(number("STAGEWRIGHT_FUZZ", 1_500), &all, |dice, texts| {
        let text = mutate(dice, texts);
        for options in [yaml::Options::HELM, yaml::Options::MANIFESTS, yaml::Options::WERF] {
            if let Ok(nodes) = yaml::decode_all(&text, FileId(0), 0, options) {
                for node in &nodes {
                    let Ok(written) = yaml::node_to_yaml(node) else { continue };
                    let again = yaml::decode(&written, FileId(0), 0, yaml::Options::HELM);
                    assert!(again.is_ok(), "{text:?} is written as {written:?}, which is no YAML");
                }
            }
        }
        text
    });
}

#[test]
fn archives_with_any_bytes_are_read_or_refused() {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in
        [("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n"), ("c/templates/a.yaml", "a: b\n")]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, text.as_bytes()).expect("memory");
    }
    let whole = builder.into_inner().and_then(flate2::write::GzEncoder::finish).expect("memory");
    run(number("STAGEWRIGHT_FUZZ", 1_500), &[], |dice, _| {
        let mut bytes = whole.clone();
        for _ in 0..=dice.below(6) {
            let at = dice.below(bytes.len());
            bytes[at] = dice.below(256) as u8;
        }
        bytes.truncate(if dice.below(3) == 0 { dice.below(bytes.len()) } else { bytes.len() });
        let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
        let chart = load_archive(&mut diagnostics, &sources, "c.tgz", &bytes);
        assert!(chart.is_some() || diagnostics.has_errors());
        format!("{bytes:?}")
    });
}
