//! Properties that hold for a body in either protocol.

use ciborium::Value as Cbor;
use lambda_http::http::StatusCode;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::exception::Exception;
use super::input::{Input, Operation};
use crate::http::body::json::Json as RawJson;
use crate::http::body::{Encoded, Members};

/// What is asked for; or the error's name and message.
type Decoded = Result<String, (&'static str, String)>;

fn decode_json(operation: Operation, body: &[u8]) -> Decoded {
    decode::<RawJson>(operation, body)
}

fn decode_cbor(operation: Operation, body: &[u8]) -> Decoded {
    decode::<Cbor>(operation, body)
}

fn decode<V: Encoded>(operation: Operation, body: &[u8]) -> Decoded {
    let input = Members::<V>::parse(body).and_then(|members| Input::of(operation, members));
    input.map_err(Exception::from).and_then(Input::check).map_err(|exception| {
        let Exception { name, status, failure } = exception;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let names =
            ["SerializationException", "ValidationException", "InvalidParameterValuesException"];
        assert!(names.contains(&name), "{name}");
        (name, failure.message)
    })
}

fn to_bytes(value: &Cbor) -> Vec<u8> {
    let mut bytes = vec![];
    ciborium::into_writer(value, &mut bytes).expect("a vector takes all bytes");
    bytes
}

/// The same value in JSON. What JSON cannot say becomes a boolean, which is no member's type.
fn to_json(value: &Cbor) -> Json {
    match value {
        Cbor::Null => Json::Null,
        Cbor::Integer(integer) => i64::try_from(*integer).map_or(Json::Bool(false), Json::from),
        Cbor::Text(text) => text.as_str().into(),
        Cbor::Array(values) => values.iter().map(to_json).collect(),
        Cbor::Map(members) => {
            let object: serde_json::Map<_, _> = members
                .iter()
                .filter_map(|(name, value)| Some((name.as_text()?.to_owned(), to_json(value))))
                .collect();
            if object.len() == members.len() { object.into() } else { Json::Bool(false) }
        }
        _ => Json::Bool(false),
    }
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop::sample::select(vec![Operation::RebuildWorkspaces, Operation::DescribeWorkspaces])
}

fn any_text() -> impl Strategy<Value = String> {
    let ids = "(ws|d|wsd|wsb)-[0-9a-gA-Z]{6,70}";
    prop_oneof![ids, "RAW[ -~]{0,70}", "RAW\\PC{0,70}", Just(String::new())]
}

/// Any CBOR, with the names and types of the API's members more often than not.
fn any_cbor() -> impl Strategy<Value = Cbor> {
    let integers = prop_oneof![
        any::<i64>().prop_map(Cbor::from),
        any::<u64>().prop_map(Cbor::from),
        (0..30_i64).prop_map(Cbor::from),
    ];
    let leaf = prop_oneof![
        Just(Cbor::Null),
        any::<bool>().prop_map(Cbor::from),
        integers,
        any::<f64>().prop_map(Cbor::from),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Cbor::from),
        any_text().prop_map(Cbor::from),
        any_text().prop_map(Cbor::from),
    ];
    let names = prop::sample::select(vec![
        "RebuildWorkspaceRequests",
        "WorkspaceId",
        "WorkspaceIds",
        "DirectoryId",
        "UserName",
        "BundleId",
        "Limit",
        "NextToken",
        "WorkspaceName",
        "Other",
    ]);
    leaf.prop_recursive(4, 40, 4, move |inner| {
        let name = prop_oneof![
            20 => names.clone().prop_map(Cbor::from),
            1 => inner.clone(),
        ];
        // Tags 2 and 3 are big integers, which may well be small enough for a Limit.
        let tag = prop::sample::select(vec![0, 1, 4, 24, 55_799]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Cbor::from),
            prop::collection::vec((name.clone(), inner.clone()), 0..4).prop_map(Cbor::Map),
            prop::collection::vec((name, inner.clone()), 0..4).prop_map(Cbor::Map),
            (tag, inner).prop_map(|(tag, value)| Cbor::Tag(tag, Box::new(value))),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_means_the_same_in_both_encodings(operation in any_operation(), value in any_cbor()) {
        let from_cbor = decode_cbor(operation, &to_bytes(&value));
        let from_json = decode_json(operation, to_json(&value).to_string().as_bytes());
        prop_assert_eq!(from_cbor, from_json);
    }

    #[test]
    fn any_text_is_refused_by_name_without_repeating_it(
        operation in any_operation(), text in any_text(),
    ) {
        for decoded in [decode_json(operation, text.as_bytes()), decode_cbor(operation, text.as_bytes())] {
            let (_, message) = decoded.expect_err("a text is no object");
            prop_assert!(!message.is_empty() && !message.contains("RAW"), "{}", message);
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_what_it_refuses(operation in any_operation(), value in any_cbor()) {
        if let Err((_, message)) = decode_cbor(operation, &to_bytes(&value)) {
            prop_assert!(!message.is_empty() && !message.contains("RAW"), "{}", message);
        }
    }

    /// Cut off, changed in one place, or followed by more.
    #[test]
    fn damaged_cbor_is_decoded_or_refused(
        operation in any_operation(), value in any_cbor(),
        place in any::<prop::sample::Index>(), byte: u8, rest in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let mut bytes = to_bytes(&value);
        let place = place.index(bytes.len());
        let invalid = ("SerializationException", "the body is not valid CBOR".to_owned());
        prop_assert_eq!(decode_cbor(operation, &bytes[..place]), Err(invalid.clone()));
        prop_assert_eq!(decode_cbor(operation, &[&bytes[..], &rest].concat()), Err(invalid));
        bytes[place] = byte;
        let _ = decode_cbor(operation, &bytes);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(
        operation in any_operation(), bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode_cbor(operation, &bytes);
        let _ = decode_json(operation, &bytes);
    }
}
