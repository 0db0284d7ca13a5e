//! From tokens to the tree, with Go's rules and Go's words for faults.
//!
//! What lives here: [`parse`]. The one idea: a fault inside an action is reported, the action is skipped, and
//! control structures keep their place, so that one run tells all faults of a text.
//!
//! Source: Go `text/template/parse`, version 1.25.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::needless_pass_by_value,
    clippy::match_same_arms,
    reason = "a parser knows the tokens that may come; all others are one fault"
)]

use std::sync::Arc;

use super::lexer::{Delims, Keyword, Lexed, Token, TokenKind, lex};
use super::literals;
use super::tree::{Arm, Branch, Call, Command, Define, Name, Node, Operand, OperandKind, Pipe, Template};
use crate::diag::{Diagnostic, Diagnostics, did_you_mean, rules};
use crate::source::{FileId, Sources, Span};

/// How deep control structures and parentheses may nest (Go: 10000 parentheses).
pub const MAX_NESTING: usize = 200;

/// Where the parser asks which functions there are.
pub trait Functions: Sync {
    /// Returns the index of a function.
    fn index(&self, name: &str) -> Option<u16>;

    /// Says what is there instead of a function that other versions or other templates have.
    fn elsewhere(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// Returns all names, for "did you mean".
    fn names(&self) -> Vec<&str>;
}

/// How to parse.
#[derive(Clone, Copy)]
pub struct Options<'o> {
    /// The marks of actions.
    pub delims: Delims<'o>,
    /// The functions that may be called.
    pub functions: &'o dyn Functions,
}

/// Parses a registered text. Faults go to `diagnostics`; what could be read is in the tree.
pub fn parse(diagnostics: &mut Diagnostics, sources: &Sources, file: FileId, options: Options<'_>) -> Template {
    let source = sources.get(file).text().clone();
    parse_text(diagnostics, file, &source, options)
}

/// Parses a text whose spans shall name `file`.
pub fn parse_text(diagnostics: &mut Diagnostics, file: FileId, source: &Arc<str>, options: Options<'_>) -> Template {
    let lexed = lex(file, source, options.delims);
    let mut parser = Parser {
        diagnostics,
        file,
        source,
        lexed: &lexed,
        functions: options.functions,
        pos: 0,
        variables: vec!["$"],
        range_depth: 0,
        nesting: 0,
        action_start: 0,
        defines: Vec::new(),
        faults: 0,
    };
    let body = parser.top();
    let defines = parser.defines;
    Template { file, source: source.clone(), body, defines, comments: lexed.comments }
}

struct Parser<'p> {
    diagnostics: &'p mut Diagnostics,
    file: FileId,
    source: &'p str,
    lexed: &'p Lexed,
    functions: &'p dyn Functions,
    pos: usize,
    variables: Vec<&'p str>,
    range_depth: usize,
    nesting: usize,
    /// Where the current action opens.
    action_start: u32,
    defines: Vec<Define>,
    /// How many were found.
    faults: usize,
}

/// How many faults of one text are told: what follows the first hundred is seldom another cause.
const MAX_FAULTS: usize = 100;

/// A fault inside an action; the action is to be skipped.
struct Fault {
    span: Span,
    message: String,
    hint: Option<String>,
}

type Parsed<T> = Result<T, Fault>;

/// What ended a list of nodes.
enum ListEnd {
    End(Span),
    Else(Span),
    Eof(Span),
}

/// One step of a list.
enum Item {
    Node(Node),
    Nothing,
    Stop(ListEnd),
}

const SPACE: TokenKind = TokenKind::Space;

impl<'p> Parser<'p> {
    fn token(&self, ahead: usize) -> Token {
        let eof = || self.lexed.tokens.last().copied().expect("the lexer ends with Eof");
        self.lexed.tokens.get(self.pos + ahead).copied().unwrap_or_else(eof)
    }

    fn peek(&self) -> Token {
        self.token(0)
    }

