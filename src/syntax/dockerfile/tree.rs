//! The tree of a Dockerfile: what is written, with places, before any expansion.

use crate::source::{FileId, Span};

/// A piece of text as written: quotes, escapes and `$` are still in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text; continuation marks and comments between its lines are gone.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A parsed Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text it came from.
    pub file: FileId,
    /// The escape character: `\`, or a backtick.
    pub escape: char,
    /// The parser directives on the first lines.
    pub directives: Vec<Directive>,
    /// The instructions before the first FROM; only ARG is legal there.
    pub globals: Vec<Instruction>,
    /// The stages in order.
    pub stages: Vec<Stage>,
}

/// One `# name=value` on the first lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// `syntax`, `escape`, `check` or a name we do not know; lower case.
    pub name: String,
    /// Its value.
    pub value: Word,
}

/// One FROM and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The base.
    pub from: From,
    /// The instructions after it.
    pub instructions: Vec<Instruction>,
}

impl Stage {
    /// Returns the name given by `AS`, as written.
    pub fn name(&self) -> Option<&str> {
        self.from.name.as_ref().map(|n| n.text.as_str())
    }
}

/// `FROM [--platform=P] BASE [AS NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The whole instruction.
    pub span: Span,
    /// The platform, unexpanded.
    pub platform: Option<Word>,
    /// The base, unexpanded; empty when it is missing.
    pub base: Word,
    /// The stage's name.
    pub name: Option<Word>,
}

/// One instruction other than FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// From the keyword to the end of the last heredoc.
    pub span: Span,
    /// The keyword.
    pub keyword: Span,
    /// Keyword (upper case), a space, and the rest on one line: continuations and comments are gone.
    pub text: String,
    /// The flags in order.
    pub flags: Vec<Flag>,
    /// The heredocs in order.
    pub heredocs: Vec<Heredoc>,
    /// What it says.
    pub kind: Kind,
}

impl Instruction {
    /// Returns the first flag of that name.
    pub fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|f| f.name == name)
    }

    /// Returns the keyword in upper case.
    pub fn keyword_text(&self) -> &str {
        self.text.split(' ').next().unwrap_or("")
    }
}

/// `--name` or `--name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without the dashes.
    pub name: String,
    /// After the `=`, quotes removed; `None` for a bare flag.
    pub value: Option<Word>,
    /// The whole flag.
    pub span: Span,
}

/// The text between `<<NAME` and the line `NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes.
    pub name: String,
    /// Its lines; with `<<-` the leading tabs are gone.
    pub content: String,
    /// Whether variables in it are expanded: the delimiter is not quoted.
    pub expand: bool,
    /// Whether it was written `<<-`.
    pub strip_tabs: bool,
    /// The file descriptor before `<<`, mostly absent.
    pub descriptor: Option<u32>,
    /// The `<<NAME` word.
    pub span: Span,
    /// The lines of the content.
    pub content_span: Span,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A JSON list: no shell takes part.
    Exec(Vec<Word>),
    /// A text for the shell.
    Shell(Word),
}

/// `name=value`, or `name value` in the old form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The key, unexpanded.
    pub key: Word,
    /// The value, unexpanded.
    pub value: Word,
    /// Whether the value is the rest of the line, as in `ENV name value`.
    pub legacy: bool,
}

/// `name` or `name=default` of an ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name.
    pub name: Word,
    /// The default, unexpanded.
    pub default: Option<Word>,
}

/// COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// `--from`, unexpanded; never on ADD.
    pub from: Option<Word>,
    /// The sources, unexpanded. A heredoc is named here as `<<NAME`, its text is in [`Instruction::heredocs`].
    pub sources: Vec<Word>,
    /// The destination, unexpanded; empty when it is missing.
    pub destination: Word,
}

/// RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What runs. With a lone heredoc the text is `<<NAME`.
    pub command: Command,
    /// The mounts in order.
    pub mounts: Vec<Mount>,
}

/// What a mount gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// A directory in memory.
    Tmpfs,
    /// A secret as a file or a variable.
    Secret,
    /// The agent socket.
    Ssh,
}

/// One `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The whole flag.
    pub span: Span,
    /// Its type.
    pub kind: MountKind,
    /// `from`, unexpanded.
    pub from: Option<Word>,
    /// `source` or `src`, unexpanded.
    pub source: Option<Word>,
    /// `target`, `dst` or `destination`, unexpanded.
    pub target: Option<Word>,
    /// `id`.
    pub id: Option<Word>,
    /// The other keys in order, with their values; a bare key has the value `true`.
    pub options: Vec<(String, Word)>,
}

/// HEALTHCHECK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// Turns an inherited check off.
    None,
    /// Runs a command.
    Cmd(Command),
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ADD.
    Add(Copy),
    /// ARG.
    Arg(Vec<ArgDeclaration>),
    /// CMD.
    Cmd(Command),
    /// COPY.
    Copy(Copy),
    /// ENTRYPOINT.
    Entrypoint(Command),
    /// ENV.
    Env(Vec<Pair>),
    /// EXPOSE.
    Expose(Vec<Word>),
    /// HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// LABEL.
    Label(Vec<Pair>),
    /// MAINTAINER.
    Maintainer(Word),
    /// ONBUILD.
    Onbuild(Box<Instruction>),
    /// RUN.
    Run(Run),
    /// SHELL.
    Shell(Vec<Word>),
    /// STOPSIGNAL.
    Stopsignal(Word),
    /// USER.
    User(Word),
    /// VOLUME.
    Volume(Vec<Word>),
    /// WORKDIR.
    Workdir(Word),
    /// Something that was reported.
    Unknown,
}
