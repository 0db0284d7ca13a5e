//! Tests of the parser and of stage resolution.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::diag::Diagnostics;
use crate::source::{FileId, Span};

fn parsed(text: &str) -> (Dockerfile, Vec<String>) {
    let mut diagnostics = Diagnostics::new();
    let tree = parse(&mut diagnostics, FileId(0), text);
    (tree, diagnostics.as_slice().iter().map(|d| d.message.clone()).collect())
}

fn clean(text: &str) -> Dockerfile {
    let (tree, faults) = parsed(text);
    assert_eq!(faults, Vec::<String>::new(), "{text}");
    tree
}

fn only(text: &str) -> Instruction {
    clean(&format!("FROM a\n{text}\n")).stages[0].instructions[0].clone()
}

fn at(text: &str, span: Span) -> &str {
    &text[span.range()]
}

#[test]
fn stages_and_globals_are_told_apart() {
    let tree = clean(
        "# syntax=docker/dockerfile:1\nARG V=3\nfrom --platform=$BUILDPLATFORM alpine:$V as Build\nRUN x\nFROM build\n",
    );
    assert_eq!(tree.directives[0].name, "syntax");
    assert_eq!(tree.directives[0].value.text, "docker/dockerfile:1");
    assert_eq!(tree.globals.len(), 1);
    assert_eq!(tree.stages[0].name(), Some("Build"));
    assert_eq!(tree.stages[0].from.platform.as_ref().unwrap().text, "$BUILDPLATFORM");
    assert_eq!(tree.stages[1].from.base.text, "build");
}

#[test]
fn continuations_lose_comments_and_blank_lines_and_keep_places() {
    let text = "FROM a\r\nRUN one \\\r\n  # note\r\n\r\n  && two \\\r\n  && three\r\n";
    let (tree, faults) = parsed(text);
    assert_eq!(faults, ["a blank line stands inside an instruction"]);
    let Kind::Run(Run { command: Command::Shell(word), .. }) = &tree.stages[0].instructions[0].kind else { panic!() };
    assert_eq!(word.text, "one   && two   && three");
    assert_eq!(at(text, word.span), "one \\\r\n  # note\r\n\r\n  && two \\\r\n  && three");
}

#[test]
fn a_backtick_escape_is_honoured() {
    let tree = clean("# escape=`\nFROM a\nRUN dir c:\\ `\n && ls\nCOPY a c:\\x\n");
    assert_eq!(tree.stages[0].instructions[0].text, "RUN dir c:\\  && ls");
    let Kind::Copy(copy) = &tree.stages[0].instructions[1].kind else { panic!() };
    assert_eq!(copy.destination.text, "c:\\x");
}

#[test]
fn an_escaped_escape_does_not_continue() {
    assert_eq!(clean("FROM a\nRUN x \\\\\nRUN y\n").stages[0].instructions.len(), 2);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert_eq!(clean("\u{feff}FROM a\n").stages.len(), 1);
}

#[test]
fn several_heredocs_in_one_instruction() {
    let run = only("RUN <<A cat 3<<-\"B\"\none $x\nA\n\ttwo\n\tB");
    let names: Vec<_> = run.heredocs.iter().map(|h| (h.name.as_str(), h.content.as_str(), h.expand)).collect();
    assert_eq!(names, [("A", "one $x\n", true), ("B", "two\n", false)]);
    assert_eq!(run.heredocs[1].descriptor, Some(3));
    let tree = clean("FROM a\nCOPY <<x <<y /dst/\n1\nx\n2\ny\nRUN cat <<EOF > /x\nhi\nEOF\nRUN true\n");
    assert_eq!(tree.stages[0].instructions.len(), 3);
    let Kind::Copy(copy) = &tree.stages[0].instructions[0].kind else { panic!() };
    assert_eq!(copy.sources.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(), ["<<x", "<<y"]);
    assert_eq!(copy.destination.text, "/dst/");
}

#[test]
fn an_open_heredoc_is_reported_once() {
    assert_eq!(parsed("FROM a\nRUN <<E\nx\n").1, ["the heredoc `E` has no end"]);
}

