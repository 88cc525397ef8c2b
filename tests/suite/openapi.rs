//! `openapi.yaml` says what the envelope face answers, and nothing else. Every answer that any test gets
//! is compared with it, and every answer in it is made here.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::system::{Answer, Ask, System};
use crate::wire::Attempt::{Answered, Through};

/// The document, with every reference replaced by what it refers to.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = local::gateway::OPENAPI;
    let document: Value = serde_yaml_ng::from_str(text).expect("YAML");
    resolved(&document, &document)
});

fn resolved(node: &Value, document: &Value) -> Value {
    match node {
        Value::Object(members) => match members.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let target = document.pointer(&reference[1..]);
                resolved(target.unwrap_or_else(|| panic!("{reference} is missing")), document)
            }
            None => members
                .iter()
                .map(|(name, value)| (name.clone(), resolved(value, document)))
                .collect::<Map<_, _>>()
                .into(),
        },
        Value::Array(items) => items.iter().map(|item| resolved(item, document)).collect(),
        _ => node.clone(),
    }
}

/// Path, method and content of each operation.
fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths").iter();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").iter();
        let methods = methods.filter(|(method, _)| *method != "parameters");
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// The operation of a request, if it is one: the others are not found, or not allowed.
fn operation_of(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap_or_default();
    // A path of slashes only is not the root.
    let path = path.strip_suffix('/').filter(|rest| !["", "/"].contains(rest)).unwrap_or(path);
    let fits = |pattern: &str| {
        let (wanted, given): (Vec<_>, Vec<_>) =
            (pattern.split('/').collect(), path.split('/').collect());
        let mut pairs = wanted.iter().zip(&given);
        wanted.len() == given.len()
            && pairs.all(|(wanted, given)| {
                wanted == given || wanted.starts_with('{') && !given.is_empty()
            })
    };
    let mut found = operations().filter(|(pattern, verb, _)| {
        fits(pattern) && verb.eq_ignore_ascii_case(method) && !path.contains('%')
    });
    found.next().map(|(_, _, operation)| operation)
}

/// Fails if the document does not have this answer of the envelope face.
pub fn check(method: &str, path: &str, answer: &Answer) {
    if answer.header("content-type") != Some("application/json") {
        return;
    }
    let Some(operation) = operation_of(method, path) else { return };
    let body = answer.json();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    if message.ends_with("API Gateway could not take the request") {
        return;
    }
    let context = format!("{method} {path}: {} {body}", answer.status);
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "openapi.yaml does not have this answer: {context}");
    let documented = response["headers"].as_object().cloned().unwrap_or_default();
    for name in answer.headers.keys() {
        let always = ["content-type", "cache-control"].contains(&name.as_str());
        assert!(always || documented.contains_key(name), "header {name}: {context}");
    }
    let schema = closed(response["content"]["application/json"]["schema"].clone());
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    if let Err(error) = validator.validate(&body) {
        panic!("openapi.yaml describes another answer: {error}\n{context}");
    }
}

/// The schema without members that it does not name: what the document leaves to later versions, this
/// one must not have.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            for value in members.values_mut() {
                *value = closed(value.take());
            }
            if members.get("type") == Some(&json!("object")) {
                members.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = closed(item.take())),
        _ => {}
    }
    schema
}

/// The codes of a documented response; none for a success.
fn codes(response: &Value) -> Vec<&str> {
    let schema = &response["content"]["application/json"]["schema"];
    let codes = &schema["properties"]["error"]["properties"]["code"]["enum"];
    codes.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

const DIRECTORY: &str = "d-906700a1b2";

/// A request for an operation of this WorkSpace and rebuild.
fn ask(path: &str, method: &'static str, id: &str, rebuild: &str) -> Ask {
    let path = path.replace("{WorkspaceId}", id).replace("{DirectoryId}", DIRECTORY);
    let path = path.replace("{id}", rebuild);
    if path == "/" { Ask::rebuild(id) } else { Ask::new(method, &path) }
}

fn verb(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "DELETE"]
        .into_iter()
        .find(|verb| verb.eq_ignore_ascii_case(method))
        .expect("a method")
}

