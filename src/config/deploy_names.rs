//! The release name and the namespace: templates with `[[ ]]`, made valid by slugs. Source: werf 2.x.

use std::sync::Arc;

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::eval::{Ctx, Family, FuncError, Function, FunctionSet, Host, RenderEnv, SetOptions, TemplateSet, Value};
use crate::source::{Sources, Spanned};
use crate::syntax::gotemplate::Delims;

use super::{Config, Text, render, slug};

/// Where a chart is deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployNames {
    /// The release.
    pub release: String,
    /// The namespace.
    pub namespace: String,
}

/// Names given on the command line; they are checked and never changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Explicit<'a> {
    /// `--release`.
    pub release: Option<&'a str>,
    /// `--namespace`.
    pub namespace: Option<&'a str>,
}

/// Returns release and namespace; `None` when one of them is not valid, which is reported.
pub fn deploy_names(
    d: &mut Diagnostics,
    sources: &Sources,
    config: &Config,
    env_name: &str,
    explicit: Explicit<'_>,
) -> Option<DeployNames> {
    let deploy = &config.meta.deploy;
    let mut facts = Facts { project: config.meta.project.value.clone(), env: env_name.to_owned(), namespace: None };
    let namespace = Wanted {
        what: "namespace",
        template: deploy.namespace.as_ref(),
        slug: deploy.namespace_slug.as_ref(),
        valid: slug::is_namespace,
        make: slug::namespace,
    };
    let namespace = namespace.find(d, sources, config, &facts, explicit.namespace);
    facts.namespace = Some(namespace.clone().unwrap_or_default());
    let release = Wanted {
        what: "release name",
        template: deploy.release.as_ref(),
        slug: deploy.release_slug.as_ref(),
        valid: slug::is_release,
        make: slug::release,
    };
    let release = release.find(d, sources, config, &facts, explicit.release);
    Some(DeployNames { release: release?, namespace: namespace? })
}

/// What the templates may ask for.
struct Facts {
    project: String,
    env: String,
    /// Only the release name may use it.
    namespace: Option<String>,
}

impl Host for Facts {
    fn call(&self, function: &str, _: &[Value]) -> Result<Value, FuncError> {
        match (function, &self.namespace) {
            ("project", _) => Ok(Value::str(self.project.as_str())),
            ("env", _) => Ok(Value::str(self.env.as_str())),
            ("namespace", Some(namespace)) => Ok(Value::str(namespace.as_str())),
            _ => Err(FuncError::new(format!("{function} is not available here"))),
        }
    }

    fn random(&self, buffer: &mut [u8]) {
        crate::eval::NoHost.random(buffer);
    }
}

fn project(ctx: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    ctx.env.host.call("project", args)
}

fn env(ctx: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    ctx.env.host.call("env", args)
}

fn namespace(ctx: &mut Ctx<'_>, args: &[Value]) -> Result<Value, FuncError> {
    ctx.env.host.call("namespace", args)
}

static FUNCTIONS: &[Function] = &[
    Function::new(Family::Helm, "project", &[], project, "Returns the name of the project."),
    Function::new(Family::Helm, "env", &[], env, "Returns the name of the environment."),
    Function::new(Family::Helm, "namespace", &[], namespace, "Returns the namespace."),
];

/// One of the two names.
struct Wanted<'a> {
    what: &'static str,
    template: Option<&'a Text>,
    slug: Option<&'a Spanned<bool>>,
    valid: fn(&str) -> bool,
    make: fn(&str) -> String,
}

impl Wanted<'_> {
    fn find(
        &self,
        d: &mut Diagnostics,
        sources: &Sources,
        config: &Config,
        facts: &Facts,
        explicit: Option<&str>,
    ) -> Option<String> {
        let fault = |d: &mut Diagnostics, message: String| {
            let found = match self.template {
                Some(template) if explicit.is_none() => Diagnostic::at(&rules::DEPLOY_NAME, template.span, message),
                Some(_) | None => Diagnostic::in_file(&rules::DEPLOY_NAME, config.path.clone(), message),
            };
            let asks_env = self.template.is_some_and(|t| t.value.contains("env")) && facts.env.is_empty();
            d.push(if asks_env && explicit.is_none() {
                found.hint("name the environment: `--env NAME`")
            } else {
                found
            });
        };
        if let Some(name) = explicit {
            if !(self.valid)(name) {
                fault(d, format!("`{name}` is not a valid {}", self.what));
                return None;
            }
            return Some(name.to_owned());
        }
        let name = match self.template {
            None if facts.env.is_empty() => facts.project.clone(),
            None => format!("{}-{}", facts.project, facts.env),
            Some(template) => expand(d, sources, config, template, facts)?,
        };
        let name = if self.slug.is_none_or(|s| s.value) { (self.make)(&name) } else { name };
        if !(self.valid)(&name) {
            fault(d, format!("`{name}` is not a valid {}", self.what));
            return None;
        }
        Some(name)
    }
}

/// Renders a template with `[[ ]]`; reports why that fails.
fn expand(d: &mut Diagnostics, sources: &Sources, config: &Config, template: &Text, facts: &Facts) -> Option<String> {
    let file = sources.add(format!("{} (deploy)", config.path), template.value.as_str());
    let functions: FunctionSet = (*render::functions()).clone().without(&["env", "expandenv"]).with(FUNCTIONS);
    let options = render::options(Delims { left: "[[", right: "]]" });
    let mut set = TemplateSet::new(SetOptions { functions: Arc::new(functions), ..options });
    let mut faults = Diagnostics::new();
    set.parse(&mut faults, sources, "name", file);
    let env = RenderEnv { host: facts, ..RenderEnv::bare(sources) };
    let message = match faults.as_slice().first() {
        Some(fault) => fault.message.clone(),
        None => match set.render("name", Value::Nil, env) {
            Ok(rendered) => return Some(String::from_utf8_lossy(&rendered.text).into_owned()),
            Err(error) => error.message,
        },
    };
    d.push(Diagnostic::at(&rules::DEPLOY_NAME, template.span, message));
    None
}
