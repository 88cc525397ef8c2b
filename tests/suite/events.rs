//! Sends each event in `events/` to its function, as Lambda would, and compares the answer with the
//! file beside the event. (`scripts/sam-local.py` does the same with the built functions.)

use std::path::Path;

use serde_json::Value;

use crate::announce::Bus;
use crate::system::System;

/// The event of the preview function.
pub const PREVIEW: &str = "/preview.json";

/// The event that is no request.
const ENDED: &str = "/ended.json";

#[tokio::test]
async fn each_event_gets_its_expected_answer() {
    let system = System::start().await;
    let mut count = 0;
    for (name, event, expected) in all() {
        let event = serde_json::from_str(&event).expect("JSON");
        let response = system.invoke(&event).await;
        assert_eq!(answer_of(&response), expected, "{name}");
        count += 1;
    }
    assert!(count > 0, "no event was found");
}

#[tokio::test]
async fn the_event_of_an_ended_rebuild_is_announced() {
    let bus = Bus::start().await;
    let (_, event, expected) = of_announcements();
    let batch = serde_json::from_str(&event).expect("a batch");
    let answer = bus.announcer.announce(batch).await;
    assert_eq!(serde_json::to_value(answer).expect("JSON"), expected);
    assert_eq!(bus.taken().len(), 1);
}

/// Name, text and expected answer of each event of the API.
pub fn all() -> Vec<(String, String, Value)> {
    folder().into_iter().filter(|(name, ..)| !name.ends_with(ENDED)).collect()
}

/// The same of the function that announces.
fn of_announcements() -> (String, String, Value) {
    folder().into_iter().find(|(name, ..)| name.ends_with(ENDED)).expect("an event")
}

fn folder() -> Vec<(String, String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let files = std::fs::read_dir(folder).expect("the events");
    let paths = files.map(|file| file.expect("a file").path());
    let events =
        paths.filter(|path| !path.with_extension("").to_string_lossy().ends_with(".expected"));
    let read = |path: &Path| std::fs::read_to_string(path).expect("a text");
    events
        .map(|path| {
            let expected = read(&path.with_extension("expected.json"));
            let expected = serde_json::from_str(&expected).expect("JSON");
            (path.display().to_string(), read(&path), expected)
        })
        .collect()
}

/// A Lambda response in the form of the `.expected.json` files: one value for each header, a body in
/// JSON parsed, generated values replaced by `<id>` and `<time>`.
fn answer_of(response: &Value) -> Value {
    let headers = response["multiValueHeaders"].as_object().expect("headers").iter();
    let headers = headers.map(|(name, values)| (name.clone(), values[0].clone()));
    let mut answer = serde_json::json!({
        "statusCode": response["statusCode"],
        "headers": headers.collect::<serde_json::Map<_, _>>(),
    });
    if response["isBase64Encoded"] == true {
        answer["body"] = response["body"].clone();
        answer["isBase64Encoded"] = true.into();
        return answer;
    }
    let body: Value =
        serde_json::from_str(response["body"].as_str().expect("a text")).expect("JSON");
    let generated = ["id", "created_at", "checked_at"];
    let generated = generated.map(|name| body["data"][name].as_str().map(str::to_owned));
    answer["body"] = body;
    let mut text = answer.to_string();
    for (value, placeholder) in generated.iter().zip(["<id>", "<time>", "<time>"]) {
        if let Some(value) = value {
            text = text.replace(value.as_str(), placeholder);
        }
    }
    serde_json::from_str(&text).expect("still JSON")
}
