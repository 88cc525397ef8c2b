//! What is wrong with a text that a type refuses.

/// A text that does not have the format of its type. The message continues a sentence that starts
/// with the name of the field.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFormat(pub String);
