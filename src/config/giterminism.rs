//! `werf-giterminism.yaml`: which inputs from outside the commit are allowed.

use regex::Regex;

use crate::diag::{Diagnostic, Diagnostics, Severity, rules};
use crate::source::Span;
use crate::source::glob::{PathMatcher, clean_path};
use crate::syntax::yaml::Node;

use super::Text;
use super::decode::{Section, check_pattern, unknown_key};
use super::directives::{self, Shape};

/// The rules. Without a file nothing is allowed.
#[derive(Clone, Debug)]
pub struct Giterminism {
    /// Nothing is refused: `--loose-giterminism`.
    pub loose: bool,
    /// The path of the file, for advice.
    pub path: String,
    /// `cli.allowCustomTags`.
    pub custom_tags: bool,
    /// `includes.allowIncludesUpdate`.
    pub includes_update: bool,
    /// `config.allowUncommitted`: werf.yaml from the disk.
    pub uncommitted_config: bool,
    /// `config.allowUncommittedTemplates`: template files, relative to the project.
    pub uncommitted_templates: PathMatcher,
    /// `config.goTemplateRendering.allowUncommittedFiles`: what `.Files` reads.
    pub uncommitted_files: PathMatcher,
    /// `config.stapel.allowFromLatest`.
    pub from_latest: bool,
    /// `config.stapel.git.allowBranch`.
    pub git_branch: bool,
    /// `config.stapel.mount.allowBuildDir`.
    pub build_dir: bool,
    /// `config.stapel.mount.allowFromPaths`.
    pub from_paths: PathMatcher,
    /// `config.dockerfile.allowUncommitted`.
    pub uncommitted_dockerfiles: PathMatcher,
    /// `config.dockerfile.allowUncommittedDockerignoreFiles`.
    pub uncommitted_dockerignores: PathMatcher,
    /// `config.dockerfile.allowContextAddFiles`: `context` joined with the file.
    pub context_add_files: PathMatcher,
    /// `helm.allowUncommittedFiles`.
    pub uncommitted_chart_files: PathMatcher,
    env: Vec<EnvRule>,
    secret_env: Vec<String>,
    secret_files: Vec<String>,
    secret_values: Vec<String>,
}

/// A setting that lets files come from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// There is none: the giterminism rules themselves.
    Never,
    /// `config.allowUncommitted`.
    Config,
    /// `config.allowUncommittedTemplates`.
    Templates,
    /// `config.goTemplateRendering.allowUncommittedFiles`.
    Files,
}

#[derive(Clone, Debug)]
enum EnvRule {
    Name(String),
    Pattern(Regex),
}

fn nothing() -> PathMatcher {
    PathMatcher::only([]).expect("an empty list is well formed")
}

impl Default for Giterminism {
    fn default() -> Self {
        Self {
            loose: false,
            path: "werf-giterminism.yaml".to_owned(),
            custom_tags: false,
            includes_update: false,
            uncommitted_config: false,
            uncommitted_templates: nothing(),
            uncommitted_files: nothing(),
            from_latest: false,
            git_branch: false,
            build_dir: false,
            from_paths: nothing(),
            uncommitted_dockerfiles: nothing(),
            uncommitted_dockerignores: nothing(),
            context_add_files: nothing(),
            uncommitted_chart_files: nothing(),
            env: Vec::new(),
            secret_env: Vec::new(),
            secret_files: Vec::new(),
            secret_values: Vec::new(),
        }
    }
}

impl Giterminism {
    /// Returns rules that allow nothing, as those of a project without the file.
    pub fn strict(path: &str, loose: bool) -> Self {
        Self { loose, path: path.to_owned(), ..Self::default() }
    }

    /// Says whether the template function `env` may read a variable.
    pub fn allows_env(&self, name: &str) -> bool {
        let by = |rule: &EnvRule| match rule {
            EnvRule::Name(allowed) => allowed == name,
            EnvRule::Pattern(pattern) => pattern.is_match(name),
        };
        self.loose || self.env.iter().any(by)
    }

    /// Says whether a secret may come from this variable.
    pub fn allows_secret_env(&self, name: &str) -> bool {
        self.loose || self.secret_env.iter().any(|n| n == name)
    }

    /// Says whether a secret may stand in werf.yaml under this id.
    pub fn allows_secret_value(&self, id: &str) -> bool {
        self.loose || self.secret_values.iter().any(|n| n == id)
    }

