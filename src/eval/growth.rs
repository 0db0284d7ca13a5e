//! Cost grows with size, not with its square: each case is rendered in one size and in a size four times as large.
//!
//! The two are timed in turn in one run, and only their ratio is looked at: 4 where cost is linear, 16 where it is
//! quadratic. The bound stands between, and a case has several tries, because other programs run too.

use std::time::{Duration, Instant};

use super::*;
use crate::diag::Diagnostics;
use crate::source::Sources;

const FACTOR: usize = 4;
const BOUND: f64 = 9.0;
const TRIES: usize = 6;

/// A template that renders something `.N` long, and the smaller size.
struct Case {
    name: &'static str,
    template: &'static str,
    size: usize,
    /// `.Text`, for a size.
    text: fn(usize) -> String,
}

impl Case {
    const fn new(name: &'static str, template: &'static str, size: usize) -> Self {
        Self { name, template, size, text: |_| String::new() }
    }

    const fn with_text(self, text: fn(usize) -> String) -> Self {
        Self { text, ..self }
    }

    #[expect(clippy::disallowed_methods, reason = "a ratio of times is what is tested")]
    fn time(&self, size: usize) -> Duration {
        let sources = Sources::new();
        let mut set = TemplateSet::new(SetOptions::helm());
        let mut diagnostics = Diagnostics::new();
        let file = sources.add("main", self.template);
        set.parse(&mut diagnostics, &sources, "main", file);
        assert!(diagnostics.is_empty(), "{}: {diagnostics:?}", self.name);
        let data = [("N", Value::Int(size as i64)), ("Text", Value::str((self.text)(size)))];
        let data = data.map(|(key, value)| (Str::from(key), value));
        let start = Instant::now();
        set.render("main", Value::dict(data), RenderEnv::bare(&sources))
            .unwrap_or_else(|e| panic!("{}: {e:?}", self.name));
        start.elapsed()
    }

    fn ratio(&self) -> f64 {
        let best = |size: usize| self.time(size).min(self.time(size));
        best(self.size * FACTOR).as_secs_f64() / best(self.size).as_secs_f64()
    }
}

fn lines(n: usize) -> String {
    (0..n).map(|i| format!("key-{i}: [{i}, text number {i}]\n")).collect()
}

fn nested_maps(n: usize) -> String {
    (0..n).map(|i| format!("{}k{i}:\n", " ".repeat(i % 90))).collect::<String>() + &" ".repeat(95) + "x"
}

const CASES: &[Case] = &[
    Case::new(
        "include",
        r#"{{ define "x" }}text {{ .a }}{{ end }}{{ range $i := until .N }}{{ include "x" (dict "a" $i) }}{{ end }}"#,
        2_000,
    ),
    Case::new(
        "captured include",
        r#"{{ define "x" }}{{ range until .N }}some text{{ end }}{{ end }}{{ $t := include "x" . }}{{ $t | nindent 2 }}"#,
        10_000,
    ),
    Case::new("tpl of one text", r#"{{ range $i := until .N }}{{ tpl "a {{ .b }}" (dict "b" $i) }}{{ end }}"#, 2_000),
    Case::new(
        "tpl of many texts",
        r#"{{ range $i := until .N }}{{ tpl (printf "a {{ .b }} %d" $i) (dict "b" $i) }}{{ end }}"#,
        500,
    ),
    Case::new(
        "tpl in tpl",
        r#"{{ range $i := until .N }}{{ tpl "{{ tpl .t . }}" (dict "t" "{{ .b | quote }}" "b" $i) }}{{ end }}"#,
        1_000,
    ),
    Case::new(
        "merge",
        r#"{{ $m := dict }}{{ range $i := until .N }}{{ $m = merge $m (dict (printf "k%06d" $i) $i) }}{{ end }}{{ len $m }}"#,
        1_000,
    ),
    Case::new(
        "set in any order",
        r"{{ $m := dict }}{{ range $i := until .N }}{{ $_ := set $m (sha256sum (toString $i)) $i }}{{ end }}{{ len $m }}",
        500,
    ),
    Case::new(
        "append",
        r"{{ $l := list }}{{ range $i := until .N }}{{ $l = append $l $i }}{{ end }}{{ len $l }}",
        4_000,
    ),
    Case::new(
        "printf",
        r#"{{ range $i := until .N }}{{ printf "%s-%05d %v %q" "name" $i (list $i) "x" }}{{ end }}"#,
        1_000,
    ),
    Case::new(
        "join",
        r#"{{ range $i := until .N }}{{ $i }},{{ end }}{{ until .N | join "," | splitList "," | len }}"#,
        5_000,
    ),
    Case::new("until", r"{{ range until .N }}{{ . }}{{ end }}", 25_000),
    Case::new("regexReplaceAll", r#"{{ regexReplaceAll "[a-z]+-([0-9]+)" .Text "<$1>" }}"#, 2_000).with_text(lines),
    Case::new("regexSplit", r#"{{ regexSplit "[^a-z]+" .Text -1 | len }}"#, 2_000).with_text(lines),
    Case::new(
        "replace and trim",
        r#"{{ .Text | replace "key" "word" | trim | indent 4 | trimSuffix "x" | upper | b64enc }}"#,
        5_000,
    )
    .with_text(lines),
    Case::new("fromYaml", r"{{ len (fromYaml .Text) }}", 500).with_text(lines),
    Case::new("toYaml", r"{{ fromYaml .Text | toYaml | nindent 4 }}", 400).with_text(lines),
    Case::new("toJson", r"{{ fromYaml .Text | toPrettyJson | fromJson | toJson }}", 400).with_text(lines),
    Case::new("deep YAML", r"{{ fromYaml .Text | toYaml }}", 90).with_text(|n| nested_maps(n.min(360))),
    Case::new(
        "uniq, sort, reverse",
        r"{{ $l := until .N }}{{ $l | uniq | len }}{{ $l | sortAlpha | reverse | len }}",
        1_000,
    ),
    Case::new("without and has", r"{{ $l := until .N }}{{ without $l 1 2 3 | len }}{{ has -1 $l }}", 4_000),
    Case::new("wrap and split", r#"{{ .Text | wrap 40 | split "\n" | len }}"#, 500).with_text(lines),
];

#[test]
fn cost_grows_with_size_and_not_with_its_square() {
    let slow = |case: &Case| {
        let ratios: Vec<f64> = (0..TRIES).map(|_| case.ratio()).take_while_inclusive(|r| *r > BOUND).collect();
        (ratios.len() == TRIES && ratios.last().is_some_and(|r| *r > BOUND))
            .then(|| format!("{}: {ratios:.1?}", case.name))
    };
    let slow: Vec<String> = CASES.iter().filter_map(slow).collect();
    assert!(slow.is_empty(), "times of four times the size: {slow:#?}");
}

trait TakeWhileInclusive: Iterator + Sized {
    /// Goes on until an item does not fit, and keeps that one.
    fn take_while_inclusive(self, fits: impl Fn(&Self::Item) -> bool) -> impl Iterator<Item = Self::Item> {
        let mut done = false;
        self.take_while(move |item| !std::mem::replace(&mut done, !fits(item)))
    }
}

impl<I: Iterator> TakeWhileInclusive for I {}
