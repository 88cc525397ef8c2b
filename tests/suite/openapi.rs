//! `openapi.yaml` says what the envelope face answers, and nothing else. Every answer that any test gets
//! is compared with it, and every answer in it is made here.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use jsonschema::Validator;
use rebuild_workspaces::timestamp::Timestamp;
use serde_json::{Map, Value, json};

use local::docs::OPENAPI;

use crate::events;
use crate::system::{Answer, Ask, System};
use crate::template::template;
use crate::wire::Attempt::{Answered, Through};

/// The document, with every reference replaced by what it refers to.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let document: Value = serde_yaml_ng::from_str(OPENAPI).expect("YAML");
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

/// Status and content of each answer of an operation.
fn responses(operation: &'static Value) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let responses = operation["responses"].as_object().expect("responses").iter();
    responses.map(|(status, response)| (status.as_str(), response))
}

/// Whether API Gateway gives this answer, and the function does not.
fn is_gateways(response: &Value) -> bool {
    response["x-answered-by"] == "API Gateway"
}

/// The JSON content of a request or an answer.
fn json_of(content: &'static Value) -> &'static Value {
    &content["content"]["application/json"]
}

/// What the document says about an answer.
struct Documented {
    headers: BTreeSet<&'static str>,
    body: Validator,
}

/// The answers by path, method and status.
static ANSWERS: LazyLock<HashMap<(&str, &str, &str), Documented>> = LazyLock::new(|| {
    let of_operation = |(path, method, operation)| {
        responses(operation).map(move |(status, response)| {
            let headers = response["headers"].as_object().into_iter().flatten();
            let schema = closed(json_of(response)["schema"].clone());
            let body = jsonschema::validator_for(&schema).expect("a schema");
            let headers = headers.map(|(name, _)| name.as_str()).collect();
            ((path, method, status), Documented { headers, body })
        })
    };
    operations().flat_map(of_operation).collect()
});

/// Path and method of the operation of a request, if it is one: the others are not found, or not
/// allowed.
fn operation_of(method: &str, path: &str) -> Option<(&'static str, &'static str)> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |pattern: &str| {
        let (wanted, given): (Vec<_>, Vec<_>) =
            (pattern.split('/').collect(), path.split('/').collect());
        let mut pairs = wanted.iter().zip(&given);
        wanted.len() == given.len()
            && pairs.all(|(wanted, given)| {
                wanted == given || wanted.starts_with('{') && !given.is_empty()
            })
    };
    let mut found = operations()
        .filter(|(pattern, verb, _)| fits(pattern) && verb.eq_ignore_ascii_case(method));
    found.next().map(|(pattern, verb, _)| (pattern, verb))
}

