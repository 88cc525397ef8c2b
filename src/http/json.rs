//! Reading JSON strictly: an object is an object, a string a string.
//!
//! Derived deserialisers would also take an array for an object, and their messages repeat the
//! input; these name the field only.

use serde_json::{Map, Value};

use crate::error::Error;

/// The members of an object.
pub type Members = Map<String, Value>;

/// The JSON object that a body is.
pub fn parse(body: &[u8]) -> Result<Members, Error> {
    match serde_json::from_slice(body) {
        Ok(value) => members(value, "the body"),
        Err(_) if body.is_empty() => Err(Error::Malformed("the body is empty".to_owned())),
        Err(_) => Err(Error::Malformed("the body is not valid JSON".to_owned())),
    }
}

/// The object that a value is; `place` names it.
pub fn members(value: Value, place: &str) -> Result<Members, Error> {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(wrong_type(place, "an object")),
    }
}

/// Takes a member out; JSON's `null` is as good as no member.
fn take(members: &mut Members, name: &str) -> Option<Value> {
    members.remove(name).filter(|value| !value.is_null())
}

/// Takes a string out.
pub fn take_string(members: &mut Members, name: &str) -> Result<Option<String>, Error> {
    match take(members, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(name, "a string")),
    }
}

/// Takes an array out.
pub fn take_array(members: &mut Members, name: &str) -> Result<Option<Vec<Value>>, Error> {
    match take(members, name) {
        None => Ok(None),
        Some(Value::Array(values)) => Ok(Some(values)),
        Some(_) => Err(wrong_type(name, "an array")),
    }
}

/// Takes an integer out.
pub fn take_integer(members: &mut Members, name: &str) -> Result<Option<i64>, Error> {
    match take(members, name) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| wrong_type(name, "an integer")),
    }
}

/// The error of a value that has another JSON type than it should.
pub fn wrong_type(place: &str, wanted: &str) -> Error {
    Error::Malformed(format!("{place} must be {wanted}"))
}