/// Requests that make an operation give a status. The last one does.
async fn asks(
    system: &System,
    path: &str,
    method: &'static str,
    status: &str,
    code: &str,
) -> Vec<Ask> {
    let id = "ws-available0001";
    let reason = json!({ "Reason": "ticket 4711" });
    let with_reason = |ask: Ask| match path {
        "/" => Ask::post(
            json!({ "RebuildWorkspaceRequests": [{ "WorkspaceId": id }], "Reason": "ticket 4711" })
                .to_string(),
        ),
        _ => Ask::json(method, ask.path(), &reason),
    };
    let is_rebuild = path.ends_with("/{id}");
    let rebuild = match (is_rebuild, status) {
        (true, "200" | "409" | "503" | "504" | "500") => {
            let accepted = system.send(&Ask::rebuild(id)).await;
            if status == "409" {
                system.end_rebuild().await;
            }
            accepted.id()
        }
        _ => "01941f29-7c00-7000-8000-000000000001".to_owned(),
    };
    let good = ask(path, method, id, &rebuild);
    match (status, code) {
        ("400", _) if path.contains("{WorkspaceId}") => vec![ask(path, method, "ws-x", &rebuild)],
        ("400", _) if path == "/" => vec![Ask::post("{}")],
        ("400", _) => vec![Ask::new(method, &format!("{}?limit=0", good.path()))],
        ("404", _) => vec![ask(path, method, "ws-nosuchone0001", &rebuild)],
        ("409", "INVALID_WORKSPACE_STATE") => vec![ask(path, method, "ws-starting0001", &rebuild)],
        ("409", "WORKSPACE_PROTECTED") => {
            vec![Ask::new("PUT", &format!("/workspaces/{id}/protection")), good]
        }
        ("413", _) => {
            vec![Ask::json(method, good.path(), &json!({ "Reason": "x".repeat(17_000) }))]
        }
        ("415", _) => {
            vec![
                Ask::json(method, good.path(), &reason)
                    .without("content-type")
                    .with("content-type", "text/plain"),
            ]
        }
        ("422", _) => {
            let key = |ask: Ask| ask.with("idempotency-key", "k1");
            vec![key(good.clone()), key(with_reason(good))]
        }
        _ => vec![good],
    }
}

#[tokio::test]
async fn every_documented_answer_is_given() {
    for (path, method, operation) in operations() {
        for (status, response) in operation["responses"].as_object().expect("responses") {
            if response["x-answered-by"] == "API Gateway" {
                continue;
            }
            let mut codes = codes(response);
            if codes.is_empty() {
                codes = vec![""];
            }
            for code in codes {
                let system = System::start().await;
                let mut asks = asks(&system, path, verb(method), status, code).await;
                let last = asks.pop().expect("a request");
                for ask in asks {
                    system.send(&ask).await;
                }
                system.wire.script(&[match status.as_str() {
                    "500" => Answered(400, "AccessDeniedException"),
                    "503" => Answered(400, "ThrottlingException"),
                    "504" => Answered(500, "InternalServerError"),
                    _ => Through,
                }]);
                let answer = system.send(&last).await;
                let context = format!("{method} {path} {status} {code}: {answer:?}");
                assert_eq!(answer.status.to_string(), *status, "{context}");
                assert_eq!(
                    answer.json()["error"]["code"].as_str().unwrap_or_default(),
                    code,
                    "{context}"
                );
            }
        }
    }
}

/// An operation within a directory differs in its id, its texts and its parameters only.
#[test]
fn operations_within_a_directory_are_the_same() {
    let mut count = 0;
    for (path, method, operation) in operations() {
        let Some(outside) = path.strip_prefix("/directories/{DirectoryId}") else { continue };
        let other = &DOCUMENT["paths"][outside][method];
        for part in ["responses", "requestBody", "tags"] {
            assert_eq!(operation[part], other[part], "{method} {path}: {part}");
        }
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn operations_have_names_of_their_own() {
    let names: Vec<_> = operations().map(|(_, _, operation)| &operation["operationId"]).collect();
    let different: BTreeSet<_> = names.iter().map(ToString::to_string).collect();
    assert_eq!(different.len(), names.len());
}

#[tokio::test]
async fn the_examples_of_bodies_are_accepted() {
    let mut count = 0;
    for (path, method, operation) in operations() {
        let body = &operation["requestBody"]["content"]["application/json"]["example"];
        if body.is_object() {
            let system = System::start().await;
            let path = ask(path, verb(method), "ws-available0001", "").path().to_owned();
            let answer = system.send(&Ask::json(verb(method), &path, body)).await;
            assert!([200, 202].contains(&answer.status), "{method} {path}: {answer:?}");
            count += 1;
        }
    }
    assert_eq!(count, 5);
}

/// The local run serves the document.
#[tokio::test]
async fn the_document_is_served() {
    let system = System::start().await;
    let answer = system.send(&Ask::get("/openapi.yaml")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/yaml")));
    assert_eq!(answer.body, local::gateway::OPENAPI.as_bytes());
}
