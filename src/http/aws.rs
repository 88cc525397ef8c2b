//! What AWS clients expect, whatever protocol they speak: operations, shapes, constraints, errors.
//! (API model: Amazon WorkSpaces, 2015-04-08.)

mod cbor;
mod constraints;
mod exception;
mod input;
mod json;
mod output;
#[cfg(test)]
mod properties;

use lambda_http::http::HeaderValue;
use lambda_http::{Body, Response};

use self::exception::Exception;
use self::input::{DescribeWorkspacesInput, Input, RebuildWorkspacesInput};
use self::output::{DescribeWorkspacesOutput, FailedRequest, Output, RebuildWorkspacesOutput};
use super::call::Call;
use super::event::Header;
use super::failure::Failure;
use crate::error::AcceptError;
use crate::format::InvalidFormat;
use crate::ids::Target;
use crate::service::{RebuildRequest, Service};

/// The headers by which all attempts of one SDK call recognise each other. PHP sends the second.
const INVOCATION_IDS: [Header; 2] = [Header::AmzSdkInvocationId, Header::AwsSdkInvocationId];

/// How inputs and outputs are encoded.
#[derive(Clone, Copy)]
pub(super) enum Protocol {
    /// AWS JSON 1.1.
    Json,
    /// RPC v2 CBOR.
    Cbor,
}

impl Protocol {
    /// The media type of its bodies.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => json::MEDIA_TYPE,
            Self::Cbor => cbor::MEDIA_TYPE,
        }
    }

    fn decode(self, call: &Call<'_>) -> Result<Input, Exception> {
        call.check_age().map_err(Exception::unavailable)?;
        match self {
            Self::Json => json::decode(call),
            Self::Cbor => cbor::decode(call),
        }
    }

    fn encode(self, result: Result<&Output, &Exception>) -> Response<Body> {
        match self {
            Self::Json => json::encode(result),
            Self::Cbor => cbor::encode(result),
        }
    }
}

pub(super) async fn answer(
    service: &Service,
    call: &mut Call<'_>,
    protocol: Protocol,
) -> Response<Body> {
    let result = match protocol.decode(call) {
        Ok(input) => run(service, call, input).await,
        Err(exception) => Err(exception),
    };
    finish(call, protocol, result)
}

/// Answers for the preview function, which has no operation of AWS.
pub(super) fn refuse(call: &mut Call<'_>, protocol: Protocol) -> Response<Body> {
    finish(call, protocol, Err(Exception::unknown_operation()))
}

fn finish(
    call: &mut Call<'_>,
    protocol: Protocol,
    result: Result<Output, Exception>,
) -> Response<Body> {
    let mut response = protocol.encode(result.as_ref());
    if let Err(exception) = result {
        call.log_line.failed(exception.failure);
    }
    if let Some(id) = call.request_id().and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

async fn run(service: &Service, call: &mut Call<'_>, input: Input) -> Result<Output, Exception> {
    Ok(match input {
        Input::RebuildWorkspaces(input) => {
            Output::RebuildWorkspaces(rebuild_workspaces(service, call, input).await?)
        }
        Input::DescribeWorkspaces(input) => {
            Output::DescribeWorkspaces(describe_workspaces(service, call, input).await?)
        }
    })
}

async fn rebuild_workspaces(
    service: &Service,
    call: &mut Call<'_>,
    input: RebuildWorkspacesInput,
) -> Result<RebuildWorkspacesOutput, Exception> {
    let (id, idempotency_key) = input.check(invocation_id(call))?;
    call.log_line.decoded("RebuildWorkspaces", Some(&id));
    let target = Target::from(id);
    let request = RebuildRequest {
        idempotency_key,
        reason: None,
        maximum_snapshot_age_hours: None,
        wait_for_disconnect: None,
        caller: call.caller(),
    };
    let (error_code, error) = match service.accept(&target, request).await {
        Ok(accepted) => {
            call.log_line.accepted(&accepted);
            return Ok(RebuildWorkspacesOutput { failed_requests: vec![] });
        }
        Err(error @ AcceptError::WorkspaceNotFound(_)) => ("ResourceNotFound.Workspace", error),
        Err(error @ (AcceptError::InvalidState { .. } | AcceptError::NotReleased(_))) => {
            ("InvalidResourceState.Workspace", error)
        }
        Err(error @ AcceptError::Protected(_)) => ("OperationNotSupported.Workspace", error),
        Err(error @ AcceptError::KeyReused) => {
            return Err(Exception::combination(error.to_string()));
        }
        Err(error @ AcceptError::OutcomeUnknown { .. }) => {
            // The user sees this after the last retry of the SDK. A new call has another key.
            let message = format!("{error}; check the WorkSpace before you retry");
            let failure = Failure { message, ..error.into() };
            return Err(Exception::internal(failure));
        }
        Err(AcceptError::Fault(fault)) => return Err(fault.into()),
    };
    let error_message = error.to_string();
    call.log_line.failed(error.into());
    let failed = FailedRequest { workspace_id: target.workspace_id, error_code, error_message };
    Ok(RebuildWorkspacesOutput { failed_requests: vec![failed] })
}

/// The invocation id, with the name of its header.
fn invocation_id<'a>(call: &Call<'a>) -> Option<(&'static str, Result<&'a str, InvalidFormat>)> {
    INVOCATION_IDS.into_iter().find_map(|header| Some((header.name(), call.header(header)?)))
}

async fn describe_workspaces(
    service: &Service,
    call: &mut Call<'_>,
    input: DescribeWorkspacesInput,
) -> Result<DescribeWorkspacesOutput, Exception> {
    let (filter, limit, token) = input.check()?;
    call.log_line.decoded("DescribeWorkspaces", None);
    let page = service.list_workspaces(&filter, limit, token.as_deref()).await?;
    Ok(page.into())
}
