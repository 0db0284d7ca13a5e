//! URLs, paths and names of hosts.

use crate::eval::function::{Args, Ctx, Family, FuncError, Function, Param};
use crate::eval::json::lossy;
use crate::eval::print::quoted;
use crate::eval::value::{Dict, Str, Value};

type Answer = Result<Value, FuncError>;
type Convert = fn(&[u8]) -> Vec<u8>;

/// Describes a function from a path to a path.
macro_rules! path {
    ($name:expr, $convert:expr, $doc:expr) => {
        Function::new(
            Family::Paths,
            $name,
            &[Param::Str],
            |_: &mut Ctx<'_>, args: &[Value]| -> Answer {
                let convert: Convert = $convert;
                Ok(Value::str(convert(args.text(0))))
            },
            $doc,
        )
    };
}

/// The table of this family.
pub static TABLE: &[Function] = &[
    Function::new(Family::Urls, "urlParse", &[Param::Str], url_parse, "Splits a URL into a map of its parts."),
    Function::new(Family::Urls, "urlJoin", &[Param::Map], url_join, "Makes a URL of a map of parts."),
    path!("base", base, "Returns the last element of a path."),
    path!("dir", dir, "Returns all but the last element of a path."),
    path!("clean", clean, "Returns the shortest path of the same meaning."),
    path!("ext", ext, "Returns the file name extension, with its dot."),
    path!("osBase", base, "Returns the last element of a path of the operating system."),
    path!("osDir", dir, "Returns all but the last element of a path of the operating system."),
    path!("osClean", clean, "Returns the shortest path of the same meaning, of the operating system."),
    path!("osExt", ext, "Returns the file name extension, with its dot."),
    Function::new(Family::Paths, "isAbs", &[Param::Str], is_abs, "Says whether a path is absolute."),
    Function::new(Family::Paths, "osIsAbs", &[Param::Str], is_abs, "Says whether a path is absolute."),
    Function::new(
        Family::Network,
        "getHostByName",
        &[Param::Str],
        |ctx, args| ctx.env.host.call("getHostByName", args),
        "Returns an address of a host; empty unless look-ups are allowed.",
    )
    .varying(),
];

fn is_abs(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    Ok(Value::Bool(args.text(0).starts_with(b"/")))
}

fn base(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b".".to_vec();
    }
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    let trimmed = path.get(..end).unwrap_or(&[]);
    let name = trimmed.rsplit(|b| *b == b'/').next().unwrap_or(&[]);
    if name.is_empty() { b"/".to_vec() } else { name.to_vec() }
}

fn dir(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
    clean(path.get(..end).unwrap_or(&[]))
}

fn ext(path: &[u8]) -> Vec<u8> {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(&[]);
    name.iter().rposition(|b| *b == b'.').and_then(|i| name.get(i..)).unwrap_or(&[]).to_vec()
}

/// Returns the shortest equivalent path. Source: Go, `path.Clean`.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(last) if *last != b".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// What part of a URL is escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Host,
    User,
    Fragment,
}

#[derive(Default)]
struct Url {
    scheme: String,
    opaque: String,
    /// Name and password, unescaped.
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    host: Vec<u8>,
    path: Vec<u8>,
    query: String,
    fragment: Vec<u8>,
}

fn should_escape(byte: u8, part: Part) -> bool {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => false,
        b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' | b'<' | b'>' | b'"' if part == Part::Host => false,
        b'!' | b'(' | b')' | b'*' if part == Part::Fragment => false,
        b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match part {
            Part::Path => byte == b'?',
            Part::User => matches!(byte, b'@' | b'/' | b'?' | b':'),
            Part::Host => matches!(byte, b'/' | b'?' | b'@'),
            Part::Fragment => false,
        },
        _ => true,
    }
}

fn escape(out: &mut Vec<u8>, text: &[u8], part: Part) {
    for byte in text {
        if should_escape(*byte, part) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
}

fn unescape(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let code = bytes.get(at + 1..at + 3).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
            let code = code.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 16).ok());
            let shown = bytes.get(at..(at + 3).min(bytes.len())).unwrap_or(&[]);
            match code {
                Some(code) if part != Part::Host || code >= 0x80 || code == b'%' => out.push(code),
                _ => return Err(format!("invalid URL escape {}", quoted(shown))),
            }
            at += 3;
            continue;
        }
        if part == Part::Host && byte.is_ascii() && should_escape(*byte, part) {
            return Err(format!("invalid character {} in host name", quoted(&[*byte])));
        }
        out.push(*byte);
        at += 1;
    }
    Ok(out)
}