    fn next(&mut self) -> Token {
        let token = self.token(0);
        if token.kind != TokenKind::Eof {
            self.pos += 1;
        }
        token
    }

    fn peek_solid(&mut self) -> Token {
        while self.peek().kind == SPACE {
            self.next();
        }
        self.peek()
    }

    fn next_solid(&mut self) -> Token {
        self.peek_solid();
        self.next()
    }

    fn span(&self, token: Token) -> Span {
        Span { file: self.file, start: token.start, end: token.end }
    }

    fn text(&self, token: Token) -> &'p str {
        self.source.get(token.start as usize..token.end as usize).unwrap_or("")
    }

    fn fault<T>(&self, token: Token, message: impl Into<String>) -> Parsed<T> {
        Err(Fault { span: self.span(token), message: message.into(), hint: None })
    }

    fn report(&mut self, fault: Fault) {
        self.faults += 1;
        if self.faults > MAX_FAULTS {
            return;
        }
        let mut diagnostic = Diagnostic::at(&rules::TEMPLATE_SYNTAX, fault.span, fault.message);
        if let Some(hint) = fault.hint {
            diagnostic = diagnostic.hint(hint);
        }
        self.diagnostics.push(diagnostic);
    }

    /// Names a token as Go's messages do.
    fn show(&self, token: Token) -> String {
        let text = self.text(token);
        match token.kind {
            TokenKind::Eof => "EOF".to_owned(),
            TokenKind::Keyword(_) | TokenKind::Dot => format!("<{text}>"),
            _ if text.chars().count() > 10 => format!("{:?}...", text.chars().take(10).collect::<String>()),
            _ => format!("{text:?}"),
        }
    }

    fn unexpected<T>(&self, token: Token, context: &str) -> Parsed<T> {
        if let TokenKind::Fault(index) = token.kind {
            let message = self.lexed.faults.get(index as usize).cloned().unwrap_or_default();
            return self.fault(token, message);
        }
        self.fault(token, format!("unexpected {} in {context}", self.show(token)))
    }

    fn expect(&mut self, kind: TokenKind, context: &str) -> Parsed<Token> {
        let token = self.next_solid();
        if token.kind == kind { Ok(token) } else { self.unexpected(token, context) }
    }

    /// Skips to behind the end of the action at fault.
    fn skip_action(&mut self) {
        // The fault may have been found behind the closing mark already.
        if self.pos > 0 && self.lexed.tokens.get(self.pos - 1).is_some_and(|t| t.kind == TokenKind::RightDelim) {
            return;
        }
        loop {
            match self.peek().kind {
                TokenKind::Eof | TokenKind::Text | TokenKind::LeftDelim => return,
                TokenKind::RightDelim => {
                    self.next();
                    return;
                }
                _ => {
                    self.next();
                }
            }
        }
    }

    fn top(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        while self.peek().kind != TokenKind::Eof {
            if self.peek().kind == TokenKind::LeftDelim {
                let mark = self.pos;
                let open = self.next();
                if self.peek_solid().kind == TokenKind::Keyword(Keyword::Define) {
                    self.next();
                    self.define(open);
                    continue;
                }
                self.pos = mark;
            }
            match self.item() {
                Item::Node(node) => nodes.push(node),
                Item::Nothing => {}
                Item::Stop(ListEnd::End(span)) => self.stray(span, "unexpected {{end}}"),
                Item::Stop(ListEnd::Else(span)) => self.stray(span, "unexpected {{else}}"),
                Item::Stop(ListEnd::Eof(_)) => break,
            }
        }
        nodes
    }

    fn stray(&mut self, span: Span, message: &str) {
        self.report(Fault { span, message: message.to_owned(), hint: None });
    }

    fn define(&mut self, open: Token) {
        let name = self.define_name();
        let outer = std::mem::replace(&mut self.variables, vec!["$"]);
        let ranges = std::mem::take(&mut self.range_depth);
        let (body, end) = self.list();
        self.variables = outer;
        self.range_depth = ranges;
        let end = self.closed(end, "define clause");
        if let Some((name, name_span)) = name {
            let span = self.span(open).to(end);
            self.add_define(Define { name, name_span, span, body });
        }
    }

    fn define_name(&mut self) -> Option<(Arc<str>, Span)> {
        let token = self.next_solid();
        let parsed = self.template_name(token, "define clause").and_then(|name| {
            self.expect(TokenKind::RightDelim, "define clause")?;
            Ok((name, self.span(token)))
        });
        self.or_skip(parsed)
    }

    fn or_skip<T>(&mut self, parsed: Parsed<T>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(fault) => {
                self.report(fault);
                self.skip_action();
                None
            }
        }
    }

    /// Checks that a list was closed by `end`; returns the place where it ends.
    fn closed(&mut self, end: ListEnd, context: &str) -> Span {
        match end {
            ListEnd::End(span) => span,
            ListEnd::Else(span) => {
                self.stray(span, &format!("unexpected {{{{else}}}} in {context}"));
                span
            }
            ListEnd::Eof(span) => span,
        }
    }

    fn add_define(&mut self, define: Define) {
        let clash = self.defines.iter().find(|d| d.name == define.name && !is_blank(&d.body, self.source));
        if let Some(other) = clash
            && !is_blank(&define.body, self.source)
        {
            let message = format!("multiple definition of template {:?}", define.name);
            let other = other.name_span;
            let diagnostic = Diagnostic::at(&rules::TEMPLATE_SYNTAX, define.name_span, message);
            self.diagnostics.push(diagnostic.also(other, "defined here already"));
        }
        self.defines.push(define);
    }

    /// Parses nodes up to `end`, `else` or the end of the text; the last is reported.
    fn list(&mut self) -> (Vec<Node>, ListEnd) {
        let open = self.action_start;
        let mut nodes = Vec::new();
        self.nesting += 1;
        let end = loop {
            if self.peek().kind == TokenKind::Eof {
                let eof = self.peek();
                let opened = Span { file: self.file, start: open, end: open + 2 };
                let diagnostic = Diagnostic::at(&rules::TEMPLATE_SYNTAX, self.span(eof), "unexpected EOF");
                self.diagnostics.push(diagnostic.also(opened, "opened here, never closed"));
                break ListEnd::Eof(self.span(eof));
            }
            match self.item() {
                Item::Node(node) => nodes.push(node),
                Item::Nothing => {}
                Item::Stop(end) => break end,
            }
        };
        self.nesting -= 1;
        (nodes, end)
    }

    fn item(&mut self) -> Item {
        let token = self.next_solid();
        match token.kind {
            TokenKind::Text => Item::Node(Node::Text(self.span(token))),
            TokenKind::LeftDelim => {
                self.action_start = token.start;
                self.action(token)
            }
            TokenKind::Eof => Item::Stop(ListEnd::Eof(self.span(token))),
            _ => {
                let fault: Parsed<()> = self.unexpected(token, "input");
                self.or_skip(fault);
                Item::Nothing
            }
        }
    }

    fn action(&mut self, open: Token) -> Item {
        let token = self.peek_solid();
        let TokenKind::Keyword(keyword) = token.kind else { return self.output() };
        match keyword {
            Keyword::End => {
                self.next();
                let close = self.expect(TokenKind::RightDelim, "end");
                self.stop(open, close, ListEnd::End)
            }
            Keyword::Else => {
                self.next();
                let next = self.peek_solid().kind;
                let chained = [TokenKind::Keyword(Keyword::If), TokenKind::Keyword(Keyword::With)].contains(&next);
                let close = if chained { Ok(token) } else { self.expect(TokenKind::RightDelim, "else") };
                self.stop(open, close, ListEnd::Else)
            }
            Keyword::If => self.control(open, "if"),
            Keyword::With => self.control(open, "with"),
            Keyword::Range => self.control(open, "range"),
            Keyword::Block => {
                self.next();
                self.block(open)
            }
            Keyword::Template => {
                self.next();
                let call = self.call(open);
                self.node(call)
            }
            Keyword::Break | Keyword::Continue => {
                self.next();
                let node = self.jump(open, keyword);
                self.node(node)
            }
            Keyword::Define | Keyword::Nil => self.output(),
        }
    }

    fn stop(&mut self, open: Token, close: Parsed<Token>, end: fn(Span) -> ListEnd) -> Item {
        match self.or_skip(close) {
            Some(close) => Item::Stop(end(self.span(open).to(self.span(close)))),
            // What was meant is clear enough to go on with.
            None => Item::Stop(end(self.span(open))),
        }
    }

    fn node(&mut self, node: Parsed<Node>) -> Item {
        self.or_skip(node).map_or(Item::Nothing, Item::Node)
    }

    fn output(&mut self) -> Item {
        let pipe = self.pipeline("command", TokenKind::RightDelim);
        self.node(pipe.map(Node::Action))
    }

    fn jump(&mut self, open: Token, keyword: Keyword) -> Parsed<Node> {
        let (name, node): (_, fn(Span) -> Node) =
            if keyword == Keyword::Break { ("{{break}}", Node::Break) } else { ("{{continue}}", Node::Continue) };
        let close = self.expect(TokenKind::RightDelim, name)?;
        if self.range_depth == 0 {
            return self.fault(close, format!("{name} outside {{{{range}}}}"));
        }
        Ok(node(self.span(open).to(self.span(close))))
    }

    fn template_name(&mut self, token: Token, context: &str) -> Parsed<Arc<str>> {
        match token.kind {
            TokenKind::Quoted | TokenKind::RawQuoted => {
                let bytes = self.unquote(token)?;
                Ok(Arc::from(String::from_utf8_lossy(&bytes)))
            }
            _ => self.unexpected(token, context),
        }
    }

    fn unquote(&self, token: Token) -> Parsed<Vec<u8>> {
        literals::unquote(self.text(token)).map_or_else(|| self.fault(token, "invalid syntax"), Ok)
    }

    fn call(&mut self, open: Token) -> Parsed<Node> {
        let token = self.next_solid();
        let name = self.template_name(token, "template clause")?;
        let argument = if self.peek_solid().kind == TokenKind::RightDelim {
            self.next();
            None
        } else {
            Some(self.pipeline("template clause", TokenKind::RightDelim)?)
        };
        let end = self.token_before();
        let span = self.span(open).to(self.span(end));
        Ok(Node::Call(Call { span, name, name_span: self.span(token), argument }))
    }

    fn token_before(&self) -> Token {
        self.lexed.tokens.get(self.pos.saturating_sub(1)).copied().unwrap_or_else(|| self.peek())
    }

    fn block(&mut self, open: Token) -> Item {
        let token = self.next_solid();
        let head = self.template_name(token, "block clause").and_then(|name| {
            let pipe = self.pipeline("block clause", TokenKind::RightDelim)?;
            Ok((name, pipe))
        });
        let head = self.or_skip(head);
        if self.too_deep(open) {
            return Item::Nothing;
        }
        let outer = std::mem::replace(&mut self.variables, vec!["$"]);
        let ranges = std::mem::take(&mut self.range_depth);
        let (body, end) = self.list();
        self.variables = outer;
        self.range_depth = ranges;
        let end = self.closed(end, "block clause");
        let Some((name, pipe)) = head else { return Item::Nothing };
        let span = self.span(open).to(end);
        let name_span = self.span(token);
        self.add_define(Define { name: name.clone(), name_span, span, body });
        Item::Node(Node::Call(Call { span, name, name_span, argument: Some(pipe) }))
    }

    fn too_deep(&mut self, open: Token) -> bool {
        let deep = self.nesting >= MAX_NESTING;
        if deep {
            self.stray(self.span(open), "control structures are nested too deep");
            // Nothing below can be made sense of.
            self.pos = self.lexed.tokens.len().saturating_sub(1);
        }
        deep
    }

    fn control(&mut self, open: Token, context: &'static str) -> Item {
        if self.too_deep(open) {
            return Item::Nothing;
        }
        let kept = self.variables.len();
        let mut arms = Vec::new();
        let (otherwise, end) = loop {
            let keyword = self.next_solid();
            let pipe = self.pipeline(context, TokenKind::RightDelim);
            let pipe = self.or_skip(pipe).unwrap_or_else(|| self.no_pipe(keyword));
            let ranges = usize::from(context == "range");
            self.range_depth += ranges;
            let (body, end) = self.list();
            self.range_depth -= ranges;
            arms.push(Arm { pipe, body });
            let ListEnd::Else(_) = end else { break (None, end) };
            let next = self.peek();
            let chains = match next.kind {
                TokenKind::Keyword(Keyword::If) => context == "if",
                TokenKind::Keyword(Keyword::With) => context == "with",
                _ => false,
            };
            if chains {
                continue;
            }
            let (body, end) = self.list();
            if let ListEnd::Else(span) = end {
                self.stray(span, "expected end; found {{else}}");
                // Pass over the surplus branch, up to the end.
                self.list();
            }
            break (Some(body), end);
        };
        self.variables.truncate(kept);
        let (ListEnd::End(end) | ListEnd::Else(end) | ListEnd::Eof(end)) = end;
        let branch = Branch { span: self.span(open).to(end), arms, otherwise };
        Item::Node(match context {
            "if" => Node::If(branch),
            "with" => Node::With(branch),
            _ => Node::Range(branch),
        })
    }

    fn no_pipe(&self, token: Token) -> Pipe {
        Pipe { span: self.span(token), variables: Vec::new(), assigns: false, commands: Vec::new() }
    }

    fn name(&self, token: Token) -> Name {
        let text = self.text(token);
        let text = if token.kind == TokenKind::Field { text.get(1..).unwrap_or("") } else { text };
        Name { span: self.span(token), text: Arc::from(text) }
    }

    fn pipeline(&mut self, context: &str, end: TokenKind) -> Parsed<Pipe> {
        let first = self.peek_solid();
        let mut pipe = self.no_pipe(first);
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.peek_solid();
            match token.kind {
                kind if kind == end => {
                    self.next();
                    self.check_pipeline(&pipe, token, context)?;
                    if let Some(last) = pipe.commands.last() {
                        pipe.span = self.span(first).to(last.span);
                    }
                    return Ok(pipe);
                }
                TokenKind::Bool
                | TokenKind::CharConstant
                | TokenKind::Complex
                | TokenKind::Dot
                | TokenKind::Field
                | TokenKind::Identifier
                | TokenKind::Number
                | TokenKind::Keyword(Keyword::Nil)
                | TokenKind::RawQuoted
                | TokenKind::Quoted
                | TokenKind::Variable
                | TokenKind::LeftParen => pipe.commands.push(self.command()?),
                _ => return self.unexpected(token, context),
            }
        }
    }

    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        loop {
            let variable = self.peek_solid();
            if variable.kind != TokenKind::Variable {
                return Ok(());
            }
            let mark = self.pos;
            self.next();
            let next = self.peek_solid();
            match next.kind {
                TokenKind::Assign | TokenKind::Declare => {
                    self.next();
                    pipe.assigns = next.kind == TokenKind::Assign;
                    pipe.variables.push(self.name(variable));
                    self.variables.push(self.text(variable));
                    return Ok(());
                }
                TokenKind::Char if self.text(next) == "," => {
                    self.next();
                    pipe.variables.push(self.name(variable));
                    self.variables.push(self.text(variable));
                    if context != "range" || pipe.variables.len() >= 2 {
                        return self.fault(next, format!("too many declarations in {context}"));
                    }
                    let after = self.peek_solid();
                    let legal = [TokenKind::Variable, TokenKind::RightDelim, TokenKind::RightParen];
                    if !legal.contains(&after.kind) {
                        return self.fault(after, "range can only initialize variables");
                    }
                }
                _ => {
                    self.pos = mark;
                    return Ok(());
                }
            }
        }
    }

    fn check_pipeline(&self, pipe: &Pipe, end: Token, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.fault(end, format!("missing value for {context}"));
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            let first = command.operands.first().map(|o| &o.kind);
            let literal = matches!(
                first,
                Some(
                    OperandKind::Bool(_)
                        | OperandKind::Dot
                        | OperandKind::Nil
                        | OperandKind::Number(_)
                        | OperandKind::Str(_)
                )
            );
            if literal {
                let message = format!("non executable command in pipeline stage {}", i + 1);
                return Err(Fault { span: command.span, message, hint: None });
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let first = self.peek_solid();
        let mut command = Command { span: self.span(first), operands: Vec::new() };
        loop {
            self.peek_solid();
            if let Some(operand) = self.operand()? {
                command.span = command.span.to(operand.span);
                command.operands.push(operand);
            }
            let token = self.next();
            match token.kind {
                SPACE => {}
                TokenKind::RightDelim | TokenKind::RightParen => {
                    self.pos -= 1;
                    break;
                }
                TokenKind::Pipe => break,
                _ => return self.unexpected(token, "operand"),
            }
        }
        if command.operands.is_empty() {
            return self.fault(first, "empty command");
        }
        Ok(command)
    }

    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(term) = self.term()? else { return Ok(None) };
        let mut names = Vec::new();
        let mut span = term.span;
        while self.peek().kind == TokenKind::Field {
            let token = self.next();
            span = span.to(self.span(token));
            names.push(self.name(token));
        }
        if names.is_empty() {
            return Ok(Some(term));
        }
        let kind = match term.kind {
            OperandKind::Field(mut first) => {
                first.extend(names);
                OperandKind::Field(first)
            }
            OperandKind::Variable(name, _) => OperandKind::Variable(name, names),
            OperandKind::Bool(_)
            | OperandKind::Str(_)
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                let text = self.source.get(term.span.range()).unwrap_or("");
                return Err(Fault { span, message: format!("unexpected . after term {text:?}"), hint: None });
            }
            OperandKind::Function(..) | OperandKind::Paren(_) | OperandKind::Chain(..) => {
                OperandKind::Chain(Box::new(term), names)
            }
        };
        Ok(Some(Operand { span, kind }))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let token = self.peek_solid();
        let span = self.span(token);
        let text = self.text(token);
        let kind = match token.kind {
            TokenKind::Identifier => match self.functions.index(text) {
                Some(index) => OperandKind::Function(self.name(token), index),
                None => return Err(self.no_function(token)),
            },
            TokenKind::Dot => OperandKind::Dot,
            TokenKind::Keyword(Keyword::Nil) => OperandKind::Nil,
            TokenKind::Bool => OperandKind::Bool(text == "true"),
            TokenKind::Variable => {
                if !self.variables.contains(&text) {
                    return Err(self.no_variable(token));
                }
                OperandKind::Variable(self.name(token), Vec::new())
            }
            TokenKind::Field => OperandKind::Field(vec![self.name(token)]),
            TokenKind::Number => match literals::number(text) {
                Ok(number) => OperandKind::Number(number),
                Err(message) => return self.fault(token, message),
            },
            TokenKind::CharConstant => match literals::character(text) {
                Some(number) => OperandKind::Number(number),
                None => return self.fault(token, format!("malformed character constant: {text}")),
            },
            TokenKind::Complex => return self.fault(token, "complex numbers are not supported"),
            TokenKind::Quoted | TokenKind::RawQuoted => OperandKind::Str(Arc::from(self.unquote(token)?)),
            TokenKind::LeftParen => return self.paren(token).map(Some),
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(Operand { span, kind }))
    }

    fn paren(&mut self, open: Token) -> Parsed<Operand> {
        if self.nesting >= MAX_NESTING {
            return self.fault(open, "max expression depth exceeded");
        }
        self.next();
        self.nesting += 1;
        let pipe = self.pipeline("parenthesized pipeline", TokenKind::RightParen);
        self.nesting -= 1;
        let close = self.token_before();
        let span = self.span(open).to(self.span(close));
        Ok(Operand { span, kind: OperandKind::Paren(Box::new(pipe?)) })
    }

    fn no_function(&self, token: Token) -> Fault {
        let name = self.text(token);
        // Looking for near names is dear, and beyond the limit nobody reads it.
        let names = if self.faults < MAX_FAULTS { self.functions.names() } else { Vec::new() };
        let elsewhere = self.functions.elsewhere(name).map(str::to_owned);
        let hint = elsewhere.or_else(|| did_you_mean(name, names).map(|near| format!("did you mean `{near}`?")));
        Fault { span: self.span(token), message: format!("function {name:?} not defined"), hint }
    }

    fn no_variable(&self, token: Token) -> Fault {
        let name = self.text(token);
        let near = did_you_mean(name, self.variables.iter().copied().filter(|v| *v != "$"));
        let hint = near.map(|near| format!("did you mean `{near}`?"));
        Fault { span: self.span(token), message: format!("undefined variable {name:?}"), hint }
    }
}