#[test]
fn a_heredoc_in_a_trigger_is_read() {
    let onbuild = only("ONBUILD RUN <<E\nx\nE");
    let Kind::Onbuild(inner) = &onbuild.kind else { panic!() };
    assert_eq!(inner.heredocs[0].content, "x\n");
    assert_eq!(inner.text, "RUN <<E");
}

#[test]
fn exec_form_and_shell_form() {
    let Kind::Cmd(Command::Exec(words)) = only(r#"CMD ["a", "b\"c"]"#).kind else { panic!() };
    assert_eq!(words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(), ["a", "b\"c"]);
    assert!(matches!(only("CMD [ -f x ]").kind, Kind::Cmd(Command::Shell(_))));
    let mut diagnostics = Diagnostics::new();
    let text = "FROM a\nCMD [\"node\", \"server.js\"] # start\nRUN [ \"$x\" ] && y\n";
    let tree = parse(&mut diagnostics, FileId(0), text);
    assert!(matches!(tree.stages[0].instructions[0].kind, Kind::Cmd(Command::Shell(_))));
    let found: Vec<_> = diagnostics.as_slice().iter().map(|d| d.rule.name).collect();
    assert_eq!(found, ["exec-form-not-json"]);
    assert_eq!(parsed("FROM a\nCMD [1]").1, ["the JSON list of CMD has something else than strings"]);
    assert_eq!(parsed("FROM a\nCMD ['a']").1, ["a list in single quotes is not JSON and runs in a shell"]);
    let Kind::Copy(copy) = only(r#"COPY --chown=1:2 ["a b", "c/"]"#).kind else { panic!() };
    assert_eq!(copy.sources[0].text, "a b");
}

#[test]
fn flags_are_read_and_checked() {
    let run = only(
        "RUN --network=none --mount=type=cache,target=/c,sharing=locked --mount=from=b,source=/x,target=/y,ro make",
    );
    let Kind::Run(Run { mounts, command: Command::Shell(word) }) = &run.kind else { panic!() };
    assert_eq!(word.text, "make");
    assert_eq!((mounts[0].kind, mounts[1].kind), (MountKind::Cache, MountKind::Bind));
    assert_eq!(mounts[0].options[0].0, "sharing");
    assert_eq!(mounts[1].from.as_ref().unwrap().text, "b");
    only("COPY --from=x --link --parents --exclude=*.md --exclude=*.txt --chmod=755 a b");
    only("ADD --keep-git-dir=true --checksum=sha256:0 https://x/y /z");
    only("HEALTHCHECK --interval=5s --start-period=1m --retries=3 CMD [\"x\"]");
    let (tree, faults) = parsed(
        "FROM a\nCOPY --form=x a b\nCOPY --link=maybe a b\nCOPY --from a b\nRUN --mount=type=cach,target=/x y\n",
    );
    assert_eq!(
        faults,
        [
            "COPY does not know the flag `--form`",
            "`--link` is `true` or `false`",
            "`--from` needs a value",
            "`cach` is not a type of mount",
        ]
    );
    assert_eq!(tree.stages[0].instructions.len(), 4);
}

#[test]
fn a_mount_key_has_its_place() {
    let text = "FROM a\nRUN --mount=type=cache,targte=/x y\n";
    let mut diagnostics = Diagnostics::new();
    parse(&mut diagnostics, FileId(0), text);
    let d = &diagnostics.as_slice()[0];
    assert_eq!(at(text, d.primary.as_ref().unwrap().span), "targte=/x");
    assert_eq!(d.hints, ["did you mean `target`?"]);
}

#[test]
fn pairs_keep_quotes_and_the_old_form_takes_the_rest() {
    let Kind::Env(pairs) = only(r#"ENV a=1 b="x y" c=q\ r d="#).kind else { panic!() };
    let texts: Vec<_> = pairs.iter().map(|p| (p.key.text.as_str(), p.value.text.as_str())).collect();
    assert_eq!(texts, [("a", "1"), ("b", "\"x y\""), ("c", "q\\ r"), ("d", "")]);
    let Kind::Env(pairs) = only("ENV  name  the rest = here").kind else { panic!() };
    assert_eq!(
        (pairs[0].key.text.as_str(), pairs[0].value.text.as_str(), pairs[0].legacy),
        ("name", "the rest = here", true)
    );
    assert_eq!(parsed("FROM a\nENV a=1 b").1, ["`b` has no `=`"]);
    assert_eq!(parsed("FROM a\nLABEL a").1, ["LABEL needs a name and a value"]);
    let Kind::Arg(args) = only("ARG A B=2 C=\"x y\"").kind else { panic!() };
    assert_eq!(args.iter().map(|a| a.name.text.as_str()).collect::<Vec<_>>(), ["A", "B", "C"]);
}

#[test]
fn an_unknown_instruction_is_named_with_a_proposal() {
    let text = "FROM a\nWORKDIRR /x\nCOPY a b\n";
    let mut diagnostics = Diagnostics::new();
    let tree = parse(&mut diagnostics, FileId(0), text);
    let d = &diagnostics.as_slice()[0];
    assert_eq!((d.rule.name, at(text, d.primary.as_ref().unwrap().span)), ("unknown-instruction", "WORKDIRR"));
    assert_eq!(d.hints, ["did you mean `WORKDIR`?"]);
    assert_eq!(tree.stages[0].instructions.len(), 2);
}

#[test]
fn the_remaining_instructions_are_read() {
    assert!(matches!(only("EXPOSE 80 443/udp").kind, Kind::Expose(w) if w.len() == 2));
    assert!(matches!(only("volume /a /b").kind, Kind::Volume(w) if w.len() == 2));
    assert!(matches!(only("VOLUME [\"/a b\"]").kind, Kind::Volume(w) if w[0].text == "/a b"));
    assert!(matches!(only("SHELL [\"bash\", \"-c\"]").kind, Kind::Shell(w) if w.len() == 2));
    assert!(matches!(only("STOPSIGNAL 9").kind, Kind::Stopsignal(w) if w.text == "9"));
    assert!(matches!(only("MAINTAINER me").kind, Kind::Maintainer(_)));
    assert!(matches!(only("USER a:b").kind, Kind::User(_)));
    assert!(matches!(only("HEALTHCHECK NONE").kind, Kind::Healthcheck(Healthcheck::None)));
    assert!(matches!(only("ONBUILD COPY a b").kind, Kind::Onbuild(_)));
    assert_eq!(parsed("FROM a\nONBUILD ONBUILD RUN x").1, ["ONBUILD cannot trigger ONBUILD"]);
    assert_eq!(parsed("RUN x\nFROM a").1, ["RUN stands before the first FROM"]);
    assert_eq!(parsed("").1, ["the Dockerfile has no FROM"]);
    assert_eq!(parsed("FROM a\nRUN").1, ["RUN needs an argument"]);
}

fn resolve(text: &str, target: Option<&str>, args: &[(&str, &str)]) -> (Option<Reachable>, Vec<String>) {
    let tree = clean(text);
    let mut diagnostics = Diagnostics::new();
    let build = Build {
        target: target.map(|t| Target { text: t.to_owned(), span: None }),
        args: args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        platform: BTreeMap::new(),
    };
    let found = reachable(&mut diagnostics, &tree, &build);
    let faults = diagnostics.as_slice().iter().map(|d| format!("{} {}", d.message, d.hints.join(" "))).collect();
    (found, faults)
}

const STAGES: &str = "ARG V=3\nFROM alpine:$V AS base\nFROM base AS unused\nFROM base AS tool\nFROM scratch\n\
    COPY --from=tool /a /a\nRUN --mount=from=0,target=/x y\nCOPY --from=nginx:1 /b /b\n";

#[test]
fn a_target_brings_the_stages_it_needs() {
    let (found, faults) = resolve(STAGES, None, &[("V", "4")]);
    assert_eq!(faults, Vec::<String>::new());
    let found = found.unwrap();
    assert_eq!(found.stages.iter().map(|s| s.index).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(found.stages[0].base, Base::Image("alpine:4".to_owned()));
    let last = &found.stages[2];
    assert_eq!(last.base, Base::Scratch);
    let sources: Vec<_> = last.uses.iter().map(|u| (u.instruction, u.source.clone())).collect();
    assert_eq!(sources, [(0, Base::Stage(2)), (1, Base::Stage(0)), (2, Base::Image("nginx:1".to_owned()))]);
    assert_eq!(resolve(STAGES, Some("TOOL"), &[]).0.unwrap().target, 2);
    assert_eq!(resolve(STAGES, Some("1"), &[]).0.unwrap().target, 1);
}

#[test]
fn an_unknown_target_is_reported_with_a_proposal() {
    let (found, faults) = resolve(STAGES, Some("toool"), &[]);
    assert_eq!(found, None);
    assert_eq!(faults, ["the Dockerfile has no stage `toool` did you mean `tool`?"]);
}

#[test]
fn stage_names_that_miss_are_reported() {
    let faults = |text: &str| resolve(text, None, &[]).1;
    assert_eq!(
        faults("FROM a AS builder\nFROM b\nCOPY --from=biulder x y\n"),
        ["`biulder` is no stage, so it is pulled as an image did you mean the stage `builder`?"]
    );
    assert_eq!(faults("FROM a\nCOPY --from=7 x y\n"), ["there is no stage number 7 "]);
    assert_eq!(
        faults("FROM a AS x\nCOPY --from=y p q\nFROM b AS y\nCOPY --from=x p q\n"),
        ["the stages depend on each other: x -> y -> x "]
    );
    assert!(faults("ARG B\nFROM $B\n")[0].starts_with("the base `$B` is empty"));
}

/// Every span of the tree, by way of its debug text.
fn spans(tree: &Dockerfile) -> Vec<(usize, usize)> {
    let text = format!("{tree:?}");
    let number = |s: &str, key: &str| -> usize {
        let after = &s[s.find(key).unwrap() + key.len()..];
        after[..after.find(|c: char| !c.is_ascii_digit()).unwrap()].parse().unwrap()
    };
    text.split("Span {").skip(1).map(|s| (number(s, "start: "), number(s, "end: "))).collect()
}

proptest! {
    #[test]
    fn parse_never_panics_and_spans_lie_in_the_text(
        lines in proptest::collection::vec(
            prop_oneof![
                "(FROM|from|RUN|COPY|ENV|ARG|LABEL|CMD|ONBUILD|HEALTHCHECK|SHELL|VOLUME|X) .{0,30}",
                "(RUN|COPY|ADD) (--[a-z]{0,6}(=[a-z\"',=$\\\\]{0,8})? )?(<<-?\"?E\"? )?[a-zé ]{0,9}\\\\?",
                "[ \t]*#.{0,8}", "E", "", ".{0,20}", "\\[\"[a-z\\\\é]{0,4}\"(, \"b\")?\\]", "# escape=.",
            ],
            0..12,
        ),
        crlf in any::<bool>(),
    ) {
        let text = lines.join(if crlf { "\r\n" } else { "\n" });
        let mut diagnostics = Diagnostics::new();
        let tree = parse(&mut diagnostics, FileId(0), &text);
        let found = diagnostics.as_slice().iter().filter_map(|d| d.primary.as_ref());
        let mut all: Vec<(usize, usize)> = found.map(|l| (l.span.start as usize, l.span.end as usize)).collect();
        all.extend(spans(&tree));
        for (start, end) in all {
            prop_assert!(start <= end && text.get(start..end).is_some(), "{start}..{end} of {text:?}");
        }
        reachable(&mut diagnostics, &tree, &Build::default());
    }

    #[test]
    fn expansion_never_panics(raw in "[$\\{\\}a-c:+\\-?#%/*'\"\\\\ é]{0,24}") {
        let lookup = |name: &str| (name != "b").then(|| "vélo/x".to_owned());
        let _ = expand(&raw, '\\', &lookup);
        let _ = expand_words(&raw, '\\', &lookup);
    }
}