impl Url {
    /// Reads a URL as Go's `url.Parse` does.
    fn parse(raw: &str) -> Result<Self, String> {
        let (body, fragment) = raw.split_once('#').unwrap_or((raw, ""));
        let within = |shown: &str, e: String| format!("parse {}: {e}", quoted(shown.as_bytes()));
        let mut url = Self::parse_body(body).map_err(|e| within(body, e))?;
        url.fragment = unescape(fragment, Part::Fragment).map_err(|e| within(raw, e))?;
        Ok(url)
    }

    fn parse_body(raw: &str) -> Result<Self, String> {
        if raw.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Self::default();
        let (scheme, rest) = scheme(raw)?;
        url.scheme = scheme.to_lowercase();
        let (mut rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        query.clone_into(&mut url.query);
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                rest.clone_into(&mut url.opaque);
                return Ok(url);
            }
            if rest.split('/').next().is_some_and(|s| s.contains(':')) {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        if (!url.scheme.is_empty() || !rest.starts_with("///"))
            && let Some(after) = rest.strip_prefix("//")
        {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            rest = path;
            url.authority(authority)?;
        }
        url.path = unescape(rest, Part::Path)?;
        Ok(url)
    }

    fn authority(&mut self, text: &str) -> Result<(), String> {
        let (user, host) = text.rsplit_once('@').map_or((None, text), |(u, h)| (Some(u), h));
        let port = match host.rfind(']') {
            Some(end) if host.contains('[') => host.get(end + 1..).unwrap_or(""),
            None if host.contains('[') => return Err("missing ']' in host".to_owned()),
            _ => host.rfind(':').and_then(|i| host.get(i..)).unwrap_or(""),
        };
        if !is_port(port) {
            return Err(format!("invalid port {} after host", quoted(port.as_bytes())));
        }
        self.host = unescape(host, Part::Host)?;
        let Some(user) = user else { return Ok(()) };
        let valid = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
        if !user.bytes().all(valid) {
            return Err("net/url: invalid userinfo".to_owned());
        }
        self.user = Some(match user.split_once(':') {
            None => (unescape(user, Part::User)?, None),
            Some((name, password)) => (unescape(name, Part::User)?, Some(unescape(password, Part::User)?)),
        });
        Ok(())
    }

    fn userinfo(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some((name, password)) = &self.user {
            escape(&mut out, name, Part::User);
            if let Some(password) = password {
                out.push(b':');
                escape(&mut out, password, Part::User);
            }
        }
        out
    }

    fn hostname(&self) -> Vec<u8> {
        let mut host = self.host.as_slice();
        if let Some(colon) = host.iter().rposition(|b| *b == b':')
            && host.get(colon..).and_then(|p| std::str::from_utf8(p).ok()).is_some_and(is_port)
        {
            host = host.get(..colon).unwrap_or(host);
        }
        let bare = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]"));
        bare.unwrap_or(host).to_vec()
    }

    /// Writes the URL as Go's `String` does.
    fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(self.scheme.as_bytes());
            out.push(b':');
        }
        if self.opaque.is_empty() {
            let has_user = self.user.is_some();
            if (!self.scheme.is_empty() || !self.host.is_empty() || has_user)
                && (!self.host.is_empty() || !self.path.is_empty() || has_user)
            {
                out.extend_from_slice(b"//");
            }
            if has_user {
                out.extend_from_slice(&self.userinfo());
                out.push(b'@');
            }
            escape(&mut out, &self.host, Part::Host);
            let mut path = Vec::new();
            if self.path == b"*" {
                path.push(b'*');
            } else {
                escape(&mut path, &self.path, Part::Path);
            }
            if path.first().is_some_and(|b| *b != b'/') && !self.host.is_empty() {
                out.push(b'/');
            }
            if out.is_empty() && path.split(|b| *b == b'/').next().is_some_and(|s| s.contains(&b':')) {
                out.extend_from_slice(b"./");
            }
            out.extend_from_slice(&path);
        } else {
            out.extend_from_slice(self.opaque.as_bytes());
        }
        if !self.query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(self.query.as_bytes());
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            escape(&mut out, &self.fragment, Part::Fragment);
        }
        out
    }
}

