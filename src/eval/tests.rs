//! What a rendering does beyond its text: origins, traces, bounds, sharing.

use super::*;
use crate::diag::Diagnostics;
use crate::source::Sources;

/// Templates by path, registered and parsed.
fn set(sources: &Sources, files: &[(&str, &str)]) -> TemplateSet {
    let mut set = TemplateSet::new(SetOptions::helm());
    let mut diagnostics = Diagnostics::new();
    for (path, text) in files {
        let file = sources.add(*path, *text);
        set.parse(&mut diagnostics, sources, path, file);
    }
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    set
}

fn text(rendered: &Rendered) -> String {
    String::from_utf8_lossy(&rendered.text).into_owned()
}

fn values(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter().map(|(k, v)| (Str::from(*k), v.clone()));
    Value::dict([(Str::from("Values"), Value::dict(entries))])
}

#[test]
fn every_line_knows_the_action_that_wrote_it() {
    let sources = Sources::new();
    let helper = "{{ define \"labels\" }}app: web\ntier: {{ .Values.tier }}{{ end }}";
    let main = "kind: Pod\nlabels:\n  {{- include \"labels\" . | nindent 2 }}\nname: x\n";
    let set = set(&sources, &[("_h.tpl", helper), ("a.yaml", main)]);
    let env = RenderEnv { track: true, ..RenderEnv::bare(&sources) };
    let mut session = set.session(env);
    let rendered = session.render("a.yaml", values(&[("tier", Value::str("front"))])).expect("it renders");
    let out = text(&rendered);
    assert_eq!(out, "kind: Pod\nlabels:\n  app: web\n  tier: front\nname: x\n");
    let origins = rendered.origins.expect("tracked");
    let place = |part: &str| {
        let at = out.find(part).expect("it is there");
        session.origin(origins.at(at)).map(|o| (sources.locate(o.span.expect("written")), o.caller))
    };
    let (helper_place, caller) = place("app: web").expect("an origin");
    assert_eq!((helper_place.0.as_str(), helper_place.1.line), ("_h.tpl", 1));
    let caller = session.origin(caller).expect("a caller");
    assert_eq!(
        sources.locate(caller.span.expect("written")),
        ("a.yaml".to_owned(), crate::source::Position { line: 3, column: 7 })
    );
    assert_eq!(place("kind: Pod").map(|p| p.0.0), Some("a.yaml".to_owned()));
    assert_eq!(place("name: x").map(|p| p.0.0), Some("a.yaml".to_owned()));
}

#[test]
fn reads_of_marked_maps_are_told() {
    let sources = Sources::new();
    let set = set(&sources, &[("a", "{{ .Values.used }}{{ hasKey .Values \"asked\" }}")]);
    let mut index = ValueIndex::default();
    let place = index.place("web", None);
    let mark = index.table(place);
    let marked = Dict::from_entries(DictKind::Values, [(Str::from("used"), Value::Int(1))]).marked(mark);
    let root = Value::dict([(Str::from("Values"), Value::Dict(std::rc::Rc::new(marked)))]);
    let mut session = set.session(RenderEnv { track: true, ..RenderEnv::bare(&sources) });
    session.index_values(index);
    session.render("a", root).expect("it renders");
    assert_eq!(session.read_paths(), ["web.asked", "web.used"]);
}

#[test]
fn an_error_tells_its_place_and_the_calls_that_led_there() {
    let sources = Sources::new();
    let helper = "{{ define \"inner\" }}\n{{ .Values.a.b.c }}{{ end }}";
    let set = set(&sources, &[("_h.tpl", helper), ("a.yaml", "x: {{ include \"inner\" . }}")]);
    let error = set.render("a.yaml", values(&[]), RenderEnv::bare(&sources)).expect_err("it fails");
    assert_eq!(error.message, "nil pointer evaluating interface {}.b");
    let diagnostic = error.to_diagnostic();
    let primary = diagnostic.primary.expect("a place");
    assert_eq!(sources.locate(primary.span).1.line, 2);
    assert_eq!(diagnostic.trace.len(), 1);
    assert_eq!(diagnostic.trace.first().map(|f| f.text.as_str()), Some("include \"inner\" ."));
}

#[test]
fn endless_recursion_is_an_error_on_any_stack() {
    let sources = Sources::new();
    let files = [
        ("a", "{{ define \"r\" }}{{ include \"r\" . }}{{ end }}{{ include \"r\" . }}"),
        ("b", "{{ define \"t\" }}{{ template \"t\" . }}{{ end }}{{ template \"t\" . }}"),
        ("c", "{{ define \"p\" }}{{ tpl \"{{ include `p` . }}\" . }}{{ end }}{{ include \"p\" . }}"),
    ];
    let set = set(&sources, &files);
    for name in ["a", "b", "c"] {
        set.render(name, values(&[]), RenderEnv::bare(&sources)).expect_err("it fails");
    }
    let deep = on_deep_stack(|| set.render("a", values(&[]), RenderEnv::bare(&sources)).map(|_| ()));
    let message = deep.expect_err("it fails").message;
    assert!(message.contains("rendering template has a nested reference name: r"), "{message}");
}

