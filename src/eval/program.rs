//! Compiled templates: trees lowered to what the evaluator walks.
//!
//! What lives here: [`Program`] and the lowering of a parsed template. What does not: running (`run`).
//!
//! The one idea: names are resolved once. Variables are slots of a frame, functions and templates are indices,
//! constant strings have ids under which a rendering keeps its shared copies.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::function::{Family, FunctionSet};
use super::value::head;
use crate::source::{FileId, Span};
use crate::syntax::gotemplate as syntax;
use crate::syntax::gotemplate::{Number, OperandKind, Template, is_blank};

/// One compiled template: a whole text or a definition.
#[derive(Debug)]
pub struct Program {
    /// Its name: the path of a file or the name of a `define`.
    pub name: Arc<str>,
    /// The text it stands in.
    pub file: FileId,
    /// The bytes of that text.
    pub source: Arc<str>,
    /// What it does.
    pub body: Vec<Step>,
    /// The number of variable slots; slot 0 is `$`.
    pub slots: usize,
    /// The nodes that errors and origins name.
    pub nodes: Vec<NodePlace>,
    /// Whether it writes nothing: it never replaces another one.
    pub blank: bool,
}

/// The place of a node.
#[derive(Clone, Copy, Debug)]
pub struct NodePlace {
    /// The offset that Go tells.
    pub position: u32,
    /// The text of the node.
    pub span: Span,
    /// Whether it is the name and argument of a `template` action, which prints as a whole.
    pub is_call: bool,
}

/// Index of a [`NodePlace`].
pub type At = u32;

/// A slot that no declaration gives.
pub const NO_SLOT: u16 = u16::MAX;

/// A piece of a program.
#[derive(Debug)]
pub enum Step {
    /// Writes literal text.
    Text(At, u32, u32),
    /// Evaluates and, unless it declares, writes.
    Output(At, Pipe),
    /// `if`
    If(Vec<Arm>, Vec<Step>),
    /// `with`
    With(Vec<Arm>, Vec<Step>),
    /// `range`
    Range(At, Box<Range>),
    /// `template`
    Call(At, TemplateId, Option<Pipe>),
    /// `break`
    Break,
    /// `continue`
    Continue,
}

/// A condition and what it guards.
#[derive(Debug)]
pub struct Arm {
    /// The action.
    pub at: At,
    /// The condition.
    pub pipe: Pipe,
    /// What is done when it holds.
    pub body: Vec<Step>,
}

/// A loop.
#[derive(Debug)]
pub struct Range {
    /// What is ranged over.
    pub pipe: Pipe,
    /// The body.
    pub body: Vec<Step>,
    /// What is done when there is nothing.
    pub otherwise: Vec<Step>,
}

/// Index of the name of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TemplateId(pub u32);

/// Commands; each gets the value of the one before as its last argument.
#[derive(Debug)]
pub struct Pipe {
    /// The place.
    pub at: At,
    /// The commands; at least one.
    pub commands: Vec<Command>,
    /// The slots that get the value.
    pub slots: Vec<u16>,
    /// Whether the slots are assigned and not declared.
    pub assigns: bool,
    /// The name of an assigned variable that nothing declares.
    pub undefined: Option<Arc<str>>,
    /// Whether it is `$list = append $list X`, which need not copy the list.
    pub grows: bool,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// The place.
    pub at: At,
    /// What is called or stands alone.
    pub first: Node,
    /// The arguments.
    pub args: Vec<Node>,
}

/// An operand.
#[derive(Debug)]
pub struct Node {
    /// The place.
    pub at: At,
    /// What it is.
    pub expr: Expr,
}

/// What an operand is.
#[derive(Debug)]
pub enum Expr {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string and the id of its shared copy.
    Str(u32, Arc<[u8]>),
    /// `.a.b`
    Field(Vec<FieldName>),
    /// `$x.a.b`
    Variable(u16, Vec<FieldName>),
    /// A variable that nothing declares.
    Undefined(Arc<str>),
    /// `(…)`
    Paren(Box<Pipe>),
    /// `(…).a.b`
    Chain(Box<Node>, Vec<FieldName>),
    /// A function.
    Function(u16),
    /// The built-in `and` (false) and `or` (true), which stop early.
    Lazy(u16, bool),
}

/// A field that is asked for.
#[derive(Debug)]
pub struct FieldName {
    /// Its name.
    pub text: Arc<str>,
    /// The first bytes of the name as [`head`] gives them.
    pub head: u64,
}

/// Gives ids to names of templates and to constant strings.
#[derive(Clone, Debug, Default)]
pub struct Interner {
    base: Option<Arc<Interner>>,
    templates: FxHashMap<Arc<str>, TemplateId>,
    names: Vec<Arc<str>>,
    first_template: u32,
    constants: u32,
}

