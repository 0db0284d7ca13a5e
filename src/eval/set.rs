//! A set of compiled templates that know each other by name.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::error::{RenderError, instead_of};
use super::function::FunctionSet;
use super::program::{Interner, Program, TemplateId, lower};
use super::run::{Ctx, RenderEnv, Rendered};
use super::value::Value;
use crate::diag::Diagnostics;
use crate::source::{FileId, Sources};
use crate::syntax::gotemplate::{Delims, Functions, Options, Template, parse};

/// What a missing key of a map gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Null, whose fields cannot be asked for: Helm (`missingkey=zero`).
    Zero,
    /// Nothing, whose fields are nothing again: werf.yaml (`missingkey=default`).
    Invalid,
    /// An error (`missingkey=error`).
    Error,
}

/// How the templates of a set behave.
#[derive(Clone, Debug)]
pub struct SetOptions {
    /// The functions they may call.
    pub functions: Arc<FunctionSet>,
    /// The marks of actions.
    pub delims: Delims<'static>,
    /// What a missing key gives.
    pub missing: Missing,
    /// Whether `<no value>` is deleted from each rendered file and `tpl` result, as Helm does.
    pub erase_no_value: bool,
    /// How often an `include` of one name may nest in itself.
    pub include_depth: u32,
    /// Whether definitions of a `tpl` text stay visible after it, as in werf.yaml.
    pub tpl_defines_stay: bool,
}

impl SetOptions {
    /// Returns the behaviour of Helm charts.
    pub fn helm() -> Self {
        Self {
            functions: FunctionSet::helm(),
            delims: Delims::default(),
            missing: Missing::Zero,
            erase_no_value: true,
            include_depth: 1000,
            tpl_defines_stay: false,
        }
    }
}

impl Functions for FunctionSet {
    fn index(&self, name: &str) -> Option<u16> {
        FunctionSet::index(self, name)
    }

    fn elsewhere(&self, name: &str) -> Option<&'static str> {
        instead_of(name)
    }

    fn names(&self) -> Vec<&str> {
        self.iter().map(|f| f.name).collect()
    }
}

/// From how much text on parsing gains more from another thread than its start costs. Unit: bytes.
const WORTH_THREADS: usize = 256 << 10;

/// Compiled templates; shared between threads and rendered any number of times.
#[derive(Clone, Debug)]
pub struct TemplateSet {
    pub(super) options: SetOptions,
    pub(super) interner: Arc<Interner>,
    programs: FxHashMap<TemplateId, Arc<Program>>,
}

impl TemplateSet {
    /// Returns an empty set.
    pub fn new(options: SetOptions) -> Self {
        Self { options, interner: Arc::default(), programs: FxHashMap::default() }
    }

    /// Parses a registered text and adds it; faults go to `diagnostics`.
    pub fn parse(&mut self, diagnostics: &mut Diagnostics, sources: &Sources, name: &str, file: FileId) -> Template {
        let options = Options { delims: self.options.delims, functions: &*self.options.functions };
        let template = parse(diagnostics, sources, file, options);
        self.add(name, &template);
        template
    }

    /// Parses registered texts, many on all cores, and adds them in their order; faults go to `diagnostics`.
    pub fn parse_all(&mut self, diagnostics: &mut Diagnostics, sources: &Sources, texts: &[(&str, FileId)]) {
        let options = Options { delims: self.options.delims, functions: &*self.options.functions };
        let interner = Mutex::new(Arc::make_mut(&mut self.interner));
        let compile = |(name, file): &(&str, FileId)| {
            let mut found = Diagnostics::new();
            let template = parse(&mut found, sources, *file, options);
            let mut interner = interner.lock().unwrap_or_else(PoisonError::into_inner);
            (found, lower(&template, &Arc::from(*name), &self.options.functions, &mut interner))
        };
        let bytes: usize = texts.iter().map(|(_, file)| sources.get(*file).text().len()).sum();
        let compiled: Vec<_> = if bytes < WORTH_THREADS {
            texts.iter().map(compile).collect()
        } else {
            texts.par_iter().map(compile).collect()
        };
        for (found, programs) in compiled {
            diagnostics.extend(found);
            self.insert(programs);
        }
    }

    /// Adds a parsed text under a name, and its definitions. A template replaces an earlier one of the same name
    /// unless it is blank.
    pub fn add(&mut self, name: &str, template: &Template) {
        let interner = Arc::make_mut(&mut self.interner);
        let programs = lower(template, &Arc::from(name), &self.options.functions, interner);
        self.insert(programs);
    }

    fn insert(&mut self, programs: Vec<Program>) {
        let interner = Arc::make_mut(&mut self.interner);
        for program in programs {
            let id = interner.template(&program.name);
            if program.blank && self.programs.contains_key(&id) {
                continue;
            }
            self.programs.insert(id, Arc::new(program));
        }
    }

    /// Says whether its templates may call just these functions.
    pub fn calls(&self, functions: &Arc<FunctionSet>) -> bool {
        Arc::ptr_eq(&self.options.functions, functions)
    }

    /// Returns a template by its name.
    pub fn get(&self, name: &str) -> Option<&Arc<Program>> {
        self.programs.get(&self.interner.find(name)?)
    }

    pub(super) fn by_id(&self, id: TemplateId) -> Option<&Arc<Program>> {
        self.programs.get(&id)
    }

    /// Starts a session that renders templates over values of one thread.
    pub fn session<'r>(&'r self, env: RenderEnv<'r>) -> Ctx<'r> {
        Ctx::new(self, env)
    }

    /// Renders one template.
    pub fn render(&self, name: &str, data: Value, env: RenderEnv<'_>) -> Result<Rendered, RenderError> {
        self.session(env).render(name, data)
    }
}
