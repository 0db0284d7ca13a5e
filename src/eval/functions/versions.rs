//! Semantic versions.

use std::any::Any;
use std::borrow::Cow;
use std::cmp::Ordering;

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::json::lossy;
use crate::eval::semver::{Constraint, Version};
use crate::eval::value::{Method, Object, ObjectRef, Value};

type Answer = Result<Value, FuncError>;

/// The table of this family.
pub static TABLE: &[Function] = &[
    Function::new(Family::Versions, "semver", &[Param::Str], semver, "Reads a semantic version."),
    Function::new(
        Family::Versions,
        "semverCompare",
        &[Param::Str, Param::Str],
        semver_compare,
        "Says whether a version satisfies a constraint.",
    ),
];

fn parse(text: &[u8]) -> Result<Version, FuncError> {
    Version::parse(&lossy(text)).map_err(|e| FuncError::new(e.to_string()))
}

fn semver(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::object(VersionObject(parse(args.text(0))?)))
}

fn semver_compare(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let constraint = Constraint::parse(&lossy(args.text(0))).map_err(FuncError::new)?;
    Ok(Value::Bool(constraint.check(&parse(args.text(1))?)))
}

/// A version, as `semver` returns it.
pub struct VersionObject(pub Version);

const TYPE: &str = "*semver.Version";

static METHODS: &[Method] = &[
    Method { name: "Major", params: &[], rest: None },
    Method { name: "Minor", params: &[], rest: None },
    Method { name: "Patch", params: &[], rest: None },
    Method { name: "Prerelease", params: &[], rest: None },
    Method { name: "Metadata", params: &[], rest: None },
    Method { name: "Original", params: &[], rest: None },
    Method { name: "String", params: &[], rest: None },
    Method { name: "IncMajor", params: &[], rest: None },
    Method { name: "IncMinor", params: &[], rest: None },
    Method { name: "IncPatch", params: &[], rest: None },
    Method { name: "Compare", params: &[Param::Object(TYPE)], rest: None },
    Method { name: "LessThan", params: &[Param::Object(TYPE)], rest: None },
    Method { name: "LessThanEqual", params: &[Param::Object(TYPE)], rest: None },
    Method { name: "GreaterThan", params: &[Param::Object(TYPE)], rest: None },
    Method { name: "GreaterThanEqual", params: &[Param::Object(TYPE)], rest: None },
    Method { name: "Equal", params: &[Param::Object(TYPE)], rest: None },
    Method { name: "SetPrerelease", params: &[Param::Str], rest: None },
    Method { name: "SetMetadata", params: &[Param::Str], rest: None },
];

impl Object for VersionObject {
    fn type_name(&self) -> Cow<'static, str> {
        Cow::Borrowed(TYPE)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn kind(&self) -> &'static str {
        "ptr"
    }

    fn method(&self, name: &[u8]) -> Option<&'static Method> {
        METHODS.iter().find(|m| m.name.as_bytes() == name)
    }

    fn call(&self, _: &mut Ctx<'_>, method: &'static Method, args: &[Value]) -> Answer {
        let version = &self.0;
        let made = |v: Version| Ok(Value::object(VersionObject(v)));
        let order = || {
            let other = args.any(0).downcast::<VersionObject>();
            other.map(|o| version.compare(&o.0)).ok_or_else(|| FuncError::new("the argument is no version"))
        };
        let with = |suffix: &str, pre: &str, metadata: &str| {
            let numbers = format!("{}.{}.{}", version.major, version.minor, version.patch);
            let sign = |sign: &str, part: &str| if part.is_empty() { String::new() } else { format!("{sign}{part}") };
            let text = format!("{numbers}{}{}", sign("-", pre), sign("+", metadata));
            Version::parse(&text).map_err(|_| FuncError::new(format!("invalid {suffix} string")))
        };
        let text = lossy(args.text(0));
        match method.name {
            "Major" => Ok(Value::Uint64(version.major)),
            "Minor" => Ok(Value::Uint64(version.minor)),
            "Patch" => Ok(Value::Uint64(version.patch)),
            "Prerelease" => Ok(Value::str(version.pre.as_str())),
            "Metadata" => Ok(Value::str(version.metadata.as_str())),
            "Original" => Ok(Value::str(version.original.as_str())),
            "String" => Ok(Value::str(version.to_string())),
            "IncMajor" => made(version.next_major()),
            "IncMinor" => made(version.next_minor()),
            "IncPatch" => made(version.next_patch()),
            "Compare" => Ok(Value::Int(order()? as i64)),
            "LessThan" => Ok(Value::Bool(order()? == Ordering::Less)),
            "LessThanEqual" => Ok(Value::Bool(order()? != Ordering::Greater)),
            "GreaterThan" => Ok(Value::Bool(order()? == Ordering::Greater)),
            "GreaterThanEqual" => Ok(Value::Bool(order()? != Ordering::Less)),
            "Equal" => Ok(Value::Bool(order()? == Ordering::Equal)),
            "SetPrerelease" => made(with("prerelease", &text, &version.metadata)?),
            "SetMetadata" => made(with("metadata", &version.pre, &text)?),
            other => Err(FuncError::new(format!("{other} cannot be called"))),
        }
    }

    fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.to_string().as_bytes());
    }

    fn is_stringer(&self) -> bool {
        true
    }

    fn plain(&self) -> Value {
        Value::str(self.0.to_string())
    }

    fn equal(&self, other: &ObjectRef) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|o| o.0.original == self.0.original)
    }
}
