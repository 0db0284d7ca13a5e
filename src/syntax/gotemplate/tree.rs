//! The tree of a Go template: what was written, with places.

use std::sync::Arc;

use crate::source::{FileId, Span};

/// One parsed text: its own body and the templates it defines.
#[derive(Clone, Debug)]
pub struct Template {
    /// The text.
    pub file: FileId,
    /// Its bytes; spans point into it.
    pub source: Arc<str>,
    /// What stands outside of definitions.
    pub body: Vec<Node>,
    /// The definitions (`define`, `block`), in the order their `end`s stand.
    pub defines: Vec<Define>,
    /// The comments.
    pub comments: Vec<Span>,
}

/// A named template.
#[derive(Clone, Debug)]
pub struct Define {
    /// Its name.
    pub name: Arc<str>,
    /// The string that says it, with its quotes.
    pub name_span: Span,
    /// From the opening action to the closing one.
    pub span: Span,
    /// Its body.
    pub body: Vec<Node>,
}

/// A piece of a template.
#[derive(Clone, Debug)]
pub enum Node {
    /// Literal text, trimmed.
    Text(Span),
    /// A pipeline whose value is written, or that declares variables.
    Action(Pipe),
    /// `if`
    If(Branch),
    /// `with`
    With(Branch),
    /// `range`
    Range(Branch),
    /// `template`, also what a `block` leaves in its place.
    Call(Call),
    /// `break`
    Break(Span),
    /// `continue`
    Continue(Span),
}

/// `if`, `with` or `range` with their alternatives.
#[derive(Clone, Debug)]
pub struct Branch {
    /// From the opening action to the closing one.
    pub span: Span,
    /// The arm and its `else if` (`else with`) arms; at least one.
    pub arms: Vec<Arm>,
    /// The body of `else`.
    pub otherwise: Option<Vec<Node>>,
}

/// A condition and what it guards.
#[derive(Clone, Debug)]
pub struct Arm {
    /// The condition; without commands when it could not be parsed.
    pub pipe: Pipe,
    /// The body.
    pub body: Vec<Node>,
}

/// `{{template "name" pipe}}`.
#[derive(Clone, Debug)]
pub struct Call {
    /// The action.
    pub span: Span,
    /// The name.
    pub name: Arc<str>,
    /// The string that says it.
    pub name_span: Span,
    /// The new dot.
    pub argument: Option<Pipe>,
}

/// Commands joined by `|`, perhaps with a declaration in front.
#[derive(Clone, Debug)]
pub struct Pipe {
    /// From the first to the last token.
    pub span: Span,
    /// The variables that get the value (the key and the value in `range`).
    pub variables: Vec<Name>,
    /// Whether they are assigned (`=`) and not declared (`:=`).
    pub assigns: bool,
    /// The commands; empty only after a fault.
    pub commands: Vec<Command>,
}

/// Operands in a row.
#[derive(Clone, Debug)]
pub struct Command {
    /// From the first to the last operand.
    pub span: Span,
    /// The operands; empty only after a fault.
    pub operands: Vec<Operand>,
}

/// A name and its place.
#[derive(Clone, Debug)]
pub struct Name {
    /// The place; of a field with its dot, of a variable with its `$`.
    pub span: Span,
    /// The name; of a field without the dot, of a variable with `$`.
    pub text: Arc<str>,
}

/// One operand.
#[derive(Clone, Debug)]
pub struct Operand {
    /// The place.
    pub span: Span,
    /// What it is.
    pub kind: OperandKind,
}

/// What an operand is.
#[derive(Clone, Debug)]
pub enum OperandKind {
    /// A function; its index is what the caller's table answered.
    Function(Name, u16),
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// A number or a character.
    Number(Number),
    /// A string, unquoted.
    Str(Arc<[u8]>),
    /// `.a.b`: at least one name.
    Field(Vec<Name>),
    /// `$x.a.b`
    Variable(Name, Vec<Name>),
    /// `(pipe)`
    Paren(Box<Pipe>),
    /// `(pipe).a.b` or `function.a`: at least one name.
    Chain(Box<Operand>, Vec<Name>),
}

/// A number as Go understands it: all the types that can hold it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// Its value as a signed integer.
    pub int: Option<i64>,
    /// Its value as an unsigned integer.
    pub uint: Option<u64>,
    /// Its value as a float.
    pub float: Option<f64>,
    /// Whether it is a float where nothing else is asked for.
    pub is_float: bool,
}

impl Operand {
    /// Returns the place that Go names for it: of a chain its second component.
    pub fn position(&self) -> Span {
        match &self.kind {
            OperandKind::Field(names) => names.get(1).or(names.first()).map_or(self.span, |n| n.span),
            OperandKind::Variable(_, names) | OperandKind::Chain(_, names) => {
                names.first().map_or(self.span, |n| n.span)
            }
            OperandKind::Paren(pipe) => pipe.span,
            OperandKind::Function(..)
            | OperandKind::Dot
            | OperandKind::Nil
            | OperandKind::Bool(_)
            | OperandKind::Number(_)
            | OperandKind::Str(_) => self.span,
        }
    }
}
