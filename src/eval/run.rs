//! Rendering: walks programs over values.
//!
//! What lives here: [`Ctx`], one rendering session: output, variables, the running template; evaluation of steps,
//! pipelines and calls. What does not: functions, except that `include` and `tpl` come back here.
//!
//! The one idea: it does what Go's `text/template` does, in its order, and remembers the last node it visited (`at`),
//! because that is the node that an error names.
#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_box_returns,
    clippy::match_same_arms,
    reason = "errors travel boxed and are built on the way out"
)]

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::error::{Level, RenderError, TPL_MARK, canonical};
use super::function::{FuncError, Function, Param};
use super::origins::{Origin, OriginId, OriginTable, Origins};
use super::print;
use super::program::{Arm, At, Command, Expr, FieldName, Interner, NO_SLOT, Node, Pipe, Program, Range, Step};
use super::program::{TemplateId, lower};
use super::set::{Missing, TemplateSet};
use super::stack::StackBound;
use super::track::{Track, ValueIndex};
use super::value::{Dict, DictKind, Elem, List, Method, ObjectRef, Str, Value};
use crate::diag::{Diagnostics, did_you_mean};
use crate::source::{FileId, Sources};
use crate::syntax::gotemplate::{Number, Options, parse};

/// The largest text that a rendering or a function makes. Unit: bytes.
pub const MAX_OUTPUT: usize = 256 * 1024 * 1024;

/// How deep `template` calls may nest.
const MAX_CALLS: u32 = 100_000;

/// What one more element of a list costs. Unit: bytes.
const GROWN: u64 = 2 * size_of::<Value>() as u64;

/// What Go prints for nothing.
pub const NO_VALUE: &[u8] = b"<no value>";

/// What a rendering asks of the world; functions reach it through [`Ctx::env`].
pub trait Host: Sync {
    /// Answers a function that depends on the world: `lookup`, `env`, `getHostByName`, `werf_secret_file`.
    fn call(&self, function: &str, args: &[Value]) -> Result<Value, FuncError>;

    /// Fills a buffer with random bytes.
    fn random(&self, buffer: &mut [u8]);

    /// Returns the API versions that a cluster serves, and the kinds in them; `None` where none is asked.
    ///
    /// # Errors
    /// It does not answer.
    fn api_versions(&self) -> Result<Option<Vec<String>>, String> {
        Ok(None)
    }

    /// Returns the secret texts that were told so far.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A host without a world: `lookup` finds nothing, randomness repeats.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn call(&self, function: &str, _args: &[Value]) -> Result<Value, FuncError> {
        match function {
            "lookup" => Ok(Value::Dict(std::rc::Rc::new(Dict::new(DictKind::Any)))),
            "getHostByName" => Ok(Value::str("")),
            _ => Err(FuncError::new(format!("{function} is not available here"))),
        }
    }

    fn random(&self, buffer: &mut [u8]) {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for byte in buffer {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

/// The inputs of a rendering besides templates and data.
#[derive(Clone, Copy)]
pub struct RenderEnv<'e> {
    /// Answers what the engine cannot know.
    pub host: &'e dyn Host,
    /// The time that `now` tells. Unit: since the Unix epoch, UTC.
    pub now: Duration,
    /// Where texts of `tpl` are registered, so that errors in them have a place.
    pub sources: &'e Sources,
    /// Whether origins of the output and reads of values are recorded.
    pub track: bool,
}

impl<'e> RenderEnv<'e> {
    /// Returns inputs without a world, at the start of time.
    pub fn bare(sources: &'e Sources) -> Self {
        Self { host: &NoHost, now: Duration::ZERO, sources, track: false }
    }
}

/// A rendered text.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The bytes; UTF-8 unless a template made other bytes.
    pub text: Vec<u8>,
    /// Where they come from, when that was tracked; [`Ctx::origin_table`] tells what ids mean.
    pub origins: Option<Origins>,
}

/// A value as Go's reflection sees it: one that sits in an interface (an element of a map or list) tells
/// `interface {}` as its type, and a nil there is another nothing than no value at all.
#[derive(Clone, Debug, Default)]
struct Ev {
    value: Value,
    iface: bool,
}

impl Ev {
    fn of(value: Value) -> Self {
        Self { value, iface: false }
    }

    fn type_name(&self) -> String {
        if self.iface { "interface {}".to_owned() } else { self.value.type_name().into_owned() }
    }
}

type Fault = Box<RenderError>;
type Run<T> = Result<T, Fault>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// What a session has spent. A chart from anywhere must end, and within the memory of a machine.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    /// Calls, turns of loops, and blocks of argument bytes.
    steps: u64,
    /// Bytes of values that functions made, whether they still live or not.
    made: u64,
}

impl Budget {
    /// Tens of seconds of work; the largest public charts take less than a hundredth.
    const MAX_STEPS: u64 = if cfg!(test) { 3_000_000 } else { 300_000_000 };
    const MAX_MADE: u64 = if cfg!(test) { 256 << 20 } else { 2 << 30 };

    /// Says what ran out.
    fn spent(&self) -> Option<&'static str> {
        if self.steps > Self::MAX_STEPS {
            return Some("the chart asks for too much work: more than 300 million calls and turns of loops");
        }
        (self.made > Self::MAX_MADE).then_some("the chart asks for too much memory: its functions made more than 2 GiB")
    }
}

