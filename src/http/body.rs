//! The members of a request's body, in JSON or CBOR.
//!
//! Strict: an object is an object, a string is a string, and no member stands twice. Derived
//! deserialisers would also accept an array for an object, and their messages repeat the input. The
//! messages here name the field only.

pub(super) mod cbor;
pub(super) mod json;

use std::collections::BTreeMap;

/// A value that is not decoded yet. `None` says that it has another type than the one asked for.
pub(super) trait Encoded: Sized {
    /// The members of a body that is an object.
    fn parse(body: &[u8]) -> Result<Option<BTreeMap<String, Self>>, InvalidBody>;
    fn is_null(&self) -> bool;
    /// The members of an object. An object with the same member twice is none: a client that names
    /// two WorkSpaces to wipe has not said which.
    fn into_object(self) -> Option<BTreeMap<String, Self>>;
    fn into_array(self) -> Option<Vec<Self>>;
    fn into_string(self) -> Option<String>;
    fn into_integer(self) -> Option<i64>;
    fn into_bool(self) -> Option<bool>;
}

/// A body that is not in its encoding, or a value of another type than its field has.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidBody(pub(super) String);

/// The members of an object that are not decoded yet.
pub(super) struct Members<V>(BTreeMap<String, V>);

impl<V: Encoded> Members<V> {
    /// The members of a body, which must be an object.
    pub(super) fn parse(body: &[u8]) -> Result<Self, InvalidBody> {
        Self::of(V::parse(body)?, "the body")
    }

    /// The members of a body; none if it is empty.
    pub(super) fn parse_optional(body: &[u8]) -> Result<Self, InvalidBody> {
        if body.is_empty() { Ok(Self(BTreeMap::new())) } else { Self::parse(body) }
    }

    /// The members of a value that must be an object; `place` names it in the error.
    pub(super) fn of(
        object: Option<BTreeMap<String, V>>,
        place: &str,
    ) -> Result<Self, InvalidBody> {
        expect(object, place, "an object, with each field once").map(Self)
    }

    /// Refuses the remaining members; `place` and `known` name their place and the known members.
    pub(super) fn end(self, place: &str, known: &str) -> Result<(), InvalidBody> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(InvalidBody(format!("{place} has an unknown field; {known}")))
    }

    pub(super) fn take_string(&mut self, name: &str) -> Result<Option<String>, InvalidBody> {
        self.take(name, |value| string(value, name))
    }

    pub(super) fn take_array(&mut self, name: &str) -> Result<Option<Vec<V>>, InvalidBody> {
        self.take(name, |value| expect(value.into_array(), name, "an array"))
    }

    pub(super) fn take_integer(&mut self, name: &str) -> Result<Option<i64>, InvalidBody> {
        self.take(name, |value| expect(value.into_integer(), name, "an integer"))
    }

    pub(super) fn take_bool(&mut self, name: &str) -> Result<Option<bool>, InvalidBody> {
        self.take(name, |value| expect(value.into_bool(), name, "true or false"))
    }

    /// Removes a member and decodes it. `null` counts as absent.
    fn take<T>(
        &mut self,
        name: &str,
        decode: impl FnOnce(V) -> Result<T, InvalidBody>,
    ) -> Result<Option<T>, InvalidBody> {
        let value = self.0.remove(name).filter(|value| !value.is_null());
        value.map(decode).transpose()
    }
}

/// Decodes a value that must be a string; `place` names it in the error.
pub(super) fn string(value: impl Encoded, place: &str) -> Result<String, InvalidBody> {
    expect(value.into_string(), place, "a string")
}

fn expect<T>(value: Option<T>, place: &str, wanted: &str) -> Result<T, InvalidBody> {
    value.ok_or_else(|| InvalidBody(format!("{place} must be {wanted}")))
}
