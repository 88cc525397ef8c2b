//! What a failed request to DynamoDB means: a failed condition, a fault, or an unknown outcome.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;

use crate::aws_http::never_sent;
use crate::error::Fault;

/// The failure of a write's condition, with the item that failed it, if there was one.
pub(super) fn condition_failure<R>(
    error: &SdkError<UpdateItemError, R>,
) -> Option<&ConditionalCheckFailedException> {
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(failure)) => Some(failure),
        Some(_) | None => None,
    }
}

/// A failed request that changed nothing.
pub(super) fn fault<E>(error: SdkError<E>) -> Fault
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    const BUSY: [&str; 6] = [
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ReplicatedWriteConflictException",
    ];
    if error.code().is_some_and(|code| BUSY.contains(&code)) {
        return Fault::Throttled(error.into());
    }
    let is_server_error =
        error.raw_response().is_some_and(|response| response.status().is_server_error());
    match &error {
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => {
            Fault::Unreachable(error.into())
        }
        SdkError::ServiceError(_) | SdkError::ResponseError(_) if is_server_error => {
            Fault::Unreachable(error.into())
        }
        _ => Fault::internal(error),
    }
}

/// Notes whether any attempt of one write may have landed unseen. The SDK reports only the last
/// attempt's error; this interceptor sees each.
///
/// An attempt certainly did nothing if it was never sent, or if DynamoDB refused it (4xx). A
/// timeout, a lost connection, a 5xx or an unreadable answer leave that open.
#[derive(Clone, Debug, Default)]
pub(super) struct Ambiguity(Arc<AtomicBool>);

impl Ambiguity {
    pub(super) fn is_ambiguous(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Ambiguity {
    fn name(&self) -> &'static str {
        "Ambiguity"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Err(error)) = context.output_or_error() {
            let was_refused =
                context.response().is_some_and(|response| response.status().is_client_error());
            let was_sent = !error.as_connector_error().is_some_and(|error| never_sent(error));
            if was_sent && !was_refused {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
