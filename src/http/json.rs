//! Reading JSON strictly: an object is an object, a string a string, a member there once.
//!
//! Derived deserialisers would also take an array for an object, and their messages repeat the
//! input; these name the field only.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_with::{MapPreventDuplicates, serde_as};

use crate::error::Error;

/// A value that is not read yet.
pub type Raw = Box<RawValue>;

/// The members of an object that are not read yet. A member that is there twice is refused: who
/// asks for one WorkSpace to be wiped, then for another, has not said which.
#[serde_as]
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Members(#[serde_as(as = "MapPreventDuplicates<_, _>")] BTreeMap<String, Raw>);

/// The JSON object that a body is.
pub fn parse(body: &[u8]) -> Result<Members, Error> {
    let object = "an object, with each field once";
    serde_json::from_slice(body).map_err(|error| match body {
        [] => Error::Malformed("the body is empty".to_owned()),
        _ if error.is_data() => wrong_type("the body", object),
        _ => Error::Malformed("the body is not valid JSON".to_owned()),
    })
}

/// Reads a value; `place` names it, and `wanted` says what it must be.
fn read<'a, T: Deserialize<'a>>(
    value: &'a RawValue,
    place: &str,
    wanted: &str,
) -> Result<T, Error> {
    serde_json::from_str(value.get()).map_err(|_| wrong_type(place, wanted))
}

fn wrong_type(place: &str, wanted: &str) -> Error {
    Error::Malformed(format!("{place} must be {wanted}"))
}

/// The object that a value is.
pub fn members(value: &RawValue, place: &str) -> Result<Members, Error> {
    read(value, place, "an object, with each field once")
}

/// The string that a value is.
pub fn string(value: &RawValue, place: &str) -> Result<String, Error> {
    read(value, place, "a string")
}

impl Members {
    /// Whether all of them were taken out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a member out; JSON's `null` is as good as no member.
    fn take<T: for<'a> Deserialize<'a>>(
        &mut self,
        name: &str,
        wanted: &str,
    ) -> Result<Option<T>, Error> {
        let value = self.0.remove(name);
        value.map_or(Ok(None), |value| read(&value, name, wanted))
    }

    /// Takes a string out.
    pub fn take_string(&mut self, name: &str) -> Result<Option<String>, Error> {
        self.take(name, "a string")
    }

    /// Takes an array out.
    pub fn take_array(&mut self, name: &str) -> Result<Option<Vec<Raw>>, Error> {
        self.take(name, "an array")
    }

    /// Takes an integer out.
    pub fn take_integer(&mut self, name: &str) -> Result<Option<i64>, Error> {
        self.take(name, "an integer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x(value: &str) -> Members {
        parse(format!(r#"{{"x":{value}}}"#).as_bytes()).expect("an object")
    }

    #[test]
    fn no_object_has_a_member_twice() {
        for body in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"a":null,"a":1}"#] {
            let error = parse(body.as_bytes()).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some("the body must be an object, with each field once"));
        }
        assert!(parse(br#"{"a":{"b":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn a_member_is_of_its_type_or_absent() {
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
        assert!(null.is_empty(), "taken out all the same");
        assert!(matches!(x("-7").take_integer("x"), Ok(Some(-7))));
        assert!(matches!(x(r#""\u0061""#).take_string("x"), Ok(Some(text)) if text == "a"));
    }
}
