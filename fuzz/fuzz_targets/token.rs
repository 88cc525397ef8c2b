//! A listing refuses every token but its own, and continues from any of those.

#![no_main]

use fuzz::request::Request;
use fuzz::system::with_system;
use lambda_http::http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use rebuild_workspaces::token::Listing;

type Query = [(&'static str, &'static str)];

/// Path and query of each listing, and its name and filters in tokens.
const LISTINGS: [(&str, &Query, &str, &[&str]); 7] = [
    ("/workspaces", &[], "workspaces", &[]),
    ("/directories/d-906700a1b2/workspaces", &[], "workspaces", &["directory", "d-906700a1b2"]),
    (
        "/directories/d-906700a1b2/workspaces",
        &[("user_name", "bo")],
        "workspaces",
        &["directory", "d-906700a1b2", "bo"],
    ),
    ("/workspaces", &[("bundle_id", "wsb-5e6f7g8h9")], "workspaces", &["bundle", "wsb-5e6f7g8h9"]),
    ("/rebuilds", &[], "open rebuilds", &[]),
    ("/workspaces/ws-requested0001/rebuilds", &[], "rebuilds", &["ws-requested0001"]),
    ("/rebuilds", &[("ended_on", "2025-01-01")], "ended rebuilds", &["2025-01-01"]),
];

fn place(listing: &Listing, token: &str) -> Option<String> {
    listing.place(Some(token), Some).ok().flatten()
}

// The first byte is the listing, and whether the rest is a token or where the page starts.
fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let number = usize::from(first & 7) % LISTINGS.len();
    let (path, query, name, filters) = LISTINGS[number];
    let listing = Listing::new(name, filters);
    let is_forged = first & 8 != 0;
    let token = if is_forged { listing.token(text) } else { text.to_owned() };
    let last = place(&listing, &token);
    assert!(!is_forged || last.as_deref() == Some(text));
    if let Some(last) = &last {
        assert_eq!(listing.token(last), token, "a token has one spelling");
        let others = LISTINGS.iter().enumerate().filter(|(other, _)| *other != number);
        for (_, (.., name, filters)) in others {
            assert_eq!(place(&Listing::new(name, filters), &token), None);
        }
    }
    let query = [query, &[("next_token", &token)]].concat();
    let (method, headers) = (Method::GET, HeaderMap::new());
    let request = Request { method, path, query, headers, body: b"" };
    let (answer, _) = with_system(|system| system.invoke(request.event()));
    // The text may still be no place in the listing.
    let expected: &[u16] = if last.is_some() { &[200, 400] } else { &[400] };
    assert!(expected.contains(&answer.status), "{listing:?} {text:?} {answer:?}");
});