/// Says whether a body writes nothing: white space only.
pub fn is_blank(body: &[Node], source: &str) -> bool {
    body.iter().all(|node| match node {
        Node::Text(span) => source.get(span.range()).unwrap_or("").trim().is_empty(),
        Node::Action(_)
        | Node::If(_)
        | Node::With(_)
        | Node::Range(_)
        | Node::Call(_)
        | Node::Break(_)
        | Node::Continue(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::{Functions, Options, parse};
    use crate::diag::Diagnostics;
    use crate::source::Sources;
    use crate::syntax::gotemplate::{Delims, Template};

    struct Known;
    impl Functions for Known {
        fn index(&self, name: &str) -> Option<u16> {
            self.names().iter().position(|n| *n == name).and_then(|n| u16::try_from(n).ok())
        }
        fn names(&self) -> Vec<&str> {
            vec!["print", "upper", "include"]
        }
    }

    fn run(text: &str) -> (Template, Vec<String>) {
        let (sources, mut diagnostics) = (Sources::new(), Diagnostics::new());
        let file = sources.add("a.yaml", text);
        let template =
            parse(&mut diagnostics, &sources, file, Options { delims: Delims::default(), functions: &Known });
        let messages = diagnostics.as_slice().iter().map(|d| d.message.clone()).collect();
        (template, messages)
    }

    #[test]
    fn all_faults_of_a_text_are_told() {
        let (template, messages) = run("{{ $a }}{{ if }}x{{ end }}{{ uper 1 }}{{ print 1 }}");
        let expected = ["undefined variable \"$a\"", "missing value for if", "function \"uper\" not defined"];
        assert_eq!(messages, expected);
        assert_eq!(template.body.len(), 2);
    }

    #[test]
    fn an_unclosed_structure_is_told_with_its_opening() {
        assert_eq!(run("{{ if true }}x").1, ["unexpected EOF"]);
        assert_eq!(run("{{ define \"a\" }}x").1, ["unexpected EOF"]);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("{{{{ print {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
        assert_eq!(run(&text).1, ["max expression depth exceeded"]);
        let text = "{{ if true }}".repeat(5000);
        assert!(run(&text).1.iter().any(|m| m.contains("nested too deep")));
    }

    #[test]
    fn definitions_of_one_text_clash_unless_blank() {
        assert_eq!(run("{{define \"d\"}}a{{end}}{{define \"d\"}}b{{end}}").1.len(), 1);
        assert_eq!(run("{{define \"d\"}}a{{end}}{{define \"d\"}} {{end}}").1.len(), 0);
    }
}