/// Fails if the document does not have this answer of the envelope face.
pub fn check(method: &str, path: &str, answer: &Answer) {
    if answer.header("content-type") != Some("application/json") {
        return;
    }
    let Some((pattern, verb)) = operation_of(method, path) else { return };
    let body = answer.json();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    if message.ends_with("API Gateway could not take the request") {
        return;
    }
    let context = format!("{method} {path}: {} {body}", answer.status);
    let status = answer.status.to_string();
    let Some(documented) = ANSWERS.get(&(pattern, verb, status.as_str())) else {
        panic!("openapi.yaml does not have this answer: {context}");
    };
    for name in answer.headers.keys().map(String::as_str) {
        let always = ["content-type", "cache-control"].contains(&name);
        assert!(always || documented.headers.contains(name), "header {name}: {context}");
    }
    if let Err(error) = documented.body.validate(&body) {
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

/// The codes of an answer; `[""]` for a success.
fn codes(response: &'static Value) -> Vec<&'static str> {
    let schema = &json_of(response)["schema"];
    let codes = schema["properties"]["error"]["properties"]["code"]["enum"].as_array();
    codes.map_or(vec![""], |codes| codes.iter().filter_map(Value::as_str).collect())
}

/// The body with `<id>` and `<time>` in place of the ids of rebuilds and times, which always differ.
fn comparable(body: &Value) -> Value {
    match body {
        Value::String(text) if text.parse::<uuid::Uuid>().is_ok() => "<id>".into(),
        Value::String(text) if Timestamp::try_from(text.clone()).is_ok() => "<time>".into(),
        Value::Array(items) => items.iter().map(comparable).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), comparable(value)));
            members.collect::<Map<_, _>>().into()
        }
        _ => body.clone(),
    }
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
    let of_one = path.ends_with("/{id}");
    let rebuild = match status {
        "200" | "409" | "503" | "504" | "500"
            if of_one || path.ends_with("/rebuilds") && method == "GET" =>
        {
            let path = format!("/workspaces/{id}/rebuilds");
            let accepted = system.send(&Ask::json("POST", &path, &reason)).await;
            if status == "409" || of_one && method == "GET" {
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
        ("404", "NOT_FOUND") => vec![Ask::new(method, &good.path().replace("00", "%30%30"))],
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
    let expected = events::all().into_iter().map(|(_, _, expected)| comparable(&expected["body"]));
    let mut given: Vec<_> = expected.collect();
    for (path, method, operation) in operations() {
        for (status, response) in responses(operation).filter(|(_, it)| !is_gateways(it)) {
            for code in codes(response) {
                let system = System::start().await;
                let mut asks = asks(&system, path, verb(method), status, code).await;
                let last = asks.pop().expect("a request");
                for ask in asks {
                    system.send(&ask).await;
                }
                let fault = match status {
                    "500" => Answered(400, "AccessDeniedException"),
                    "503" => Answered(400, "ThrottlingException"),
                    "504" => Answered(500, "InternalServerError"),
                    _ => Through,
                };
                // The end of a pause is a read before it is a write.
                let is_second = (path, method, status) == ("/pause", "delete", "504");
                let script = [Through, fault];
                system.wire.script(if is_second { &script } else { &script[1..] });
                let answer = system.send(&last).await;
                let context = format!("{method} {path} {status} {code}: {answer:?}");
                assert_eq!(answer.status.to_string(), *status, "{context}");
                let body = answer.json();
                let is = body["error"]["code"].as_str().unwrap_or_default();
                assert_eq!(is, code, "{context}");
                given.push(comparable(&body));
            }
        }
    }
    let unlike: BTreeSet<_> = operations()
        .flat_map(|(_, _, operation)| responses(operation))
        .filter(|(_, response)| !is_gateways(response))
        .map(|(_, response)| &json_of(response)["example"])
        .filter(|example| !given.contains(&comparable(example)))
        .map(ToString::to_string)
        .collect();
    assert!(unlike.is_empty(), "examples like no answer: {unlike:#?}");
}

/// What API Gateway answers by itself is in the template.
#[test]
fn the_answers_of_api_gateway_are_those_of_the_template() {
    let template = template();
    let answers = &template["Resources"]["Api"]["Properties"]["DefinitionBody"]["x-amazon-apigateway-gateway-responses"];
    let text_of = |name: &str| &answers[name]["responseTemplates"]["application/json"];
    let mut count = 0;
    for (path, method, operation) in operations() {
        for (status, response) in responses(operation).filter(|(_, it)| is_gateways(it)) {
            let name = match status {
                "403" => "ACCESS_DENIED",
                "429" => "THROTTLED",
                _ => panic!("API Gateway does not answer with {status}"),
            };
            let text = text_of(name).as_str().expect("a text");
            let answer: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(json_of(response)["example"], answer, "{method} {path} {status}");
            count += 1;
        }
    }
    assert_eq!(count, 2 * operations().count());
}

/// An operation within a directory differs in its id, its texts and its parameters only.
#[test]
fn operations_within_a_directory_are_the_same() {
    let mut count = 0;
    for (path, method, operation) in operations() {
        let Some(outside) = path.strip_prefix("/directories/{DirectoryId}") else { continue };
        let mut operation = operation.clone();
        if outside == "/workspaces" {
            // Only a path with an id can have a `%`.
            operation["responses"].as_object_mut().expect("responses").remove("404");
        }
        let other = &DOCUMENT["paths"][outside][method];
        for part in ["responses", "requestBody", "tags"] {
            assert_eq!(operation[part], other[part], "{method} {path}: {part}");
        }
        count += 1;
    }
    assert_eq!(count, 9);
}

#[test]
fn operations_have_names_of_their_own() {
    let names: Vec<_> = operations().map(|(_, _, operation)| &operation["operationId"]).collect();
    let different: BTreeSet<_> = names.iter().map(ToString::to_string).collect();
    assert_eq!(different.len(), names.len());
}

#[tokio::test]
async fn the_bodies_of_events_are_the_examples_and_accepted() {
    let of_event = |event: &str| serde_json::from_str::<Value>(event).expect("JSON")["body"].take();
    let bodies = events::all().into_iter().map(|(_, event, _)| of_event(&event));
    let bodies: Vec<Value> =
        bodies.filter_map(|body| serde_json::from_str(body.as_str()?).ok()).collect();
    let mut count = 0;
    for (path, method, operation) in operations() {
        let body = &json_of(&operation["requestBody"])["example"];
        if body.is_object() {
            assert!(bodies.contains(body), "no event has this body: {body}");
            let system = System::start().await;
            let path = ask(path, verb(method), "ws-available0001", "").path().to_owned();
            let answer = system.send(&Ask::json(verb(method), &path, body)).await;
            assert!([200, 202].contains(&answer.status), "{method} {path}: {answer:?}");
            count += 1;
        }
    }
    assert_eq!(count, 6);
}

#[tokio::test]
async fn the_document_and_its_page_are_served() {
    let system = System::start().await;
    for (path, content_type, content) in [
        ("/openapi.yaml", "application/yaml", OPENAPI),
        ("/docs", "text/html", r#"src="/docs/swagger-ui-bundle.js""#),
        ("/docs/", "text/html", r#"src="/docs/swagger-ui-bundle.js""#),
        ("/docs/swagger-ui-bundle.js", "text/javascript", "SwaggerUIBundle"),
        ("/docs/swagger-ui.css", "text/css", ".swagger-ui"),
    ] {
        let answer = system.send(&Ask::get(path)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
        assert!(String::from_utf8_lossy(&answer.body).contains(content), "{path}");
    }
    assert_eq!(system.send(&Ask::get("/docs/else")).await.status, 404);
    assert_eq!(system.send(&Ask::post("{}").at("/docs")).await.status, 404);
}