    /// Says whether a secret may come from this file. Both sides are compared as written, cleaned: a directory means
    /// itself alone, `directory/*` and `directory/**` what is below.
    pub fn allows_secret_file(&self, path: &str) -> bool {
        let path = clean_path(path);
        let by = |rule: &String| match rule.trim_end_matches('*').strip_suffix('/').filter(|_| rule.ends_with('*')) {
            Some(directory) => PathMatcher::new([directory], []).is_ok_and(|m| m.matches(path.trim_start_matches('/'))),
            None if rule.contains(['*', '?', '[', '{']) => {
                PathMatcher::new([rule.as_str()], []).is_ok_and(|m| m.matches(path.trim_start_matches('/')))
            }
            None => clean_path(rule) == path,
        };
        self.loose || self.secret_files.iter().any(by)
    }

    /// Reads the file.
    pub fn decode(d: &mut Diagnostics, node: &Node, path: &str, loose: bool) -> Self {
        let mut rules = Self::strict(path, loose);
        let Some(root) = open(d, node, path, &directives::GITERMINISM) else {
            d.push(version_fault(node.span));
            return rules;
        };
        match root.node("giterminismConfigVersion").map(|n| (n.scalar_text(), n.as_i64(), n.span)) {
            Some((Some("1"), _, _) | (_, Some(1), _)) => {}
            Some((_, _, span)) => d.push(version_fault(span)),
            None => d.push(version_fault(root.span)),
        }
        if let Some(cli) = below(d, &root, "cli", &directives::GITERMINISM_CLI) {
            rules.custom_tags = flag(d, &cli, "allowCustomTags");
        }
        if let Some(helm) = below(d, &root, "helm", &directives::GITERMINISM_HELM) {
            rules.uncommitted_chart_files = globs(d, &helm, "allowUncommittedFiles");
        }
        if let Some(includes) = below(d, &root, "includes", &directives::GITERMINISM_INCLUDES) {
            rules.includes_update = flag(d, &includes, "allowIncludesUpdate");
        }
        rules.decode_config(d, &root);
        rules
    }

    fn decode_config(&mut self, d: &mut Diagnostics, root: &Section<'_>) {
        let Some(config) = below(d, root, "config", &directives::GITERMINISM_CONFIG) else { return };
        self.uncommitted_config = flag(d, &config, "allowUncommitted");
        self.uncommitted_templates = globs(d, &config, "allowUncommittedTemplates");
        if let Some(go) = below(d, &config, "goTemplateRendering", &directives::GITERMINISM_TEMPLATES) {
            self.uncommitted_files = globs(d, &go, "allowUncommittedFiles");
            let names = go.strings(d, "allowEnvVariables").unwrap_or_default();
            self.env = names.iter().filter_map(|t| env_rule(d, t)).collect();
        }
        if let Some(secrets) = below(d, &config, "secrets", &directives::GITERMINISM_SECRETS) {
            let texts = |d: &mut Diagnostics, key: &str| -> Vec<String> {
                secrets.strings(d, key).unwrap_or_default().into_iter().map(|t| t.value).collect()
            };
            self.secret_env = texts(d, "allowEnvVariables");
            self.secret_files = texts(d, "allowFiles");
            self.secret_values = texts(d, "allowValueIds");
        }
        self.decode_stapel(d, &config);
        if let Some(dockerfile) = below(d, &config, "dockerfile", &directives::GITERMINISM_DOCKERFILE) {
            self.uncommitted_dockerfiles = globs(d, &dockerfile, "allowUncommitted");
            self.uncommitted_dockerignores = globs(d, &dockerfile, "allowUncommittedDockerignoreFiles");
            self.context_add_files = globs(d, &dockerfile, "allowContextAddFiles");
        }
    }

    fn decode_stapel(&mut self, d: &mut Diagnostics, config: &Section<'_>) {
        let Some(stapel) = below(d, config, "stapel", &directives::GITERMINISM_STAPEL) else { return };
        self.from_latest = flag(d, &stapel, "allowFromLatest");
        if let Some(git) = below(d, &stapel, "git", &directives::GITERMINISM_GIT) {
            self.git_branch = flag(d, &git, "allowBranch");
        }
        if let Some(mount) = below(d, &stapel, "mount", &directives::GITERMINISM_MOUNT) {
            self.build_dir = flag(d, &mount, "allowBuildDir");
            self.from_paths = globs(d, &mount, "allowFromPaths");
        }
    }

