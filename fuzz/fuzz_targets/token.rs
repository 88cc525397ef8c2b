//! A listing refuses every token but its own, and continues from any of those.

#![no_main]

use fuzz::request::Request;
use fuzz::system::with_system;
use lambda_http::http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use rebuild_workspaces::token::{decode, encode};

type Query = [(&'static str, &'static str)];

/// Path and query of each listing, and its name in tokens.
const LISTINGS: [(&str, &Query, &str); 6] = [
    ("/workspaces", &[], "All"),
    (
        "/directories/d-906700a1b2/workspaces",
        &[],
        r#"Directory { directory_id: DirectoryId("d-906700a1b2"), user_name: None }"#,
    ),
    (
        "/directories/d-906700a1b2/workspaces",
        &[("user_name", "bo")],
        r#"Directory { directory_id: DirectoryId("d-906700a1b2"), user_name: Some(UserName("bo")) }"#,
    ),
    ("/workspaces", &[("bundle_id", "wsb-5e6f7g8h9")], r#"Bundle(BundleId("wsb-5e6f7g8h9"))"#),
    ("/rebuilds", &[], "open rebuilds None"),
    ("/workspaces/ws-requested0001/rebuilds", &[], "rebuilds of ws-requested0001"),
];

// The first byte is the listing, and whether the rest is a token or where the page starts.
fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let (path, query, listing) = LISTINGS[usize::from(first & 7) % LISTINGS.len()];
    let is_forged = first & 8 != 0;
    let token = if is_forged { encode(listing, text) } else { text.to_owned() };
    let last = decode(listing, &token);
    assert!(!is_forged || last.as_deref() == Some(text));
    if let Some(last) = &last {
        assert_eq!(encode(listing, last), token, "a token has one spelling");
        for (.., other) in LISTINGS.iter().filter(|(.., other)| *other != listing) {
            assert_eq!(decode(other, &token), None);
        }
    }
    let query = [query, &[("next_token", &token)]].concat();
    let (method, headers) = (Method::GET, HeaderMap::new());
    let request = Request { method, path, query, headers, body: b"" };
    let (answer, _) = with_system(|system| system.invoke(request.event()));
    // The text may still be no place in the listing.
    let expected: &[u16] = if last.is_some() { &[200, 400] } else { &[400] };
    assert!(expected.contains(&answer.status), "{listing} {text:?} {answer:?}");
});
