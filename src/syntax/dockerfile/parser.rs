//! The parser: directives, then instructions, then stages.

use std::ops::Range;

use crate::diag::{Diagnostic, Diagnostics, Fix, did_you_mean, rules};
use crate::source::{FileId, Span};

use super::lines::{Lines, Logical};
use super::tree::{
    ArgDeclaration, Command, Copy, Directive, Dockerfile, Flag, From, Healthcheck, Heredoc, Instruction, Kind, Pair,
    Run, Stage, Word,
};
use super::words::{JsonList, json_list, split_blank, split_quoted};
use super::{flags, heredoc};

/// The keywords, upper case, sorted. Source: Dockerfile reference.
pub const KEYWORDS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Parses a Dockerfile. Whatever the text is, a tree comes back; what is wrong with it is reported.
pub fn parse(diagnostics: &mut Diagnostics, file: FileId, text: &str) -> Dockerfile {
    let faults_before = diagnostics.as_slice().len();
    let mut lines = Lines::new(text);
    let (directives, escape) = read_directives(diagnostics, file, &mut lines);
    let mut parser = Parser { diagnostics, lines, escape };
    let mut dockerfile = Dockerfile { file, escape, directives, globals: Vec::new(), stages: Vec::new() };
    while let Some(line) = Logical::read(file, &mut parser.lines, escape) {
        match parser.instruction(&line) {
            Parsed::From(from) => dockerfile.stages.push(Stage { from, instructions: Vec::new() }),
            Parsed::Other(instruction) => {
                if let Some(stage) = dockerfile.stages.last_mut() {
                    stage.instructions.push(instruction);
                } else {
                    parser.check_global(&instruction);
                    dockerfile.globals.push(instruction);
                }
            }
        }
    }
    if dockerfile.stages.is_empty() && diagnostics.as_slice().len() == faults_before {
        let at = Span::new(file, 0, text.lines().next().map_or(0, str::len));
        diagnostics.push(Diagnostic::at(&rules::DOCKERFILE_SYNTAX, at, "the Dockerfile has no FROM"));
    }
    dockerfile
}

/// Reads `# name=value` lines until the first line that is none.
fn read_directives(diagnostics: &mut Diagnostics, file: FileId, lines: &mut Lines<'_>) -> (Vec<Directive>, char) {
    let mut found: Vec<Directive> = Vec::new();
    let mut escape = '\\';
    while let Some(line) = lines.peek() {
        let Some((name, value)) = directive(line.text) else { break };
        let start = line.start + value.start;
        let text = line.text.get(value.clone()).unwrap_or("").to_owned();
        let value = Word { span: Span::new(file, start, start + text.len()), text };
        if found.iter().any(|d| d.name == name) {
            let message = format!("the directive `{name}` is given twice");
            diagnostics.push(Diagnostic::at(&rules::DOCKERFILE_SYNTAX, value.span, message));
        }
        if name == "escape" {
            match value.text.as_str() {
                "\\" => escape = '\\',
                "`" => escape = '`',
                other => {
                    let message = format!("`{other}` cannot be the escape character");
                    let d = Diagnostic::at(&rules::DOCKERFILE_SYNTAX, value.span, message);
                    diagnostics.push(d.hint("use `\\` or a backtick"));
                }
            }
        }
        found.push(Directive { name, value });
        lines.next();
    }
    (found, escape)
}

/// Returns the lower-case name and the range of the value of `# name = value`.
fn directive(line: &str) -> Option<(String, Range<usize>)> {
    let body = line.trim_start().strip_prefix('#')?.trim_start();
    let (name, value) = body.split_once('=')?;
    let name = name.trim_end();
    let legal = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    let trimmed = value.trim();
    if !legal || trimmed.is_empty() {
        return None;
    }
    let end = line.trim_end().len();
    Some((name.to_ascii_lowercase(), end - trimmed.len()..end))
}

enum Parsed {
    From(From),
    Other(Instruction),
}

struct Parser<'d, 't> {
    diagnostics: &'d mut Diagnostics,
    lines: Lines<'t>,
    escape: char,
}