/// Estimates what a result costs in memory. Unit: bytes.
fn made_by(function: &Function, values: &[Value], result: &Value) -> u64 {
    match result {
        Value::Str(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(list) => 32 * list.items.len() as u64,
        Value::Dict(dict) => {
            // the first map of a merge is there already: looking through it each time would cost its square
            match function.name {
                "deepCopy" | "mustDeepCopy" => values.iter().map(deep_size).sum(),
                "merge" | "mustMerge" | "mergeOverwrite" | "mustMergeOverwrite" => {
                    values.iter().skip(1).map(deep_size).sum()
                }
                "set" | "unset" => 64,
                _ => 64 * dict.len() as u64,
            }
        }
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Int64(_)
        | Value::Uint64(_)
        | Value::Byte(_)
        | Value::Float(_)
        | Value::Object(_) => 0,
    }
}

/// Counts the places of a value and of all below it. Unit: bytes, roughly. Texts are shared and count as one place.
fn deep_size(value: &Value) -> u64 {
    let mut stack = vec![value.clone()];
    let mut size = 0;
    while let Some(value) = stack.pop() {
        size += 64;
        // A value that holds itself ends here.
        if size > Budget::MAX_MADE {
            break;
        }
        match value {
            Value::List(list) => stack.extend(list.items.iter().cloned()),
            Value::Dict(dict) => stack.extend(dict.entries().iter().map(|e| e.value.clone())),
            _ => {}
        }
    }
    size
}

/// One rendering session: renders templates over values of one thread. Functions get it as their context.
pub struct Ctx<'r> {
    /// The inputs.
    pub env: RenderEnv<'r>,
    budget: Budget,
    /// Which arguments of the running built-in are nil in an interface (and not nothing at all); a bit each.
    pub(super) nil_arguments: u64,
    set: &'r TemplateSet,
    interner: Interner,
    overlay: Vec<(TemplateId, Arc<Program>)>,
    constants: Vec<Option<Str>>,
    program: Option<Arc<Program>>,
    at: At,
    out: Vec<u8>,
    vars: Vec<Ev>,
    base: usize,
    included: FxHashMap<TemplateId, u32>,
    depth: u32,
    pool: Vec<Vec<Value>>,
    /// The programs of texts, by text and origin.
    texts: FxHashMap<(Str, OriginId), Arc<[Arc<Program>]>>,
    stack: StackBound,
    track: Option<Box<Track>>,
}

impl<'r> Ctx<'r> {
    pub(super) fn new(set: &'r TemplateSet, env: RenderEnv<'r>) -> Self {
        Self {
            env,
            budget: Budget::default(),
            nil_arguments: 0,
            set,
            interner: Interner::over(set.interner.clone()),
            overlay: Vec::new(),
            constants: Vec::new(),
            program: None,
            at: 0,
            out: Vec::new(),
            vars: Vec::new(),
            base: 0,
            included: FxHashMap::default(),
            depth: 0,
            pool: Vec::new(),
            texts: FxHashMap::default(),
            stack: StackBound::here(),
            track: env.track.then(Box::default),
        }
    }

    /// Tells where the values stand that are rendered; in tracking mode, before anything is rendered.
    pub fn index_values(&mut self, index: ValueIndex) {
        if let Some(track) = &mut self.track {
            **track = Track::new(index);
        }
    }

    /// Renders a template of the set.
    pub fn render(&mut self, name: &str, data: Value) -> Result<Rendered, RenderError> {
        if let Some(track) = &mut self.track {
            track.restart();
        }
        let found = self.interner.find(name).and_then(|id| self.program_of(id));
        let Some(program) = found else {
            return Err(RenderError::new(format!("template {name:?} not defined")));
        };
        let (mut text, mut origins) = self.capture(&program, Ev::of(data)).map_err(|e| *e)?;
        if self.set.options.erase_no_value {
            erase_no_value(&mut text, origins.as_mut());
        }
        Ok(Rendered { text, origins })
    }

    /// Returns the origin behind an id of [`Rendered::origins`].
    pub fn origin(&self, id: OriginId) -> Option<Origin> {
        self.track.as_ref()?.origin(id)
    }

    /// Returns what the ids of [`Rendered::origins`] mean.
    pub fn origin_table(&self) -> OriginTable {
        self.track.as_ref().map(|t| t.table()).unwrap_or_default()
    }

    /// Returns the paths of the values that were read, present or not, sorted.
    pub fn read_paths(&self) -> Vec<String> {
        self.track.as_ref().map(|t| t.read_paths()).unwrap_or_default()
    }

    /// Returns the node of the argument that was evaluated last, as a message names it.
    pub(super) fn first_argument(&self) -> String {
        self.level(self.at, String::new()).map(|l| l.node).unwrap_or_default()
    }

    /// Makes a value of the text of a registered file, which the running method reads: what becomes of it comes from there.
    pub fn text_of_file(&mut self, file: FileId) -> Value {
        let text = self.env.sources.get(file).text().clone();
        let span = self.program.as_ref().and_then(|p| p.nodes.get(self.at as usize)).map(|place| place.span);
        match (&mut self.track, span) {
            (Some(track), Some(span)) => Value::Str(track.file_text(span, file, &text)),
            _ => Value::str(&*text),
        }
    }

    /// Notes that a key of a marked map was read; functions that look keys up call it.
    pub fn note_read(&mut self, dict: &Dict, key: &[u8]) {
        if let Some(track) = &mut self.track {
            track.read(dict, key);
        }
    }

    fn program_of(&self, id: TemplateId) -> Option<Arc<Program>> {
        let over = self.overlay.iter().rev().find(|(other, _)| *other == id).map(|(_, program)| program);
        over.or_else(|| self.set.by_id(id)).cloned()
    }

    // ---- templates

    /// Renders a program into a text of its own.
    fn capture(&mut self, program: &Arc<Program>, dot: Ev) -> Run<(Vec<u8>, Option<Origins>)> {
        let out = std::mem::take(&mut self.out);
        let origins = self.track.as_mut().map(|t| t.enter());
        let depth = std::mem::take(&mut self.depth);
        let result = self.invoke(program, dot);
        self.depth = depth;
        let text = std::mem::replace(&mut self.out, out);
        let made = match (&mut self.track, origins) {
            (Some(track), Some(outer)) => Some(track.leave(outer)),
            _ => None,
        };
        result.map(|()| (text, made))
    }

