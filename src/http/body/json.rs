//! JSON bodies.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_with::{MapPreventDuplicates, serde_as};

use super::{Encoded, InvalidBody};

pub(in crate::http) const MEDIA_TYPE: &str = "application/json";

/// A JSON value that is not decoded yet.
pub(in crate::http) type Json = Box<RawValue>;

#[serde_as]
#[derive(Deserialize)]
#[serde(transparent)]
struct Object(#[serde_as(as = "MapPreventDuplicates<_, _>")] BTreeMap<String, Json>);

impl Encoded for Json {
    fn parse(body: &[u8]) -> Result<Option<BTreeMap<String, Self>>, InvalidBody> {
        match serde_json::from_slice::<Object>(body) {
            Ok(object) => Ok(Some(object.0)),
            Err(error) if error.is_data() => Ok(None),
            Err(_) if body.is_empty() => Err(InvalidBody("the body is empty".to_owned())),
            Err(_) => Err(InvalidBody("the body is not valid JSON".to_owned())),
        }
    }

    fn is_null(&self) -> bool {
        self.get() == "null"
    }

    fn into_object(self) -> Option<BTreeMap<String, Self>> {
        let object: Option<Object> = decode(&self);
        object.map(|object| object.0)
    }

    fn into_array(self) -> Option<Vec<Self>> {
        decode(&self)
    }

    fn into_string(self) -> Option<String> {
        decode(&self)
    }

    fn into_bool(self) -> Option<bool> {
        decode(&self)
    }

    /// JSON has one type of numbers, so `24.0` is an integer, as in JSON Schema.
    fn into_integer(self) -> Option<i64> {
        decode(&self).or_else(|| {
            let number: f64 = decode(&self)?;
            if number.fract() == 0.0 { format!("{number:.0}").parse().ok() } else { None }
        })
    }
}

fn decode<T: for<'a> Deserialize<'a>>(value: &RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body::Members;

    fn parse(body: &[u8]) -> Result<Members<Json>, InvalidBody> {
        Members::parse(body)
    }

    fn x(value: &str) -> Members<Json> {
        parse(format!(r#"{{"x":{value}}}"#).as_bytes()).expect("an object")
    }

    #[test]
    fn a_member_that_stands_twice_is_refused() {
        for body in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"a":null,"a":1}"#] {
            let error = parse(body.as_bytes()).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some("the body must be an object, with each field once"));
        }
        assert!(parse(br#"{"a":{"b":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn a_member_has_its_type_or_is_absent() {
        for value in ["1", "[]", "{}", "true", r#"["text"]"#, r#""\ud800""#] {
            assert!(x(value).take_string("x").is_err(), "{value}");
        }
        for value in ["1", r#""[]""#, "{}", "true", r#"{"0":1}"#] {
            assert!(x(value).take_array("x").is_err(), "{value}");
        }
        for value in ["1.5", "1e-1", r#""1""#, "[1]", "9223372036854775808", "1e300", "1e999"] {
            assert!(x(value).take_integer("x").is_err(), "{value}");
        }
        let mut null = x("null");
        assert!(matches!(null.take_string("x"), Ok(None)));
        assert!(null.end("x", "").is_ok(), "it was taken out");
        for value in ["-7", "-7.0", "-70e-1"] {
            assert!(matches!(x(value).take_integer("x"), Ok(Some(-7))), "{value}");
        }
        assert!(matches!(x(r#""\u0061""#).take_string("x"), Ok(Some(text)) if text == "a"));
    }
}
