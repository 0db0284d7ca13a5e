//! Dockerfiles: text in, tree and diagnostics out; never a failure, never a panic.
//!
//! What lives here: the parser ([`parse`]), the tree, the expansion of variables ([`expand`]) and the
//! stages that a target needs ([`reachable`]). What does not: what a stage costs or contains (`signature`).
//!
//! The one idea: an instruction is first put on one *logical line* (continuations joined, comments gone) that
//! knows where each byte came from; everything after that cuts ranges out of the logical line.
//! Source: the Dockerfile reference and its behaviour in BuildKit.

mod expansion;
mod flags;
mod heredoc;
mod lines;
mod parser;
mod stages;
mod tree;
mod words;

#[cfg(test)]
mod tests;

pub use expansion::{
    ExpandError, Expanded, Scope, escaped, expand, expand_deferring, expand_words, is_predefined_arg, platform_args,
};
pub use parser::{KEYWORDS, parse};
pub use stages::{Base, Build, Reachable, StageInput, Target, Use, reachable};
pub use tree::{
    ArgDeclaration, Command, Copy, Directive, Dockerfile, Flag, From, Healthcheck, Heredoc, Instruction, Kind, Mount,
    MountKind, Pair, Run, Stage, Word,
};