    /// Runs a program; it writes to the current output.
    fn invoke(&mut self, program: &Arc<Program>, dot: Ev) -> Run<()> {
        if self.stack.reached() {
            return self.fail("templates call each other too deep");
        }
        self.spend(1)?;
        let base = std::mem::replace(&mut self.base, self.vars.len());
        let at = self.at;
        let caller = self.program.replace(program.clone());
        self.vars.resize(self.base + program.slots, Ev::default());
        if let Some(slot) = self.vars.get_mut(self.base) {
            *slot = dot.clone();
        }
        let result = self.steps(&program.body, &dot);
        self.vars.truncate(self.base);
        self.base = base;
        self.program = caller;
        self.at = at;
        result.map(|_| ())
    }

    /// Renders a template by name, as `include` does.
    pub fn include(&mut self, name: &str, data: &Value) -> Result<Str, FuncError> {
        let id = self.interner.find(name);
        if let Some(id) = id
            && self.included.get(&id).is_some_and(|n| *n > self.set.options.include_depth)
        {
            return Err(FuncError::new(format!(
                "rendering template has a nested reference name: {name}: unable to execute template"
            )));
        }
        let found = id.and_then(|id| self.program_of(id).map(|program| (id, program)));
        let Some((id, program)) = found else {
            return Err(FuncError::new(format!("template: no template {name:?} associated with template \"gotpl\"")));
        };
        *self.included.entry(id).or_insert(0) += 1;
        let result = self.capture(&program, Ev::of(data.clone()));
        if let Some(count) = self.included.get_mut(&id) {
            *count -= 1;
        }
        let (text, origins) = result.map_err(FuncError::Nested)?;
        Ok(Str::with_origins(text, origins.map(std::rc::Rc::new)))
    }

    /// Renders a text as a template, as `tpl` does. Parsed texts are kept for the session.
    pub fn tpl(&mut self, text: &Str, data: &Value) -> Result<Str, FuncError> {
        let has_action = find(text, self.set.options.delims.left.as_bytes()).is_some();
        if !has_action {
            if !self.set.options.erase_no_value || find(text, NO_VALUE).is_none() {
                return Ok(text.clone());
            }
            let mut bytes = text.to_vec();
            erase_no_value(&mut bytes, None);
            return Ok(Str::new(bytes));
        }
        let programs = self.parsed(text)?;
        if let Some(track) = &mut self.track {
            track.enter_text(text);
        }
        let Some(main) = programs.last() else { return Ok(Str::new(Vec::new())) };
        let kept = self.overlay.len();
        for program in programs.iter() {
            let id = self.interner.template(&program.name);
            let replaces = !program.blank || self.program_of(id).is_none();
            if replaces && !Arc::ptr_eq(program, main) {
                self.overlay.push((id, program.clone()));
            }
        }
        let result = self.capture(main, Ev::of(data.clone()));
        if !self.set.options.tpl_defines_stay {
            self.overlay.truncate(kept);
        }
        let (mut bytes, mut origins) = result.map_err(|error| {
            let words = format!("error during tpl function execution for {}: ", print::quoted(text));
            FuncError::Within(words.into_boxed_str(), error)
        })?;
        if self.set.options.erase_no_value {
            erase_no_value(&mut bytes, origins.as_mut());
        }
        Ok(Str::with_origins(bytes, origins.map(std::rc::Rc::new)))
    }

    /// Returns how a text is shown that a template made: by the file with the call.
    fn tpl_name(&self) -> String {
        let place = self.program.as_ref().and_then(|program| program.nodes.get(self.at as usize));
        let file = place.map(|place| self.env.sources.get(place.span.file));
        file.map_or_else(|| "tpl".to_owned(), |file| format!("{}{TPL_MARK}", file.path().trim_end_matches(TPL_MARK)))
    }

    fn parsed(&mut self, text: &Str) -> Result<Arc<[Arc<Program>]>, FuncError> {
        let origin = text.origins().and_then(|o| o.pieces.first()).map_or(OriginId(0), |(_, id)| *id);
        let key = (text.clone(), origin);
        if let Some(programs) = self.texts.get(&key) {
            return Ok(programs.clone());
        }
        let content = text.lossy();
        let file = if let Some(file) = self.env.sources.file_of(&content) {
            file
        } else {
            let file = self.env.sources.add(self.tpl_name(), content.as_ref());
            if let Some(track) = &mut self.track {
                track.parsed(file, text);
            }
            file
        };
        let mut diagnostics = Diagnostics::new();
        let functions = &self.set.options.functions;
        let options = Options { delims: self.set.options.delims, functions: &**functions };
        let template = parse(&mut diagnostics, self.env.sources, file, options);
        if let Some(first) = diagnostics.as_slice().first() {
            let line = first.primary.as_ref().map_or(1, |l| self.env.sources.locate(l.span).1.line);
            let text = print::quoted(text);
            let message = format!("cannot parse template {text}: template: gotpl:{line}: {}", first.message);
            return Err(FuncError::new(message));
        }
        let programs = lower(&template, &Arc::from("gotpl"), functions, &mut self.interner);
        let programs: Arc<[Arc<Program>]> = programs.into_iter().map(Arc::new).collect();
        self.texts.insert(key, programs.clone());
        Ok(programs)
    }

    // ---- errors

    #[cold]
    fn fault(&self, message: impl Into<String>) -> Fault {
        let mut error = Box::new(RenderError::new(message));
        error.hint = self.near_template(&error.message);
        error.levels.extend(self.level(self.at, String::new()));
        error.read = self.track.as_ref().and_then(|track| track.last_read());
        error
    }

    #[cold]
    fn fail<T>(&self, message: impl Into<String>) -> Run<T> {
        Err(self.fault(message))
    }

