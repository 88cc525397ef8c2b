//! CBOR bodies (RFC 8949).

use std::collections::BTreeMap;

use ciborium::Value;
use ciborium::de::from_reader_with_recursion_limit;

use super::members::{Encoded, InvalidBody, Members};

/// How deep values may be nested.
const DEPTH: usize = 128;

/// The members of a body.
pub(super) fn parse(mut body: &[u8]) -> Result<Members<Value>, InvalidBody> {
    let value = from_reader_with_recursion_limit::<Value, _>(&mut body, DEPTH).ok();
    let value = value.filter(|_| body.is_empty());
    let value = value.ok_or_else(|| InvalidBody("the body is not valid CBOR".to_owned()))?;
    Members::of(value.into_object(), "the body")
}

impl Encoded for Value {
    fn is_null(&self) -> bool {
        Self::is_null(self)
    }

    fn into_object(self) -> Option<BTreeMap<String, Self>> {
        let mut members = BTreeMap::new();
        for (name, value) in self.into_map().ok()? {
            let is_new = members.insert(name.into_text().ok()?, value).is_none();
            if !is_new {
                return None;
            }
        }
        Some(members)
    }

    fn into_array(self) -> Option<Vec<Self>> {
        Self::into_array(self).ok()
    }

    fn into_string(self) -> Option<String> {
        self.into_text().ok()
    }

    fn into_integer(self) -> Option<i64> {
        Self::into_integer(self).ok()?.try_into().ok()
    }
}