impl Interner {
    /// Returns an interner that goes on where another one stopped.
    pub fn over(base: Arc<Self>) -> Self {
        let first_template = base.templates();
        let constants = base.constants;
        Self { base: Some(base), first_template, constants, ..Self::default() }
    }

    /// Returns the number of names.
    pub fn templates(&self) -> u32 {
        self.first_template + u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    /// Returns the id of a name that is known.
    pub fn find(&self, name: &str) -> Option<TemplateId> {
        let inherited = || self.base.as_ref().and_then(|b| b.find(name));
        self.templates.get(name).copied().or_else(inherited)
    }

    /// Returns the id of a name.
    pub fn template(&mut self, name: &Arc<str>) -> TemplateId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = TemplateId(self.templates());
        self.templates.insert(name.clone(), id);
        self.names.push(name.clone());
        id
    }

    /// Returns the name of an id.
    pub fn name(&self, id: TemplateId) -> Arc<str> {
        match (&self.base, id.0.checked_sub(self.first_template)) {
            (Some(base), None) => base.name(id),
            (_, index) => self.names.get(index.unwrap_or(0) as usize).cloned().unwrap_or_default(),
        }
    }

    /// Returns the number of constants.
    pub fn constants(&self) -> usize {
        self.constants as usize
    }

    fn constant(&mut self) -> u32 {
        self.constants += 1;
        self.constants - 1
    }
}

/// Lowers a parsed text: its definitions, then its own body under `name`.
///
/// Of definitions of one name the last one that is not blank counts.
pub fn lower(template: &Template, name: &Arc<str>, functions: &FunctionSet, interner: &mut Interner) -> Vec<Program> {
    let mut programs: Vec<Program> = Vec::new();
    let bodies = template.defines.iter().map(|d| (&d.name, &d.body)).chain([(name, &template.body)]);
    for (name, body) in bodies {
        let program = lower_body(template, name, body, functions, interner);
        let old = programs.iter_mut().find(|p| p.name == *name);
        match old {
            Some(old) if program.blank && !old.blank => {}
            Some(old) => *old = program,
            None => programs.push(program),
        }
    }
    programs
}

fn lower_body(
    template: &Template,
    name: &Arc<str>,
    body: &[syntax::Node],
    functions: &FunctionSet,
    interner: &mut Interner,
) -> Program {
    let blank = is_blank(body, &template.source);
    let mut lowering = Lowering { functions, interner, scope: Vec::new(), slots: 0, nodes: Vec::new() };
    lowering.declare("$");
    let body = lowering.steps(body);
    let (slots, nodes) = (lowering.slots, lowering.nodes);
    Program { name: name.clone(), file: template.file, source: template.source.clone(), body, slots, nodes, blank }
}

struct Lowering<'l> {
    functions: &'l FunctionSet,
    interner: &'l mut Interner,
    /// The variables in sight and their slots.
    scope: Vec<(String, u16)>,
    slots: usize,
    nodes: Vec<NodePlace>,
}

