//! Reading JSON strictly: an object is an object, a string a string.
//!
//! Derived deserialisers would also take an array for an object, and their messages repeat the
//! input; these name the field only.

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::Error;

/// The members of an object.
pub type Members = Map<String, Value>;

/// The JSON object that a body is.
pub fn parse(body: &[u8]) -> Result<Members, Error> {
    match serde_json::from_slice(body) {
        Ok(Unambiguous(value)) => members(value, "the body"),
        Err(_) if body.is_empty() => Err(Error::Malformed("the body is empty".to_owned())),
        Err(error) if error.is_data() => {
            Err(Error::Malformed("the body has a field twice".to_owned()))
        }
        Err(_) => Err(Error::Malformed("the body is not valid JSON".to_owned())),
    }
}

/// A JSON value in which no object has a member twice. Of two, `Value` would take the last, and
/// who asks for one WorkSpace to be wiped, then for another, has not said which.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnambiguousVisitor).map(Self)
    }
}

struct UnambiguousVisitor;

impl<'de> Visitor<'de> for UnambiguousVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Unambiguous(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Members::new();
        while let Some((name, Unambiguous(value))) = members.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("a member twice"));
            }
        }
        Ok(object.into())
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