/// The operand of an instruction: a range of a logical line.
struct Operand<'l> {
    line: &'l Logical,
    range: Range<usize>,
    keyword: &'l str,
}

impl Operand<'_> {
    fn text(&self) -> &str {
        self.line.text.get(self.range.clone()).unwrap_or("")
    }

    fn span(&self) -> Span {
        self.line.span(self.range.clone())
    }

    fn word(&self, range: Range<usize>) -> Word {
        Word { text: self.line.text.get(range.clone()).unwrap_or("").to_owned(), span: self.line.span(range) }
    }

    fn all(&self) -> Word {
        self.word(self.range.clone())
    }
}

impl Parser<'_, '_> {
    fn fault(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::at(&rules::DOCKERFILE_SYNTAX, span, message));
    }

    fn instruction(&mut self, line: &Logical) -> Parsed {
        if let Some(blank) = &line.blank {
            let span = Span::new(line.file, blank.start, blank.end);
            let found = Diagnostic::at(&rules::BLANK_CONTINUATION, span, "a blank line stands inside an instruction");
            let mut found = found.hint("remove the blank line, or the escape character before it");
            let whole = Span::new(line.file, blank.start, blank.end + 1);
            found.fix = Some(Fix { span: whole, text: String::new() });
            self.diagnostics.push(found);
        }
        self.instruction_in(line, 0..line.text.trim_end().len(), false)
    }

    fn instruction_in(&mut self, line: &Logical, within: Range<usize>, triggered: bool) -> Parsed {
        let text = line.text.get(within.clone()).unwrap_or("");
        let lead = text.len() - text.trim_start().len();
        let start = within.start + lead;
        let length = text.trim_start().find(char::is_whitespace).unwrap_or(text.len() - lead);
        let keyword_span = line.span(start..start + length);
        let keyword = line.text.get(start..start + length).unwrap_or("").to_ascii_uppercase();
        let (flags, rest) = if KEYWORDS.contains(&keyword.as_str()) && keyword != "ONBUILD" {
            flags::read(self.diagnostics, line, &keyword, start + length..within.end, self.escape)
        } else {
            let after = line.text.get(start + length..within.end).unwrap_or("");
            (Vec::new(), start + length + after.len() - after.trim_start().len())
        };
        let operand = Operand { line, range: rest.min(within.end)..within.end, keyword: &keyword };
        if keyword == "FROM" && !triggered {
            return Parsed::From(self.from(&operand, &flags, line.span(start..within.end)));
        }
        let kind_and_heredocs = self.kind(&operand, &flags, keyword_span, triggered);
        let (kind, heredocs) = kind_and_heredocs;
        let mut span = line.span(start..within.end);
        if let Some(last) = heredocs.last() {
            span.end = self.lines.offset().max(last.content_span.end as usize) as u32;
        }
        let canonical = line.text.get(start + length..within.end).unwrap_or("").trim();
        let text = format!("{keyword} {canonical}").trim_end().to_owned();
        Parsed::Other(Instruction { span, keyword: keyword_span, text, flags, heredocs, kind })
    }

    fn check_global(&mut self, instruction: &Instruction) {
        if !matches!(instruction.kind, Kind::Arg(_) | Kind::Unknown) {
            let message = format!("{} stands before the first FROM", instruction.keyword_text());
            self.diagnostics.push(
                Diagnostic::at(&rules::DOCKERFILE_SYNTAX, instruction.keyword, message)
                    .hint("only ARG may stand before FROM"),
            );
        }
    }

    fn from(&mut self, operand: &Operand<'_>, flags: &[Flag], span: Span) -> From {
        let words = split_blank(&operand.line.text, operand.range.clone());
        let words: Vec<Word> = words.into_iter().map(|r| operand.word(r)).collect();
        let platform = flags.iter().find(|f| f.name == "platform").and_then(|f| f.value.clone());
        let empty = Word { text: String::new(), span };
        let (base, name) = match words.as_slice() {
            [] => {
                self.fault(span, "FROM needs a base image");
                (empty, None)
            }
            [base] => (base.clone(), None),
            [base, word, name] if word.text.eq_ignore_ascii_case("as") => {
                self.check_stage_name(name);
                (base.clone(), Some(name.clone()))
            }
            [base, rest, ..] => {
                self.diagnostics.push(
                    Diagnostic::at(
                        &rules::DOCKERFILE_SYNTAX,
                        rest.span,
                        "FROM takes one base image, or `BASE AS NAME`",
                    )
                    .label("not understood"),
                );
                (base.clone(), None)
            }
        };
        From { span, platform, base, name }
    }

    /// Source: the stage name rule of Docker, `^[a-z][a-z0-9-_.]*$` whatever the case.
    fn check_stage_name(&mut self, name: &Word) {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.text.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.text.chars().all(legal) {
            let message = format!("`{}` cannot name a stage", name.text);
            self.diagnostics.push(
                Diagnostic::at(&rules::DOCKERFILE_SYNTAX, name.span, message)
                    .hint("a stage name is a letter, then letters, digits, `-`, `_` and `.`"),
            );
        }
    }

    fn kind(&mut self, operand: &Operand<'_>, flags: &[Flag], keyword: Span, triggered: bool) -> (Kind, Vec<Heredoc>) {
        if operand.text().is_empty() && KEYWORDS.contains(&operand.keyword) {
            let message = format!("{} needs an argument", operand.keyword);
            self.fault(keyword, message);
        }
        let plain = |kind: Kind| (kind, Vec::new());
        match operand.keyword {
            "ADD" | "COPY" => self.copy(operand, flags),
            "RUN" => self.run(operand, flags),
            "ARG" => plain(Kind::Arg(self.args(operand))),
            "CMD" => plain(Kind::Cmd(self.command(operand))),
            "ENTRYPOINT" => plain(Kind::Entrypoint(self.command(operand))),
            "ENV" => plain(Kind::Env(self.pairs(operand))),
            "LABEL" => plain(Kind::Label(self.pairs(operand))),
            "EXPOSE" => plain(Kind::Expose(Self::blank_words(operand))),
            "VOLUME" => plain(Kind::Volume(self.list(operand))),
            "HEALTHCHECK" => plain(self.healthcheck(operand)),
            "SHELL" => plain(self.shell(operand)),
            "MAINTAINER" => plain(Kind::Maintainer(operand.all())),
            "STOPSIGNAL" => plain(Kind::Stopsignal(operand.all())),
            "USER" => plain(Kind::User(operand.all())),
            "WORKDIR" => plain(Kind::Workdir(operand.all())),
            "ONBUILD" if !triggered => self.onbuild(operand),
            "ONBUILD" | "FROM" => {
                self.fault(keyword, format!("ONBUILD cannot trigger {}", operand.keyword));
                plain(Kind::Unknown)
            }
            unknown => {
                self.unknown(unknown, keyword);
                plain(Kind::Unknown)
            }
        }
    }

    fn unknown(&mut self, keyword: &str, span: Span) {
        let message = format!("`{keyword}` is not an instruction");
        let mut d = Diagnostic::at(&rules::UNKNOWN_INSTRUCTION, span, message);
        if let Some(near) = did_you_mean(keyword, KEYWORDS.iter().copied()) {
            d = d.hint(format!("did you mean `{near}`?"));
        }
        self.diagnostics.push(d);
    }

    fn onbuild(&mut self, operand: &Operand<'_>) -> (Kind, Vec<Heredoc>) {
        if operand.text().is_empty() {
            return (Kind::Unknown, Vec::new());
        }
        match self.instruction_in(operand.line, operand.range.clone(), true) {
            Parsed::Other(inner) => {
                if matches!(inner.kind, Kind::Maintainer(_)) {
                    self.fault(inner.keyword, "ONBUILD cannot trigger MAINTAINER");
                }
                let heredocs = inner.heredocs.clone();
                (Kind::Onbuild(Box::new(inner)), heredocs)
            }
            Parsed::From(_) => (Kind::Unknown, Vec::new()),
        }
    }

    fn blank_words(operand: &Operand<'_>) -> Vec<Word> {
        let words = split_blank(&operand.line.text, operand.range.clone());
        words.into_iter().map(|r| operand.word(r)).collect()
    }

    /// Reads a JSON list of strings; `None` when the operand is none, or is reported.
    fn json(&mut self, operand: &Operand<'_>) -> Option<Vec<Word>> {
        match json_list(&operand.line.text, operand.range.clone()) {
            JsonList::Strings(list) => {
                Some(list.into_iter().map(|(text, r)| Word { text, span: operand.line.span(r) }).collect())
            }
            JsonList::NotStrings => {
                self.fault(
                    operand.span(),
                    format!("the JSON list of {} has something else than strings", operand.keyword),
                );
                None
            }
            JsonList::No => {
                let text = operand.text();
                let is_list = text.starts_with("[\"") && operand.keyword != "SHELL";
                if is_list {
                    let message = "this is no JSON list, so it is not read as a list";
                    let d = Diagnostic::at(&rules::EXEC_FORM_NOT_JSON, operand.span(), message);
                    self.diagnostics.push(d.hint("end the line with `]`; comments have lines of their own"));
                } else if text.starts_with("['") && text.ends_with(']') {
                    self.diagnostics.push(
                        Diagnostic::at(
                            &rules::EXEC_FORM_NOT_JSON,
                            operand.span(),
                            "a list in single quotes is not JSON and runs in a shell",
                        )
                        .hint("write the list with double quotes"),
                    );
                }
                None
            }
        }
    }

    fn command(&mut self, operand: &Operand<'_>) -> Command {
        self.json(operand).map_or_else(|| Command::Shell(operand.all()), Command::Exec)
    }

    fn list(&mut self, operand: &Operand<'_>) -> Vec<Word> {
        self.json(operand).unwrap_or_else(|| Self::blank_words(operand))
    }

    fn run(&mut self, operand: &Operand<'_>, flags: &[Flag]) -> (Kind, Vec<Heredoc>) {
        let mounts = flags::mounts(self.diagnostics, flags);
        let command = self.command(operand);
        let heredocs = match &command {
            Command::Exec(_) => Vec::new(),
            Command::Shell(_) => heredoc::read(self.diagnostics, operand.line, operand.range.clone(), &mut self.lines),
        };
        (Kind::Run(Run { command, mounts }), heredocs)
    }

    fn copy(&mut self, operand: &Operand<'_>, flags: &[Flag]) -> (Kind, Vec<Heredoc>) {
        let json = self.json(operand);
        let heredocs = match &json {
            Some(_) => Vec::new(),
            None => heredoc::read(self.diagnostics, operand.line, operand.range.clone(), &mut self.lines),
        };
        let mut words = json.unwrap_or_else(|| Self::blank_words(operand));
        let empty = Word { text: String::new(), span: operand.span() };
        if words.len() == 1 {
            self.fault(operand.span(), format!("{} needs a source and a destination", operand.keyword));
        }
        let destination = if words.len() > 1 { words.pop().unwrap_or(empty) } else { empty };
        if heredoc::is_heredoc(&destination.text) && !heredocs.is_empty() {
            self.fault(destination.span, "a heredoc cannot be the destination");
        }
        if words.len() > 1 && !destination.text.ends_with('/') && !matches!(destination.text.as_str(), "." | "..") {
            let variable = destination.text.contains('$');
            if !variable {
                let message = format!("with several sources the destination of {} ends in `/`", operand.keyword);
                self.fault(destination.span, message);
            }
        }
        let from = flags.iter().find(|f| f.name == "from").and_then(|f| f.value.clone());
        let copy = Copy { from, sources: words, destination };
        let kind = if operand.keyword == "ADD" { Kind::Add(copy) } else { Kind::Copy(copy) };
        (kind, heredocs)
    }

    fn args(&mut self, operand: &Operand<'_>) -> Vec<ArgDeclaration> {
        let words = split_quoted(&operand.line.text, operand.range.clone(), self.escape);
        let mut declared = Vec::new();
        for range in words {
            let text = operand.line.text.get(range.clone()).unwrap_or("");
            let (name, default) = match text.split_once('=') {
                Some((name, _)) => {
                    let middle = range.start + name.len();
                    (operand.word(range.start..middle), Some(operand.word(middle + 1..range.end)))
                }
                None => (operand.word(range), None),
            };
            if name.text.is_empty() {
                self.fault(name.span, "an ARG has no name");
                continue;
            }
            declared.push(ArgDeclaration { name, default });
        }
        declared
    }

    fn pairs(&mut self, operand: &Operand<'_>) -> Vec<Pair> {
        let words = split_quoted(&operand.line.text, operand.range.clone(), self.escape);
        let text_of = |r: &Range<usize>| operand.line.text.get(r.clone()).unwrap_or("");
        let Some(first) = words.first().cloned() else { return Vec::new() };
        if !text_of(&first).contains('=') {
            return self.legacy_pair(operand, first);
        }
        let mut pairs = Vec::new();
        for range in words {
            match text_of(&range).split_once('=') {
                Some(("", _)) => self.fault(operand.line.span(range), "a pair has no name before `=`"),
                Some((key, _)) => {
                    let middle = range.start + key.len();
                    let (key, value) = (operand.word(range.start..middle), operand.word(middle + 1..range.end));
                    pairs.push(Pair { key, value, legacy: false });
                }
                None => {
                    let message = format!("`{}` has no `=`", text_of(&range));
                    self.diagnostics.push(
                        Diagnostic::at(&rules::DOCKERFILE_SYNTAX, operand.line.span(range), message)
                            .hint("write name=value, and quote a value that has blanks"),
                    );
                }
            }
        }
        pairs
    }

    /// Reads `name the rest of the line`.
    fn legacy_pair(&mut self, operand: &Operand<'_>, key: Range<usize>) -> Vec<Pair> {
        let rest = operand.line.text.get(key.end..operand.range.end).unwrap_or("");
        if rest.trim().is_empty() {
            self.fault(operand.span(), format!("{} needs a name and a value", operand.keyword));
            return Vec::new();
        }
        let start = key.end + rest.len() - rest.trim_start().len();
        let value = operand.word(start..operand.range.end);
        vec![Pair { key: operand.word(key), value, legacy: true }]
    }

    fn healthcheck(&mut self, operand: &Operand<'_>) -> Kind {
        let text = operand.text();
        let length = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(length).unwrap_or((text, ""));
        let start = operand.range.end - rest.trim_start().len();
        let inner = Operand { line: operand.line, range: start..operand.range.end, keyword: "HEALTHCHECK" };
        match word.to_ascii_uppercase().as_str() {
            "NONE" => {
                if !rest.trim().is_empty() {
                    self.fault(inner.span(), "HEALTHCHECK NONE takes no argument");
                }
                Kind::Healthcheck(Healthcheck::None)
            }
            "CMD" => {
                if rest.trim().is_empty() {
                    self.fault(operand.span(), "HEALTHCHECK CMD needs a command");
                }
                Kind::Healthcheck(Healthcheck::Cmd(self.command(&inner)))
            }
            "" => Kind::Unknown,
            _ => {
                let span = operand.line.span(operand.range.start..operand.range.start + length);
                self.diagnostics.push(
                    Diagnostic::at(&rules::DOCKERFILE_SYNTAX, span, format!("HEALTHCHECK has no type `{word}`"))
                        .hint("use `HEALTHCHECK CMD command` or `HEALTHCHECK NONE`"),
                );
                Kind::Unknown
            }
        }
    }

    fn shell(&mut self, operand: &Operand<'_>) -> Kind {
        match self.json(operand) {
            Some(words) if !words.is_empty() => Kind::Shell(words),
            Some(_) | None => {
                if !operand.text().is_empty() {
                    self.fault(operand.span(), "SHELL takes a JSON list of strings");
                }
                Kind::Unknown
            }
        }
    }
}
