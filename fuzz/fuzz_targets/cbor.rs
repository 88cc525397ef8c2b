//! A body in CBOR is refused, or means the same as the JSON that another decoder makes of it.

#![no_main]

use fuzz::cbor::to_json;
use fuzz::request::Request;
use fuzz::system::{System, with_system};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const LIMIT: usize = 16 * 1024;

// The first byte is the operation, the rest is the body.
fuzz_target!(|bytes: &[u8]| {
    if let Some((first, body)) = bytes.split_first() {
        let operation = if *first == b'r' { "RebuildWorkspaces" } else { "DescribeWorkspaces" };
        with_system(|system| compare(system, operation, body));
    }
});

fn compare(system: &System, operation: &str, body: &[u8]) {
    let path = format!("/service/WorkspacesService/operation/{operation}");
    let headers = [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
    let (answer, in_cbor) = system.invoke(Request::aws(&path, &headers, body).event());
    let shown = to_json(&answer.body).expect("CBOR");
    let is_decoded = shown["message"] != "the body is not valid CBOR";
    if body.is_empty() || body.len() > LIMIT || !is_decoded {
        return;
    }
    let json = to_json(body).expect("the other decoder takes it").to_string();
    if json.len() > LIMIT {
        return;
    }
    let target = format!("WorkspacesService.{operation}");
    let request = Request::aws("/", &[("x-amz-target", &target)], json.as_bytes());
    let (other, in_json) = system.invoke(request.event());
    let mut expected: Value = serde_json::from_slice(&other.body).expect("JSON");
    if let Some(name) = expected["__type"].as_str() {
        expected["__type"] = format!("com.amazonaws.workspaces#{name}").into();
    }
    assert_eq!((answer.status, shown), (other.status, expected), "{json}");
    // A rebuild has a new id each time.
    let asked = |seen: &[fuzz::aws::Seen]| {
        let asked = seen.iter().map(|seen| match &*seen.operation {
            "UpdateItem" => seen.body["Key"].clone(),
            _ => json!([seen.operation, seen.body]),
        });
        asked.collect::<Vec<_>>()
    };
    assert_eq!(asked(&in_cbor), asked(&in_json), "{json}");
}