impl Lowering<'_> {
    fn declare(&mut self, name: &str) -> u16 {
        // Slots are as many as the deepest scope has variables; a frame of 65534 is out of any reach of a parser
        // that refuses deep nesting, but a long text may declare more: the rest share the last slot.
        let slot = u16::try_from(self.scope.len()).unwrap_or(NO_SLOT - 1).min(NO_SLOT - 1);
        self.scope.push((name.to_owned(), slot));
        self.slots = self.slots.max(usize::from(slot) + 1);
        slot
    }

    fn slot(&self, name: &str) -> Option<u16> {
        self.scope.iter().rev().find(|(n, _)| n == name).map(|(_, slot)| *slot)
    }

    fn place(&mut self, span: Span, position: u32) -> At {
        self.nodes.push(NodePlace { position, span, is_call: false });
        u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
    }

    fn steps(&mut self, nodes: &[syntax::Node]) -> Vec<Step> {
        nodes.iter().map(|node| self.step(node)).collect()
    }

    fn step(&mut self, node: &syntax::Node) -> Step {
        match node {
            syntax::Node::Text(span) => Step::Text(self.place(*span, span.start), span.start, span.end),
            syntax::Node::Action(pipe) => {
                let at = self.place(pipe.span, pipe.span.start);
                Step::Output(at, self.pipe(pipe))
            }
            syntax::Node::If(branch) => {
                let (arms, otherwise) = self.branch(branch);
                Step::If(arms, otherwise)
            }
            syntax::Node::With(branch) => {
                let (arms, otherwise) = self.branch(branch);
                Step::With(arms, otherwise)
            }
            syntax::Node::Range(branch) => {
                let at = self.place(branch.span, branch.span.start);
                let (arms, otherwise) = self.branch(branch);
                let arm = arms.into_iter().next().expect("a branch has an arm");
                Step::Range(at, Box::new(Range { pipe: arm.pipe, body: arm.body, otherwise }))
            }
            syntax::Node::Call(call) => {
                let end = call.argument.as_ref().map_or(call.name_span, |a| a.span);
                let at = self.place(call.name_span.to(end), call.name_span.start);
                if let Some(place) = self.nodes.last_mut() {
                    place.is_call = true;
                }
                let id = self.interner.template(&call.name);
                Step::Call(at, id, call.argument.as_ref().map(|p| self.pipe(p)))
            }
            syntax::Node::Break(_) => Step::Break,
            syntax::Node::Continue(_) => Step::Continue,
        }
    }

    fn branch(&mut self, branch: &syntax::Branch) -> (Vec<Arm>, Vec<Step>) {
        let kept = self.scope.len();
        let mut arms = Vec::new();
        for arm in &branch.arms {
            let at = self.place(arm.pipe.span, arm.pipe.span.start);
            let pipe = self.pipe(&arm.pipe);
            let inner = self.scope.len();
            let body = self.steps(&arm.body);
            self.scope.truncate(inner);
            arms.push(Arm { at, pipe, body });
        }
        let otherwise = branch.otherwise.as_deref().map(|nodes| self.steps(nodes)).unwrap_or_default();
        self.scope.truncate(kept);
        (arms, otherwise)
    }

    fn pipe(&mut self, pipe: &syntax::Pipe) -> Pipe {
        let at = self.place(pipe.span, pipe.span.start);
        let commands: Vec<Command> = pipe.commands.iter().map(|c| self.command(c)).collect();
        let mut undefined = None;
        let mut slots = Vec::new();
        for variable in &pipe.variables {
            if pipe.assigns {
                let slot = self.slot(&variable.text);
                if slot.is_none() {
                    undefined = Some(variable.text.clone());
                }
                slots.push(slot.unwrap_or(NO_SLOT));
            } else {
                slots.push(self.declare(&variable.text));
            }
        }
        let grows = pipe.assigns && self.grows(&commands, &slots);
        Pipe { at, commands, slots, assigns: pipe.assigns, undefined, grows }
    }

    fn grows(&self, commands: &[Command], slots: &[u16]) -> bool {
        let ([command], [slot]) = (commands, slots) else { return false };
        let (Expr::Function(index), [list, _]) = (&command.first.expr, command.args.as_slice()) else { return false };
        let name = self.functions.get(*index).map(|f| f.name);
        let appends = name.is_some_and(|name| ["append", "mustAppend", "push", "mustPush"].contains(&name));
        appends && matches!(&list.expr, Expr::Variable(from, names) if from == slot && names.is_empty())
    }

    fn command(&mut self, command: &syntax::Command) -> Command {
        let at = self.place(command.span, command.span.start);
        let mut operands = command.operands.iter().map(|o| self.operand(o));
        let first = operands.next().expect("a command has an operand");
        Command { at, first, args: operands.collect() }
    }

    fn names(names: &[syntax::Name]) -> Vec<FieldName> {
        names.iter().map(|n| FieldName { head: head(n.text.as_bytes()), text: n.text.clone() }).collect()
    }

    fn operand(&mut self, operand: &syntax::Operand) -> Node {
        let at = self.place(operand.span, operand.position().start);
        let expr = match &operand.kind {
            OperandKind::Function(_, index) => self.function(*index),
            OperandKind::Dot => Expr::Dot,
            OperandKind::Nil => Expr::Nil,
            OperandKind::Bool(b) => Expr::Bool(*b),
            OperandKind::Number(number) => Expr::Number(*number),
            OperandKind::Str(bytes) => Expr::Str(self.interner.constant(), bytes.clone()),
            OperandKind::Field(names) => Expr::Field(Self::names(names)),
            OperandKind::Variable(name, names) => match self.slot(&name.text) {
                Some(slot) => Expr::Variable(slot, Self::names(names)),
                None => Expr::Undefined(name.text.clone()),
            },
            OperandKind::Paren(pipe) => {
                let pipe = self.pipe(pipe);
                // A parenthesis is its pipeline, also in messages.
                return Node { at: pipe.at, expr: Expr::Paren(Box::new(pipe)) };
            }
            OperandKind::Chain(base, names) => Expr::Chain(Box::new(self.operand(base)), Self::names(names)),
        };
        Node { at, expr }
    }

    fn function(&self, index: u16) -> Expr {
        let function = self.functions.get(index);
        match function.map(|f| (f.family, f.name)) {
            Some((Family::Builtin, "and")) => Expr::Lazy(index, false),
            Some((Family::Builtin, "or")) => Expr::Lazy(index, true),
            _ => Expr::Function(index),
        }
    }
}
