//! Conditional writes, and what a failed request to DynamoDB means: a failed condition, a fault, or an
//! unknown outcome.

use std::cell::Cell;
use std::error::Error;

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;

use super::item::Item;
use crate::error::{Fault, Unconfirmed};
use crate::transport::never_sent;

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
        // A response error is an answer that broke off or is not DynamoDB's.
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ResponseError(_) => {
            Fault::Unreachable(error.into())
        }
        SdkError::ServiceError(_) if is_server_error => Fault::Unreachable(error.into()),
        _ => Fault::internal(error),
    }
}

/// What became of a conditional write.
pub(super) enum Written {
    /// It was made; the attributes that it was to return.
    Made(Option<Item>),
    /// Its condition failed on this item, or because there is none.
    Refused(Option<Item>),
}

/// Sends a conditional write. `to_error` says what any other error than a failed condition means.
async fn send<E>(
    request: UpdateItemFluentBuilder,
    to_error: impl FnOnce(SdkError<UpdateItemError>) -> E,
) -> Result<Written, E> {
    match request.send().await {
        Ok(output) => Ok(Written::Made(output.attributes)),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failure)) => {
                Ok(Written::Refused(failure.item.clone()))
            }
            Some(_) | None => Err(to_error(error)),
        },
    }
}

/// Sends a conditional write of a caller. `explain` says what became of the request; `unknown` makes its
/// error the cause of an outcome that is not known.
pub(super) async fn write_for_caller<T, E: From<Fault>>(
    request: UpdateItemFluentBuilder,
    explain: impl AsyncFnOnce(Written) -> Result<T, E>,
    unknown: impl FnOnce(E) -> E,
) -> Result<T, E> {
    let noted = async { (send(request, fault).await, IS_AMBIGUOUS.with(Cell::get)) };
    let (written, is_ambiguous) = IS_AMBIGUOUS.scope(Cell::new(false), noted).await;
    let explained = match written {
        Ok(written) => explain(written).await,
        Err(fault) => Err(fault.into()),
    };
    // An earlier attempt may have landed unseen, or may still land, whatever the last one met.
    explained.map_err(|error| if is_ambiguous { unknown(error) } else { error })
}

/// Sends a conditional write of the reconciler.
///
/// # Errors
/// It is not known whether it was made; the next pass reads the item anew.
pub(super) async fn write(request: UpdateItemFluentBuilder) -> Result<Written, Unconfirmed> {
    send(request, Unconfirmed::new).await
}

impl Written {
    /// Whether it was made.
    pub(super) fn is_made(&self) -> bool {
        matches!(self, Self::Made(_))
    }
}

tokio::task_local! {
    /// Whether any attempt of the current write may have landed unseen.
    static IS_AMBIGUOUS: Cell<bool>;
}

/// Looks at each attempt of a write; the SDK reports only the last attempt's error.
///
/// An attempt certainly did nothing if it was never sent, or if DynamoDB refused it (4xx). A
/// timeout, a lost connection, a 5xx or an unreadable answer leave that open.
///
/// It belongs to the client and reports through a task-local. As an interceptor of each request it
/// would cost 7,600 instructions more, 0.9 % of a warm request.
#[derive(Debug)]
pub(super) struct NoteAmbiguity;

impl Intercept for NoteAmbiguity {
    fn name(&self) -> &'static str {
        "NoteAmbiguity"
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
            let may_have_been_sent =
                !error.as_connector_error().is_some_and(|error| never_sent(error));
            if may_have_been_sent && !was_refused {
                // Absent for requests whose ambiguity does not matter.
                let _ = IS_AMBIGUOUS.try_with(|is_ambiguous| is_ambiguous.set(true));
            }
        }
        Ok(())
    }
}