    /// Says whether a file may come from the disk.
    pub(super) fn allows_disk(&self, setting: Setting, path: &str) -> bool {
        match setting {
            Setting::Never => false,
            Setting::Config => self.uncommitted_config,
            Setting::Templates => self.uncommitted_templates.matches(path),
            Setting::Files => self.uncommitted_files.matches(path),
        }
    }

    /// Returns the advice to add the rule that lets a file come from the disk.
    pub(super) fn disk_rule_to_add(&self, setting: Setting, path: &str) -> Option<String> {
        match setting {
            Setting::Never => None,
            Setting::Config => Some(self.rule_to_add("config.allowUncommitted", None)),
            Setting::Templates => Some(self.rule_to_add("config.allowUncommittedTemplates", Some(path))),
            Setting::Files => Some(self.rule_to_add("config.goTemplateRendering.allowUncommittedFiles", Some(path))),
        }
    }

    /// Returns the advice to add a rule, as YAML to copy: a switch, or a list with one item.
    pub(super) fn rule_to_add(&self, setting: &str, item: Option<&str>) -> String {
        let mut rule = match item {
            Some(item) => format!("[{}]", serde_json::Value::from(item)),
            None => "true".to_owned(),
        };
        for (depth, key) in setting.rsplit('.').enumerate() {
            rule = if depth == 0 { format!("{key}: {rule}") } else { format!("{key}: {{{rule}}}") };
        }
        format!("allow it in {}: `{rule}`", self.path)
    }

    /// Reports that a directive needs a rule: a switch, or a list with that item.
    pub(super) fn refuse(
        &self,
        d: &mut Diagnostics,
        span: Span,
        what: impl Into<String>,
        setting: &str,
        item: Option<&str>,
    ) {
        d.push(
            Diagnostic::at(&rules::NOT_PERMITTED, span, what)
                .label("depends on more than the commit")
                .hint(self.rule_to_add(setting, item)),
        );
    }
}

fn version_fault(span: Span) -> Diagnostic {
    Diagnostic::at(&rules::CONFIG_VERSION, span, "`giterminismConfigVersion` is not 1")
        .hint("write `giterminismConfigVersion: 1`")
}

/// Opens a section; keys that it does not know are warned of, since werf ignores them.
fn open<'n>(d: &mut Diagnostics, node: &'n Node, what: &str, shape: &'static Shape) -> Option<Section<'n>> {
    let section = Section::any(d, node, what)?;
    for entry in section.entries().filter(|e| !shape.keys().any(|key| key.name == &*e.name)) {
        let mut found = unknown_key(entry, what, &shape.names());
        found.severity = Severity::Warning;
        d.push(found.label("it allows nothing"));
    }
    Some(section)
}

fn below<'n>(d: &mut Diagnostics, section: &Section<'n>, key: &str, shape: &'static Shape) -> Option<Section<'n>> {
    open(d, section.node(key)?, shape.title, shape)
}

fn flag(d: &mut Diagnostics, section: &Section<'_>, key: &str) -> bool {
    section.flag(d, key).is_some_and(|f| f.value)
}

/// Reads a list of patterns. One with a malformed pattern, which is reported, allows nothing.
fn globs(d: &mut Diagnostics, section: &Section<'_>, key: &str) -> PathMatcher {
    let patterns = section.strings(d, key).unwrap_or_default();
    for pattern in &patterns {
        check_pattern(d, pattern);
    }
    PathMatcher::only(patterns.iter().map(|p| p.value.as_str())).unwrap_or_else(|_| nothing())
}

fn env_rule(d: &mut Diagnostics, rule: &Text) -> Option<EnvRule> {
    let body = rule.value.strip_prefix('/').and_then(|r| r.strip_suffix('/'));
    let Some(body) = body else { return Some(EnvRule::Name(rule.value.clone())) };
    let pattern = Regex::new(&format!("^(?:{body})$")).ok();
    if pattern.is_none() {
        let message = format!("`{body}` is not a regular expression");
        d.push(Diagnostic::at(&rules::INVALID_PATTERN, rule.span, message));
    }
    pattern.map(EnvRule::Pattern)
}
