//! Strict JSON: an object is an object, a string is a string, and no member stands twice.
//!
//! Derived deserialisers would also accept an array for an object, and their messages repeat the
//! input. The messages here name the field only.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_with::{MapPreventDuplicates, serde_as};

/// A value that is not decoded yet.
pub(super) type Raw = Box<RawValue>;

/// A text that is not JSON, or a value of another JSON type than its field has.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidJson(String);

/// The members of an object that are not decoded yet. An object with the same member twice is
/// refused: a client that names two WorkSpaces to wipe has not said which.
#[serde_as]
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Members(#[serde_as(as = "MapPreventDuplicates<_, _>")] BTreeMap<String, Raw>);

impl Members {
    const WANTED: &str = "an object, with each field once";

    /// No members.
    pub(super) fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Decodes a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, InvalidJson> {
        serde_json::from_slice(body).map_err(|error| match body {
            [] => InvalidJson("the body is empty".to_owned()),
            _ if error.is_data() => wrong_type("the body", Self::WANTED),
            _ => InvalidJson("the body is not valid JSON".to_owned()),
        })
    }

    /// Decodes a value that must be an object; `place` names it in the error.
    pub(super) fn read(value: &RawValue, place: &str) -> Result<Self, InvalidJson> {
        read(value, place, Self::WANTED)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take_string(&mut self, name: &str) -> Result<Option<String>, InvalidJson> {
        self.take(name, "a string")
    }

    pub(super) fn take_array(&mut self, name: &str) -> Result<Option<Vec<Raw>>, InvalidJson> {
        self.take(name, "an array")
    }

    pub(super) fn take_integer(&mut self, name: &str) -> Result<Option<i64>, InvalidJson> {
        self.take(name, "an integer")
    }

    /// Removes a member and decodes it. `null` counts as absent.
    fn take<T: for<'a> Deserialize<'a>>(
        &mut self,
        name: &str,
        wanted: &str,
    ) -> Result<Option<T>, InvalidJson> {
        let value = self.0.remove(name);
        value.map_or(Ok(None), |value| read(&value, name, wanted))
    }
}

/// Decodes a value that must be a string; `place` names it in the error.
pub(super) fn string(value: &RawValue, place: &str) -> Result<String, InvalidJson> {
    read(value, place, "a string")
}

fn read<T: for<'a> Deserialize<'a>>(
    value: &RawValue,
    place: &str,
    wanted: &str,
) -> Result<T, InvalidJson> {
    serde_json::from_str(value.get()).map_err(|_| wrong_type(place, wanted))
}

fn wrong_type(place: &str, wanted: &str) -> InvalidJson {
    InvalidJson(format!("{place} must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x(value: &str) -> Members {
        Members::parse(format!(r#"{{"x":{value}}}"#).as_bytes()).expect("an object")
    }

    #[test]
    fn a_member_that_stands_twice_is_refused() {
        for body in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"a":null,"a":1}"#] {
            let error = Members::parse(body.as_bytes()).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some("the body must be an object, with each field once"));
        }
        assert!(Members::parse(br#"{"a":{"b":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn a_member_has_its_type_or_is_absent() {
        for value in ["1", "[]", "{}", "true", r#"["text"]"#, r#""\ud800""#] {
            assert!(x(value).take_string("x").is_err(), "{value}");
        }
        for value in ["1", r#""[]""#, "{}", "true", r#"{"0":1}"#] {
            assert!(x(value).take_array("x").is_err(), "{value}");
        }
        for value in ["1.5", "1.0", "1e1", r#""1""#, "[1]", "9223372036854775808", "1e999"] {
            assert!(x(value).take_integer("x").is_err(), "{value}");
        }
        let mut null = x("null");
        assert!(matches!(null.take_string("x"), Ok(None)));
        assert!(null.is_empty(), "it was taken out");
        assert!(matches!(x("-7").take_integer("x"), Ok(Some(-7))));
        assert!(matches!(x(r#""\u0061""#).take_string("x"), Ok(Some(text)) if text == "a"));
    }
}
