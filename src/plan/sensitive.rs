//! Values that must not be seen: debug, display and JSON redact; revealing is one searchable call.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret value. Its JSON is `null`: a saved plan carries it in its sealed part.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Sensitive<T>(Option<T>);

impl<T> Sensitive<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Returns the value in clear; `None` when it came from JSON, which never holds it.
    pub fn reveal(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> std::fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(sensitive)")
    }
}

impl<T> Serialize for Sensitive<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl<'de, T> Deserialize<'de> for Sensitive<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Ok(Self(None))
    }
}

impl<T> JsonSchema for Sensitive<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sensitive".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "null", "description": "A secret; never written in clear." })
    }
}

#[cfg(test)]
mod tests {
    use super::Sensitive;

    #[test]
    fn nothing_but_reveal_shows_the_value() {
        let secret = Sensitive::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "(sensitive)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "null");
        assert_eq!(secret.reveal().map(String::as_str), Some("hunter2"));
    }
}
