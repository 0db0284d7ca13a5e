//! Triggers: what ONBUILD of a base has carried out in the image that is built on it.
//!
//! The one idea: what triggers take of the repository has to be signed, so they must be known without looking at the
//! base. Those of bases of the project are. Those of somebody else's are declared in comments above FROM,
//! `# onbuild: COPY . /app`; without, only those are carried out that see nothing but the base, which is signed by its
//! reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{Platform, Step};
use super::dockerfile::{DockerfileInputs, dockerfile_stage};
use crate::diag::Diagnostics;
use crate::source::{MemoryObjects, Objects, Sources};
use crate::syntax::dockerfile as syntax;
use crate::syntax::dockerfile::{Instruction, Kind};

/// What a comment that declares a trigger begins with.
const DECLARATION: &str = "onbuild:";

/// Parses triggers; what is wrong with them is reported in a text of their own.
pub(super) fn parse(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    base: &str,
    texts: &[String],
) -> Vec<Instruction> {
    let mut triggers = Vec::new();
    for text in texts {
        let whole = format!("FROM {base}\n{text}\n");
        let file = sources.add(format!("ONBUILD of {base}"), whole.as_str());
        let parsed = syntax::parse(diagnostics, file, &whole);
        triggers.extend(parsed.stages.into_iter().flat_map(|stage| stage.instructions));
    }
    triggers
}

/// Returns the triggers that the comments directly above an instruction declare.
pub(super) fn declared(text: &str, instruction: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.get(..instruction).unwrap_or_default().lines().rev() {
        let line = line.trim();
        let Some(comment) = line.strip_prefix('#') else {
            if line.is_empty() {
                continue;
            }
            break;
        };
        found.extend(comment.trim_start().strip_prefix(DECLARATION).map(|trigger| trigger.trim().to_owned()));
    }
    found.reverse();
    found
}

/// Writes the comments that declare triggers.
pub fn declaration(triggers: &[String]) -> String {
    let lines: Vec<String> = triggers.iter().map(|trigger| format!("# {DECLARATION} {trigger}")).collect();
    lines.join("\n")
}

/// Returns the steps of triggers that see nothing but the base; `None` when one of them may see more.
pub fn steps_of_base(base: &str, triggers: &[String], platform: &Platform) -> Option<Vec<Step>> {
    let text = format!("FROM {base}\n{}\n", triggers.join("\n"));
    let sources = Sources::new();
    let mut diagnostics = Diagnostics::new();
    let file = sources.add("ONBUILD", text.as_str());
    let parsed = syntax::parse(&mut diagnostics, file, &text);
    let [stage] = parsed.stages.as_slice() else { return None };
    if diagnostics.has_errors()
        || stage.instructions.len() != triggers.len()
        || stage.instructions.iter().any(sees_more)
    {
        return None;
    }
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let store = Arc::new(MemoryObjects::over(objects));
    let context = store.with_changes(None, &BTreeMap::new()).ok()?;
    let none = BTreeMap::new();
    let stage = dockerfile_stage(
        &mut diagnostics,
        &DockerfileInputs {
            sources: &sources,
            dockerfile: &parsed,
            store: &store,
            context,
            prefix: "",
            ignore: &[],
            target: None,
            args: &none,
            argument_places: BTreeMap::new(),
            known_images: &BTreeMap::new(),
            known_triggers: &BTreeMap::new(),
            add_host: Vec::new(),
            platform,
        },
    )?;
    let part = stage.request.parts.into_iter().last()?;
    (!diagnostics.has_errors()).then_some(part.steps)
}

/// Says whether an instruction sees files of the repository, build arguments or secrets, which are signed or named elsewhere.
fn sees_more(instruction: &Instruction) -> bool {
    match &instruction.kind {
        Kind::Add(_) | Kind::Arg(_) | Kind::Onbuild(_) | Kind::Unknown => true,
        Kind::Copy(copy) => copy.from.is_none() && copy.sources.len() > instruction.heredocs.len(),
        Kind::Run(run) => run.mounts.iter().any(|mount| match mount.kind {
            syntax::MountKind::Bind => mount.from.is_none(),
            syntax::MountKind::Secret | syntax::MountKind::Ssh => true,
            syntax::MountKind::Cache | syntax::MountKind::Tmpfs => false,
        }),
        Kind::Cmd(_)
        | Kind::Entrypoint(_)
        | Kind::Env(_)
        | Kind::Expose(_)
        | Kind::Healthcheck(_)
        | Kind::Label(_)
        | Kind::Maintainer(_)
        | Kind::Shell(_)
        | Kind::Stopsignal(_)
        | Kind::User(_)
        | Kind::Volume(_)
        | Kind::Workdir(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_above_from_declare_triggers() {
        let text = "# onbuild: RUN no\nRUN x\n# a word\n# onbuild: COPY . /app\n\n#onbuild: RUN make\nFROM base\n";
        let at = text.find("FROM").unwrap();
        assert_eq!(declared(text, at), ["COPY . /app", "RUN make"]);
        assert_eq!(declaration(&declared(text, at)), "# onbuild: COPY . /app\n# onbuild: RUN make");
    }

    #[test]
    fn triggers_that_see_the_base_alone_are_steps() {
        let of = |triggers: &[&str]| {
            let texts: Vec<String> = triggers.iter().map(|t| (*t).to_owned()).collect();
            steps_of_base("a:1", &texts, &Platform::linux_amd64()).map(|steps| steps.len())
        };
        assert_eq!(of(&["RUN a", "ENV A=1 B=2", "COPY --from=b /x /y"]), Some(4));
        assert_eq!((of(&["COPY . /app"]), of(&["ARG A"]), of(&["RUN --mount=target=/c x"])), (None, None, None));
    }
}