    /// Returns what to do about a message that a template is not there.
    fn near_template(&self, message: &str) -> Option<String> {
        let missing = message.contains("no template \"")
            || (message.starts_with("template \"") && message.ends_with("\" not defined"));
        let name = message.split('"').nth(1).filter(|_| missing)?;
        let all = (0..self.interner.templates()).map(TemplateId).filter(|id| self.program_of(*id).is_some());
        let names: Vec<Arc<str>> = all.map(|id| self.interner.name(id)).collect();
        let part = |other: &&Arc<str>| {
            let rest = other.strip_suffix(name).or_else(|| name.strip_suffix(&***other));
            rest.is_some_and(|rest| rest.ends_with(['.', '/']))
        };
        let near = did_you_mean(name, names.iter().map(|n| &**n)).or(names.iter().find(part).map(|n| &**n));
        Some(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "no template has a name like that: write `define {name:?}`; the text of a file has its path as name"
            ),
        })
    }

    fn level(&self, at: At, via: String) -> Option<Level> {
        let program = self.program.as_ref()?;
        let place = program.nodes.get(at as usize)?;
        let text = canonical(program.source.get(place.span.range()).unwrap_or(""));
        let node = if place.is_call { format!("{{{{template {text}}}}}") } else { text };
        let (template, span, position) = (program.name.clone(), place.span, place.position);
        Some(Level { template, node, span, position, via })
    }

    #[cold]
    fn called(&mut self, at: At, name: &str, error: FuncError) -> Fault {
        self.at = at;
        let via = format!("error calling {name}: ");
        match error {
            FuncError::Message(message) => self.fault(via + &message),
            FuncError::Refused(message) => {
                let mut fault = self.fault(message);
                fault.refused = true;
                fault
            }
            FuncError::Nested(mut error) => {
                error.levels.extend(self.level(at, via));
                error
            }
            FuncError::Within(words, mut error) => {
                error.levels.extend(self.level(at, via + &words));
                error
            }
        }
    }

    // ---- steps

    fn steps(&mut self, steps: &[Step], dot: &Ev) -> Run<Flow> {
        for step in steps {
            let reads = self.reads_before();
            let flow = match step {
                Step::Text(at, start, end) => {
                    self.text(*at, *start, *end);
                    Flow::Next
                }
                Step::Output(at, pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.slots.is_empty() {
                        self.write(*at, &value)?;
                    }
                    Flow::Next
                }
                Step::If(arms, otherwise) => self.conditional(arms, otherwise, dot, false)?,
                Step::With(arms, otherwise) => self.conditional(arms, otherwise, dot, true)?,
                Step::Range(at, range) => {
                    self.at = *at;
                    self.range(range, dot)?
                }
                Step::Call(at, id, argument) => {
                    self.call_template(*at, *id, argument.as_ref(), dot)?;
                    Flow::Next
                }
                Step::Break => Flow::Break,
                Step::Continue => Flow::Continue,
            };
            self.forget_reads(reads);
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// Returns how many reads are remembered, for [`Self::forget_reads`].
    fn reads_before(&mut self) -> usize {
        self.track.as_mut().map_or(0, |track| track.pending())
    }

    /// Forgets the reads of a step that is done.
    fn forget_reads(&mut self, kept: usize) {
        if let Some(track) = &mut self.track {
            track.forget(kept);
        }
    }

    fn text(&mut self, at: At, start: u32, end: u32) {
        if let Some(track) = &mut self.track
            && let Some(place) = self.program.as_ref().and_then(|p| p.nodes.get(at as usize))
        {
            track.text(self.out.len(), place.span);
        }
        if let Some(program) = &self.program {
            let text = program.source.as_bytes().get(start as usize..end as usize);
            self.out.extend_from_slice(text.unwrap_or_default());
        }
    }

    fn write(&mut self, at: At, value: &Value) -> Run<()> {
        self.at = at;
        if let Some(track) = &mut self.track
            && let Some(place) = self.program.as_ref().and_then(|p| p.nodes.get(at as usize))
        {
            track.written(self.out.len(), place.span, value);
        }
        match value {
            Value::Str(text) => self.out.extend_from_slice(text),
            Value::Nil => self.out.extend_from_slice(NO_VALUE),
            Value::Object(object) => object.print_action(&mut self.out),
            Value::Bool(_)
            | Value::Int(_)
            | Value::Int64(_)
            | Value::Uint64(_)
            | Value::Byte(_)
            | Value::Float(_)
            | Value::Bytes(_)
            | Value::List(_)
            | Value::Dict(_) => print::write(&mut self.out, value),
        }
        if self.out.len() > MAX_OUTPUT {
            return self.fail("the output is larger than 256 MiB");
        }
        Ok(())
    }

    fn conditional(&mut self, arms: &[Arm], otherwise: &[Step], dot: &Ev, with: bool) -> Run<Flow> {
        for arm in arms {
            self.at = arm.at;
            let value = self.pipe(&arm.pipe, dot)?;
            if value.truth() {
                return if with { self.steps(&arm.body, &Ev::of(value)) } else { self.steps(&arm.body, dot) };
            }
        }
        self.steps(otherwise, dot)
    }

    fn range(&mut self, range: &Range, dot: &Ev) -> Run<Flow> {
        let value = self.pipe(&range.pipe, dot)?;
        let mut any = false;
        match &value {
            Value::List(list) => {
                let iface = list.elem == Elem::Any;
                for (index, item) in list.items.iter().enumerate() {
                    any = true;
                    if let Some(track) = &mut self.track {
                        track.read_item(list, index);
                    }
                    let item = Ev { value: item.clone(), iface };
                    if !self.turn(range, Ev::of(Value::Int(index as i64)), item)? {
                        break;
                    }
                }
            }
            Value::Dict(dict) => {
                let iface = dict.kind != DictKind::Strings;
                for (key, value) in dict.snapshot() {
                    any = true;
                    self.note_read(dict, &key);
                    if !self.turn(range, Ev::of(Value::Str(key)), Ev { value, iface })? {
                        break;
                    }
                }
            }
            Value::Bytes(bytes) => {
                for (index, byte) in bytes.iter().enumerate() {
                    any = true;
                    if !self.turn(range, Ev::of(Value::Int(index as i64)), Ev::of(Value::Byte(*byte)))? {
                        break;
                    }
                }
            }
            Value::Int(count) | Value::Int64(count) => {
                if range.pipe.slots.len() > 1 {
                    return self.fail(format!("can't use {count} to iterate over more than one variable"));
                }
                for n in 0..*count {
                    any = true;
                    let n = if matches!(value, Value::Int(_)) { Value::Int(n) } else { Value::Int64(n) };
                    if !self.turn(range, Ev::default(), Ev::of(n))? {
                        break;
                    }
                }
            }
            Value::Object(object) => {
                let Some(entries) = object.entries() else { return self.cannot_range(&value) };
                for (key, item) in entries {
                    any = true;
                    if !self.turn(range, Ev::of(key), Ev::of(item))? {
                        break;
                    }
                }
            }
            Value::Nil => {}
            Value::Bool(_) | Value::Uint64(_) | Value::Byte(_) | Value::Float(_) | Value::Str(_) => {
                return self.cannot_range(&value);
            }
        }
        if any {
            return Ok(Flow::Next);
        }
        self.steps(&range.otherwise, dot)
    }

    fn cannot_range<T>(&self, value: &Value) -> Run<T> {
        self.fail(format!("range can't iterate over {}", String::from_utf8_lossy(&print::text(value))))
    }

    /// Runs the body once; says whether to go on.
    fn turn(&mut self, range: &Range, key: Ev, item: Ev) -> Run<bool> {
        let reads = self.reads_before();
        match *range.pipe.slots.as_slice() {
            [] => {}
            [one] => self.set_slot(one, item.clone()),
            [first, second, ..] => {
                self.set_slot(first, key);
                self.set_slot(second, item.clone());
            }
        }
        if let (Some(track), Some(slot)) = (&mut self.track, range.pipe.slots.last()) {
            // the read of the item is the last one
            track.assign(self.base + usize::from(*slot), reads.saturating_sub(1));
        }
        let flow = self.steps(&range.body, &item)?;
        self.spend(1)?;
        if self.out.len() > MAX_OUTPUT {
            return self.fail("the output is larger than 256 MiB");
        }
        Ok(flow != Flow::Break)
    }

    fn spend(&mut self, steps: u64) -> Run<()> {
        self.budget.steps += steps;
        match self.budget.spent() {
            Some(what) => self.fail(what),
            None => Ok(()),
        }
    }

    fn set_slot(&mut self, slot: u16, value: Ev) {
        if let Some(to) = self.vars.get_mut(self.base + usize::from(slot)) {
            *to = value;
        }
    }

    fn call_template(&mut self, at: At, id: TemplateId, argument: Option<&Pipe>, dot: &Ev) -> Run<()> {
        self.at = at;
        let Some(program) = self.program_of(id) else {
            let name = self.interner.name(id);
            return self.fail(format!("template {name:?} not defined"));
        };
        if self.depth >= MAX_CALLS {
            return self.fail(format!("exceeded maximum template depth ({MAX_CALLS})"));
        }
        let data = match argument {
            Some(pipe) => Ev::of(self.pipe(pipe, dot)?),
            None => Ev::default(),
        };
        let caller = self.track.is_some().then(|| self.enter_call(at)).flatten();
        self.depth += 1;
        let result = self.invoke(&program, data);
        self.depth -= 1;
        if let (Some(track), Some(caller)) = (&mut self.track, caller) {
            track.set_caller(caller);
        }
        result
    }

    /// Makes the node at `at` the caller of what is written next; returns the caller before.
    fn enter_call(&mut self, at: At) -> Option<OriginId> {
        let span = self.program.as_ref()?.nodes.get(at as usize)?.span;
        self.track.as_mut().map(|t| t.enter_call(span))
    }

    // ---- pipelines

    fn pipe(&mut self, pipe: &Pipe, dot: &Ev) -> Run<Value> {
        self.at = pipe.at;
        if pipe.grows
            && self.track.is_none()
            && let Some(list) = self.grown(pipe, dot)?
        {
            return Ok(list);
        }
        let reads = self.reads_before();
        let mut commands = pipe.commands.iter();
        let mut value = match commands.next() {
            Some(command) => self.command(command, dot, None)?,
            None => Value::Nil,
        };
        for command in commands {
            value = self.command(command, dot, Some(value))?;
        }
        if let Some(name) = &pipe.undefined {
            return self.fail(format!("undefined variable: {name}"));
        }
        for slot in &pipe.slots {
            debug_assert!(*slot != NO_SLOT, "an undefined variable fails above");
            self.set_slot(*slot, Ev::of(value.clone()));
            if let Some(track) = &mut self.track {
                track.assign(self.base + usize::from(*slot), reads);
            }
        }
        Ok(value)
    }

    /// Runs `$list = append $list X` in place when nobody else holds the list; `None` when it must be copied.
    fn grown(&mut self, pipe: &Pipe, dot: &Ev) -> Run<Option<Value>> {
        let ([command], [slot]) = (pipe.commands.as_slice(), pipe.slots.as_slice()) else { return Ok(None) };
        let Some(item) = command.args.get(1) else { return Ok(None) };
        let index = self.base + usize::from(*slot);
        match self.vars.get(index).map(|v| &v.value) {
            Some(Value::List(list)) if Rc::strong_count(list) == 1 && list.elem == Elem::Any && !list.nil => {}
            _ => return Ok(None),
        }
        let item = self.argument(item, Param::Any, dot)?;
        self.budget.made += GROWN;
        self.spend(1)?;
        let Some(variable) = self.vars.get_mut(index) else { return Ok(None) };
        variable.iface = false;
        let Value::List(list) = &mut variable.value else { return Ok(None) };
        match Rc::get_mut(list) {
            Some(own) => own.items.push(item),
            // the element itself took hold of the list
            None => *list = Rc::new(List::new(list.items.iter().cloned().chain([item]).collect())),
        }
        Ok(Some(Value::List(list.clone())))
    }

    /// Evaluates a command; the result is taken out of its interface.
    fn command(&mut self, command: &Command, dot: &Ev, last: Option<Value>) -> Run<Value> {
        let first = &command.first;
        let last = last.map(Ev::of);
        let value = match &first.expr {
            Expr::Function(index) => {
                self.at = first.at;
                return self.call(*index, command.at, &command.args, last, dot);
            }
            Expr::Lazy(index, stop) => {
                self.at = first.at;
                return self.lazy(*index, *stop, &command.args, last, dot);
            }
            Expr::Field(names) => {
                self.at = first.at;
                self.chain(first.at, dot.clone(), names, &command.args, last, dot)?
            }
            Expr::Chain(base, names) => {
                self.at = first.at;
                let base = self.loose(base, dot)?;
                self.chain(first.at, base, names, &command.args, last, dot)?
            }
            Expr::Variable(slot, names) => {
                self.at = first.at;
                let value = self.variable(*slot);
                if names.is_empty() {
                    self.alone(command, last.as_ref())?;
                    value
                } else {
                    self.chain(first.at, value, names, &command.args, last, dot)?
                }
            }
            Expr::Undefined(name) => {
                self.at = first.at;
                return self.fail(format!("undefined variable: {name}"));
            }
            Expr::Paren(pipe) => {
                self.alone(command, last.as_ref())?;
                return self.nested(pipe, dot);
            }
            Expr::Dot => {
                self.at = first.at;
                self.alone(command, last.as_ref())?;
                dot.clone()
            }
            Expr::Nil => {
                self.at = first.at;
                self.alone(command, last.as_ref())?;
                return self.fail("nil is not a command");
            }
            Expr::Bool(_) | Expr::Number(_) | Expr::Str(..) => {
                self.at = first.at;
                self.alone(command, last.as_ref())?;
                return self.constant(first);
            }
        };
        Ok(value.value)
    }

    /// Evaluates a pipeline in parentheses.
    fn nested(&mut self, pipe: &Pipe, dot: &Ev) -> Run<Value> {
        if self.stack.reached() {
            return self.fail("expressions and templates are nested too deep");
        }
        self.pipe(pipe, dot)
    }

    fn alone(&self, command: &Command, last: Option<&Ev>) -> Run<()> {
        if command.args.is_empty() && last.is_none() {
            return Ok(());
        }
        let text = self.level(command.first.at, String::new()).map(|l| l.node).unwrap_or_default();
        self.fail(format!("can't give argument to non-function {text}"))
    }

    fn variable(&mut self, slot: u16) -> Ev {
        if let Some(track) = &mut self.track {
            track.recall(self.base + usize::from(slot));
        }
        self.vars.get(self.base + usize::from(slot)).cloned().unwrap_or_default()
    }

    fn constant(&mut self, node: &Node) -> Run<Value> {
        Ok(match &node.expr {
            Expr::Bool(b) => Value::Bool(*b),
            Expr::Number(number) => self.number(*number)?,
            Expr::Str(id, bytes) => Value::Str(self.shared(*id, bytes)),
            Expr::Dot
            | Expr::Nil
            | Expr::Field(_)
            | Expr::Variable(..)
            | Expr::Undefined(_)
            | Expr::Paren(_)
            | Expr::Chain(..)
            | Expr::Function(_)
            | Expr::Lazy(..) => Value::Nil,
        })
    }

    fn number(&self, number: Number) -> Run<Value> {
        if number.is_float
            && let Some(float) = number.float
        {
            return Ok(Value::Float(float));
        }
        if let Some(int) = number.int {
            return Ok(Value::Int(int));
        }
        let text = self.level(self.at, String::new()).map(|l| l.node).unwrap_or_default();
        self.fail(format!("{text} overflows int"))
    }

    fn shared(&mut self, id: u32, bytes: &[u8]) -> Str {
        let index = id as usize;
        if let Some(Some(text)) = self.constants.get(index) {
            return text.clone();
        }
        if index >= self.constants.len() {
            let all = self.interner.constants().max(index + 1);
            self.constants.resize(all, None);
        }
        let text = Str::from(bytes);
        if let Some(slot) = self.constants.get_mut(index) {
            *slot = Some(text.clone());
        }
        text
    }

    /// Evaluates an operand whose type nobody asks for.
    fn loose(&mut self, node: &Node, dot: &Ev) -> Run<Ev> {
        self.at = node.at;
        Ok(match &node.expr {
            Expr::Dot => dot.clone(),
            Expr::Field(names) => self.chain(node.at, dot.clone(), names, &[], None, dot)?,
            Expr::Variable(slot, names) => {
                let value = self.variable(*slot);
                if names.is_empty() { value } else { self.chain(node.at, value, names, &[], None, dot)? }
            }
            Expr::Undefined(name) => return self.fail(format!("undefined variable: {name}")),
            Expr::Paren(pipe) => Ev::of(self.nested(pipe, dot)?),
            Expr::Function(index) => Ev::of(self.call(*index, node.at, &[], None, dot)?),
            Expr::Lazy(index, stop) => Ev::of(self.lazy(*index, *stop, &[], None, dot)?),
            Expr::Chain(base, names) => {
                let base = self.loose(base, dot)?;
                self.chain(node.at, base, names, &[], None, dot)?
            }
            Expr::Nil => Ev::default(),
            Expr::Bool(_) | Expr::Number(_) | Expr::Str(..) => Ev::of(self.constant(node)?),
        })
    }

    // ---- fields

    fn chain(&mut self, at: At, base: Ev, names: &[FieldName], args: &[Node], last: Option<Ev>, dot: &Ev) -> Run<Ev> {
        let mut value = base;
        let Some((end, before)) = names.split_last() else { return Ok(value) };
        for name in before {
            value = self.field(at, value, name, &[], None, dot)?;
        }
        self.field(at, value, end, args, last, dot)
    }

    fn field(&mut self, at: At, from: Ev, name: &FieldName, args: &[Node], last: Option<Ev>, dot: &Ev) -> Run<Ev> {
        let key = name.text.as_bytes();
        match &from.value {
            Value::Dict(dict) => {
                if dict.kind.is_values()
                    && let Some(method) = super::values::values_method(key)
                {
                    let call = |_: &mut Self, args: &[Value]| super::values::call_values(dict, method, args);
                    return self.method(at, method, args, last, dot, call);
                }
                if !args.is_empty() || last.is_some() {
                    return self.fail(format!("{} is not a method but has arguments", name.text));
                }
                if self.track.is_some() {
                    self.note_read(dict, key);
                }
                let iface = dict.kind != DictKind::Strings;
                match dict.get_headed(name.head, key) {
                    Some(value) => Ok(Ev { value, iface }),
                    None => self.missing(iface, &name.text),
                }
            }
            Value::Nil if from.iface => self.fail(format!("nil pointer evaluating interface {{}}.{}", name.text)),
            Value::Nil => match self.set.options.missing {
                Missing::Error => self.fail(format!("nil data; no entry for key {:?}", name.text)),
                Missing::Zero | Missing::Invalid => Ok(Ev::default()),
            },
            Value::Object(object) => {
                if let Some(method) = object.method(key) {
                    let call = |ctx: &mut Self, args: &[Value]| object.call(ctx, method, args);
                    return self.method(at, method, args, last, dot, call);
                }
                self.object_field(&from, object, name, args.is_empty() && last.is_none())
            }
            Value::Bool(_)
            | Value::Int(_)
            | Value::Int64(_)
            | Value::Uint64(_)
            | Value::Byte(_)
            | Value::Float(_)
            | Value::Str(_)
            | Value::Bytes(_)
            | Value::List(_) => self.no_field(&from, &name.text),
        }
    }

    fn missing(&self, iface: bool, name: &str) -> Run<Ev> {
        match self.set.options.missing {
            Missing::Error => self.fail(format!("map has no entry for key {name:?}")),
            Missing::Zero if iface => Ok(Ev { value: Value::Nil, iface: true }),
            Missing::Zero => Ok(Ev::of(Value::str(""))),
            Missing::Invalid => Ok(Ev::default()),
        }
    }

    fn no_field<T>(&self, from: &Ev, name: &str) -> Run<T> {
        self.fail(format!("can't evaluate field {name} in type {}", from.type_name()))
    }

    fn object_field(&self, from: &Ev, object: &ObjectRef, name: &FieldName, alone: bool) -> Run<Ev> {
        let Some(value) = object.field(name.text.as_bytes()) else { return self.no_field(from, &name.text) };
        let value = match &self.track {
            Some(track) => track.field(object, value),
            None => value,
        };
        if !alone {
            let what = if object.kind() == "map" { "is not a method but has" } else { "has" };
            let why = if object.kind() == "map" { "" } else { " but cannot be invoked as function" };
            return self.fail(format!("{} {what} arguments{why}", name.text));
        }
        Ok(Ev::of(value))
    }

    fn method(
        &mut self,
        at: At,
        method: &'static Method,
        args: &[Node],
        last: Option<Ev>,
        dot: &Ev,
        call: impl FnOnce(&mut Self, &[Value]) -> Result<Value, FuncError>,
    ) -> Run<Ev> {
        let mut values = self.pool.pop().unwrap_or_default();
        self.arguments(method.name, method.params, method.rest, args, last, dot, &mut values)?;
        let before = std::mem::replace(&mut self.at, at);
        let result = call(self, &values);
        self.at = before;
        values.clear();
        self.pool.push(values);
        match result {
            Ok(value) => Ok(Ev::of(value)),
            Err(error) => Err(self.called(at, method.name, error)),
        }
    }

    // ---- calls

    fn lazy(&mut self, index: u16, stop: bool, args: &[Node], last: Option<Ev>, dot: &Ev) -> Run<Value> {
        let count = args.len() + usize::from(last.is_some());
        if count == 0 {
            let name = self.set.options.functions.get(index).map_or("", |f| f.name);
            return self.fail(format!("wrong number of args for {name}: want at least 1 got 0"));
        }
        let mut value = Value::Nil;
        for arg in args {
            value = self.argument(arg, Param::Reflect, dot)?;
            if value.truth() == stop {
                return Ok(value);
            }
        }
        Ok(last.map_or(value, |last| last.value))
    }

    fn call(&mut self, index: u16, at: At, args: &[Node], last: Option<Ev>, dot: &Ev) -> Run<Value> {
        let Some(function) = self.set.options.functions.get(index) else {
            return self.fail("function not defined");
        };
        let mut values = self.pool.pop().unwrap_or_default();
        self.nil_arguments = 0;
        self.arguments(function.name, function.params, function.rest, args, last, dot, &mut values)?;
        let size: usize = values.iter().map(|v| if let Value::Str(s) = v { s.len() } else { 0 }).sum();
        if size > MAX_OUTPUT {
            return self.fail("the arguments are larger than 256 MiB");
        }
        let result = if self.track.is_some() {
            self.tracked_call(function, at, &values)
        } else {
            (function.call)(self, &values)
        };
        if let Ok(made) = &result {
            self.budget.made += made_by(function, &values, made);
        }
        values.clear();
        self.pool.push(values);
        self.spend(1 + size as u64 / 256)?;
        match result {
            Ok(Value::Str(text)) if text.len() > MAX_OUTPUT => {
                let error = FuncError::new("the result is larger than 256 MiB");
                Err(self.called(at, function.name, error))
            }
            Ok(value) => Ok(value),
            Err(error) => Err(self.called(at, function.name, error)),
        }
    }

    /// Calls a function; what it makes keeps the origins of what it was made of.
    fn tracked_call(&mut self, function: &Function, at: At, values: &[Value]) -> Result<Value, FuncError> {
        let caller = self.enter_call(at);
        let result = (function.call)(self, values);
        if let (Some(track), Some(caller)) = (&mut self.track, caller) {
            track.set_caller(caller);
        }
        let span = self.program.as_ref().and_then(|p| p.nodes.get(at as usize)).map(|place| place.span);
        match (&mut self.track, span) {
            (Some(track), Some(span)) => Ok(track.derive(function, span, values, result?)),
            _ => result,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a signature and of a call")]
    fn arguments(
        &mut self,
        name: &str,
        params: &[Param],
        rest: Option<Param>,
        args: &[Node],
        last: Option<Ev>,
        dot: &Ev,
        values: &mut Vec<Value>,
    ) -> Run<()> {
        let count = args.len() + usize::from(last.is_some());
        if count < params.len() || (rest.is_none() && count > params.len()) {
            let (least, got) = if rest.is_some() { ("at least ", args.len()) } else { ("", count) };
            return self.fail(format!("wrong number of args for {name}: want {least}{} got {got}", params.len()));
        }
        let param = |index: usize| params.get(index).copied().or(rest).unwrap_or(Param::Any);
        let mut nils = 0u64;
        for (index, arg) in args.iter().enumerate() {
            self.nil_arguments = 0;
            let value = self.argument(arg, param(index), dot)?;
            if self.nil_arguments != 0 && matches!(value, Value::Nil) && index < 64 {
                nils |= 1 << index;
            }
            values.push(value);
        }
        self.nil_arguments = nils;
        if let Some(last) = last {
            values.push(self.validate(last, param(args.len()))?);
        }
        Ok(())
    }

    fn argument(&mut self, node: &Node, param: Param, dot: &Ev) -> Run<Value> {
        self.at = node.at;
        match &node.expr {
            Expr::Bool(_) | Expr::Number(_) | Expr::Str(..) => self.literal(node, param),
            Expr::Nil => self.nil_literal(param),
            Expr::Dot
            | Expr::Field(_)
            | Expr::Variable(..)
            | Expr::Undefined(_)
            | Expr::Paren(_)
            | Expr::Chain(..)
            | Expr::Function(_)
            | Expr::Lazy(..) => {
                let value = self.loose(node, dot)?;
                let is_nil = value.iface && matches!(value.value, Value::Nil);
                let checked = self.validate(value, param)?;
                self.nil_arguments = u64::from(is_nil);
                Ok(checked)
            }
        }
    }

    fn nil_literal(&self, param: Param) -> Run<Value> {
        match param {
            Param::Any | Param::Reflect => Ok(Value::Nil),
            Param::Map => Ok(Value::Dict(std::rc::Rc::new(Dict::nil()))),
            Param::List | Param::Strings => Ok(Value::nil_list()),
            Param::Object(name) if name.starts_with('*') => Ok(Value::Nil),
            Param::Str | Param::Int | Param::Int64 | Param::Float | Param::Bool | Param::Object(_) => {
                self.fail(format!("cannot assign nil to {}", param.type_name()))
            }
        }
    }

    fn literal(&mut self, node: &Node, param: Param) -> Run<Value> {
        let value = match (param, &node.expr) {
            (Param::Any | Param::Reflect, _) => return self.constant(node),
            (Param::Str, Expr::Str(..)) | (Param::Bool, Expr::Bool(_)) => return self.constant(node),
            (Param::Int, Expr::Number(n)) => n.int.map(Value::Int),
            (Param::Int64, Expr::Number(n)) => n.int.map(Value::Int64),
            (Param::Float, Expr::Number(n)) => n.float.map(Value::Float),
            _ => None,
        };
        if let Some(value) = value {
            return Ok(value);
        }
        let text = self.level(node.at, String::new()).map(|l| l.node).unwrap_or_default();
        let kind = match param {
            Param::Str => "string",
            Param::Bool => "bool",
            Param::Int | Param::Int64 => "integer",
            Param::Float => "float",
            Param::Any | Param::Reflect | Param::Map | Param::List | Param::Strings | Param::Object(_) => {
                return self.fail(format!("can't handle {text} for arg of type {}", param.type_name()));
            }
        };
        self.fail(format!("expected {kind}; found {text}"))
    }

    fn validate(&self, value: Ev, param: Param) -> Run<Value> {
        let fits = match (param, &value.value) {
            (Param::Any | Param::Reflect, _)
            | (Param::Str, Value::Str(_))
            | (Param::Int, Value::Int(_))
            | (Param::Int64, Value::Int64(_))
            | (Param::Float, Value::Float(_))
            | (Param::Bool, Value::Bool(_)) => true,
            (Param::Map, Value::Dict(dict)) => {
                matches!(dict.kind, DictKind::Any | DictKind::Values | DictKind::Values4)
            }
            (Param::List, Value::List(list)) => list.elem == Elem::Any,
            (Param::Strings, Value::List(list)) => list.elem == Elem::Str,
            (Param::Object(name), Value::Object(object)) => object.type_name() == name,
            (Param::Map | Param::List | Param::Strings, Value::Nil) if !value.iface => return self.nil_literal(param),
            (Param::Object(name), Value::Nil) if !value.iface && name.starts_with('*') => true,
            _ => false,
        };
        if fits {
            return Ok(value.value);
        }
        let expected = param.type_name();
        if matches!(value.value, Value::Nil) && !value.iface {
            return self.fail(format!("invalid value; expected {expected}"));
        }
        let got = match value.value {
            Value::Nil => "interface {}".into(),
            other => other.type_name(),
        };
        self.fail(format!("wrong type for value; expected {expected}; got {got}"))
    }
}

/// Returns the offset of the first occurrence.
pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let (first, rest) = part.split_first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|t| t.iter().position(|b| b == first)) {
        let start = from + at;
        if text.get(start + 1..).is_some_and(|t| t.starts_with(rest)) {
            return Some(start);
        }
        from = start + 1;
    }
    None
}

/// Deletes every `<no value>`.
fn erase_no_value(text: &mut Vec<u8>, origins: Option<&mut Origins>) {
    let Some(mut at) = find(text, NO_VALUE) else { return };
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    let mut cuts = Vec::new();
    loop {
        out.extend_from_slice(text.get(from..at).unwrap_or_default());
        cuts.push(at);
        from = at + NO_VALUE.len();
        match text.get(from..).and_then(|t| find(t, NO_VALUE)) {
            Some(next) => at = from + next,
            None => break,
        }
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    *text = out;
    if let Some(origins) = origins {
        origins.cut(&cuts, NO_VALUE.len());
    }
}

#[cfg(test)]
mod tests {
    use super::erase_no_value;

    #[test]
    fn no_value_is_erased_wherever_it_stands() {
        let mut text = b"<a<no value>b<no value><no value>".to_vec();
        erase_no_value(&mut text, None);
        assert_eq!(text, b"<ab");
    }
}