fn scheme(raw: &str) -> Result<(&str, &str), String> {
    for (at, byte) in raw.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((raw.get(..at).unwrap_or(""), raw.get(at + 1..).unwrap_or(""))),
            _ => break,
        }
    }
    Ok(("", raw))
}

/// Says whether a text is empty, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()))
}

fn url_parse(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let url = Url::parse(&lossy(args.text(0))).map_err(|e| FuncError::new(format!("unable to parse url: {e}")))?;
    let entries = [
        ("scheme", Value::str(url.scheme.as_str())),
        ("host", Value::str(url.host.clone())),
        ("hostname", Value::str(url.hostname())),
        ("path", Value::str(url.path.clone())),
        ("query", Value::str(url.query.as_str())),
        ("opaque", Value::str(url.opaque.as_str())),
        ("fragment", Value::str(url.fragment.clone())),
        ("userinfo", Value::str(url.userinfo())),
    ];
    Ok(Value::dict(entries.map(|(key, value)| (Str::from(key), value))))
}

fn url_join(_: &mut Ctx<'_>, args: &[Value]) -> Answer {
    let dict = args.dict(0);
    let user = lossy(&part(&dict, "userinfo")?).into_owned();
    let text = |name: &str| Ok::<_, FuncError>(lossy(&part(&dict, name)?).into_owned());
    let mut url = Url {
        scheme: text("scheme")?,
        host: part(&dict, "host")?,
        path: part(&dict, "path")?,
        query: text("query")?,
        opaque: text("opaque")?,
        fragment: part(&dict, "fragment")?,
        user: None,
    };
    if !user.is_empty() {
        let parsed = Url::parse(&format!("proto://{user}@host"));
        url.user = parsed.map_err(|e| FuncError::new(format!("unable to parse userinfo in dict: {e}")))?.user;
    }
    Ok(Value::str(url.text()))
}

fn part(dict: &Dict, name: &str) -> Result<Vec<u8>, FuncError> {
    match dict.get(name.as_bytes()) {
        None => Ok(Vec::new()),
        Some(Value::Str(text)) => Ok(text.to_vec()),
        Some(other) => {
            let kind = other.kind_name();
            Err(FuncError::new(format!("unable to parse {name} key, must be of type string, but {kind} found")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_as_in_go() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        for (path, wanted) in [("", "."), ("a/../..", ".."), ("/../a//b/.", "/a/b"), ("./a/", "a"), ("/", "/")] {
            assert_eq!(text(clean(path.as_bytes())), wanted, "{path}");
        }
        assert_eq!(text(base(b"a/b/")), "b");
        assert_eq!(text(base(b"///")), "/");
        assert_eq!(text(dir(b"a/b/")), "a/b");
        assert_eq!(text(dir(b"a")), ".");
        assert_eq!(text(ext(b"a.d/b.tar.gz")), ".gz");
        assert_eq!(text(ext(b"a.d/b")), "");
    }

    #[test]
    fn urls_are_split_and_joined_as_in_go() {
        let url = Url::parse("http://admin:se%20cret@server.com:8080/api%20x?list=false#anchor").unwrap();
        assert_eq!(url.path, b"/api x");
        assert_eq!(url.hostname(), b"server.com");
        assert_eq!(url.userinfo(), b"admin:se%20cret");
        assert_eq!(url.text(), b"http://admin:se%20cret@server.com:8080/api%20x?list=false#anchor");
        assert_eq!(Url::parse("mailto:a@b").unwrap().opaque, "a@b");
        assert_eq!(Url::parse(":bad").err().unwrap(), "parse \":bad\": missing protocol scheme");
        assert_eq!(Url::parse("http://h:p/").err().unwrap(), "parse \"http://h:p/\": invalid port \":p\" after host");
        assert_eq!(Url::parse("http://[::1]:80/").unwrap().hostname(), b"::1");
    }
}