#[test]
fn what_would_be_too_large_is_refused() {
    let sources = Sources::new();
    let grow = "{{ $s := \"0123456789abcdef\" }}{{ range until 40 }}{{ $s = print $s $s }}{{ end }}";
    let set = set(
        &sources,
        &[
            ("repeat", "{{ repeat 1000000000 \"0123456789\" }}"),
            ("until", "{{ range until 2000000000 }}{{ end }}"),
            ("indent", "{{ indent 2000000000 \"x\" }}"),
            ("grow", grow),
        ],
    );
    for name in ["repeat", "until", "indent", "grow"] {
        let error = set.render(name, values(&[]), RenderEnv::bare(&sources)).expect_err(name);
        let told = ["larger than", "too long", "too much"].iter().any(|words| error.message.contains(words));
        assert!(told, "{error}");
    }
}

#[test]
fn work_and_memory_without_end_are_refused() {
    let sources = Sources::new();
    let calls = |n: usize| {
        format!("{{{{ define \"d{n}\" }}}}{0}{0}{{{{ end }}}}", format!("{{{{ template \"d{}\" }}}}", n + 1))
    };
    let tree = (0..60).map(calls).collect::<String>() + "{{ define \"d60\" }}{{ end }}{{ template \"d0\" }}";
    let bombs = [
        ("loops", "{{ range $i := until 100000 }}{{ range $j := until 100000 }}{{ end }}{{ end }}"),
        ("numbers", "{{ range 100000000000 }}{{ end }}"),
        ("tree", &tree),
        (
            "texts",
            "{{ $d := dict }}{{ range $i := until 100000 }}{{ $_ := set $d (print $i) (repeat 100000 \"x\") }}{{ end }}",
        ),
        (
            "copies",
            "{{ $d := dict \"a\" (until 1000) }}{{ range $i := until 100000 }}{{ $_ := set $d (print $i) (deepCopy $d) }}{{ end }}",
        ),
        ("lists", "{{ $l := list }}{{ range $i := until 100000 }}{{ $l = append $l (until 100000) }}{{ end }}"),
        (
            "scans",
            "{{ $s := repeat 10000000 \"ab\" }}{{ range until 100000 }}{{ if contains \"c\" $s }}{{ end }}{{ end }}",
        ),
        (
            "tpls",
            "{{ define \"t\" }}{{ range until 1000 }}{{ tpl \"{{ template \\\"t\\\" . }}\" $ }}{{ end }}{{ end }}{{ template \"t\" . }}",
        ),
    ];
    let set = set(&sources, &bombs);
    for (name, _) in bombs {
        let error =
            on_deep_stack(|| set.render(name, values(&[]), RenderEnv::bare(&sources)).map(|_| ())).expect_err(name);
        assert!(error.message.contains("too much") || error.message.contains("too deep"), "{name}: {error}");
        assert!(!error.levels.is_empty(), "{name} has a place");
    }
}

#[test]
fn values_that_nest_without_end_do_no_harm() {
    let sources = Sources::new();
    let cycle = "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ len (print $d) }}{{ toYaml $d }}{{ eq 1 1 }}";
    let deep = "{{ $l := list }}{{ range until 200000 }}{{ $l = list $l }}{{ end }}{{ kindOf $l }}";
    let set = set(&sources, &[("cycle", cycle), ("deep", deep)]);
    assert!(set.render("cycle", values(&[]), RenderEnv::bare(&sources)).is_ok());
    let rendered = set.render("deep", values(&[]), RenderEnv::bare(&sources)).expect("it renders");
    assert_eq!(text(&rendered), "slice");
}

#[test]
fn a_change_of_values_is_seen_by_later_templates() {
    let sources = Sources::new();
    let set = set(&sources, &[("a", "{{ $_ := set .Values \"x\" 1 }}"), ("b", "{{ .Values.x }}")]);
    let data = values(&[]);
    let mut session = set.session(RenderEnv::bare(&sources));
    session.render("a", data.clone()).expect("it renders");
    assert_eq!(text(&session.render("b", data).expect("it renders")), "1");
}

#[test]
fn functions_of_the_caller_reach_the_host() {
    struct Env;
    impl Host for Env {
        fn call(&self, _function: &str, args: &[Value]) -> Result<Value, FuncError> {
            Ok(Value::str([b"env:", args.text(0)].concat()))
        }
        fn random(&self, _buffer: &mut [u8]) {}
    }
    fn env(ctx: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
        ctx.env.host.call("env", args)
    }
    static ENV: Function = Function::new(Family::Helm, "env", &[Param::Str], env, "Returns a variable.");
    let sources = Sources::new();
    let functions = FunctionSet::new().with([&ENV]);
    let delims = crate::syntax::gotemplate::Delims { left: "[[", right: "]]" };
    let options = SetOptions { functions: std::sync::Arc::new(functions), delims, ..SetOptions::helm() };
    let mut set = TemplateSet::new(options);
    let file = sources.add("name", "{{ x }}-[[ env \"CI\" ]]");
    set.parse(&mut Diagnostics::new(), &sources, "name", file);
    let host = RenderEnv { host: &Env, ..RenderEnv::bare(&sources) };
    assert_eq!(text(&set.render("name", values(&[]), host).expect("it renders")), "{{ x }}-env:CI");
}

#[test]
fn sets_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<TemplateSet>();
    crosses::<RenderError>();
}
