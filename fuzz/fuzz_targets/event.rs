//! Any event of the API: an answer of one of the faces.

#![no_main]

use fuzz::aws::has_secret;
use fuzz::system::with_system;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if has_secret(bytes) {
        return Corpus::Reject;
    }
    let Ok(event) = serde_json::from_slice(bytes) else { return Corpus::Reject };
    with_system(|system| system.invoke(event));
    Corpus::Keep
});
