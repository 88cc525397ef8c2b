//! Requests to the AWS CBOR face, as text.

#![no_main]

use fuzz::face;
use fuzz::request::Face;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if face::check(bytes, &Face::AwsCbor) { Corpus::Keep } else { Corpus::Reject }
});
