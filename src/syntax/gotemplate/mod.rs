//! Go templates: lexer, parser, tree.
//!
//! What lives here: text in, [`Template`] and diagnostics out. What does not: evaluation and functions (`eval`);
//! the parser only asks which names are functions.

mod lexer;
pub mod literals;
mod parser;
mod tree;

pub use lexer::{Delims, KEYWORDS, Keyword, Lexed, Token, TokenKind, lex};
pub use parser::{Functions, MAX_NESTING, Options, is_blank, parse, parse_text};
pub use tree::{Arm, Branch, Call, Command, Define, Name, Node, Number, Operand, OperandKind, Pipe, Template};
