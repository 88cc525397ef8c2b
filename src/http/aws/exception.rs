//! Failures as AWS clients see them.

use lambda_http::http::StatusCode;

use crate::error::{Fault, ListError};
use crate::http::body::InvalidBody;
use crate::http::failure::{Code, Failure};

/// A failure as an AWS client sees it.
#[derive(Debug)]
pub(super) struct Exception {
    /// The error shape, as in `__type`.
    pub(super) name: &'static str,
    pub(super) status: StatusCode,
    pub(super) failure: Failure,
}

impl Exception {
    fn new(name: &'static str, status: StatusCode, failure: Failure) -> Self {
        Self { name, status, failure }
    }

    pub(super) fn serialization(message: impl Into<String>) -> Self {
        let failure = Failure::invalid(message);
        Self::new("SerializationException", StatusCode::BAD_REQUEST, failure)
    }

    pub(super) fn validation(message: String) -> Self {
        Self::new("ValidationException", StatusCode::BAD_REQUEST, Failure::invalid(message))
    }

    pub(super) fn combination(message: impl Into<String>) -> Self {
        let failure = Failure::invalid(message);
        Self::new("InvalidParameterValuesException", StatusCode::BAD_REQUEST, failure)
    }

    pub(super) fn unknown_operation() -> Self {
        let message =
            "the operation is not known here; known are RebuildWorkspaces and DescribeWorkspaces";
        let failure = Failure::refusal(Code::UnknownOperation, message);
        Self::new("UnknownOperationException", StatusCode::BAD_REQUEST, failure)
    }

    pub(super) fn too_large(failure: Failure) -> Self {
        Self::new("RequestEntityTooLargeException", StatusCode::PAYLOAD_TOO_LARGE, failure)
    }

    pub(super) fn unavailable(failure: Failure) -> Self {
        Self::new("ServiceUnavailableException", StatusCode::SERVICE_UNAVAILABLE, failure)
    }

    pub(super) fn internal(failure: Failure) -> Self {
        Self::new("InternalFailure", StatusCode::INTERNAL_SERVER_ERROR, failure)
    }
}

impl From<InvalidBody> for Exception {
    fn from(error: InvalidBody) -> Self {
        Self::serialization(error.to_string())
    }
}

impl From<Fault> for Exception {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Throttled(_) => {
                Self::new("ThrottlingException", StatusCode::BAD_REQUEST, fault.into())
            }
            Fault::Unreachable(_) => Self::unavailable(fault.into()),
            Fault::Internal(_) => Self::internal(fault.into()),
        }
    }
}

impl From<ListError> for Exception {
    fn from(error: ListError) -> Self {
        match error {
            ListError::InvalidToken => Self::combination("NextToken is not one of this listing's"),
            ListError::Fault(fault) => fault.into(),
        }
    }
}
