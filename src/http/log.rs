//! The log line of a request.

use std::time::Instant;

use lambda_http::http::StatusCode;
use tracing::{error, info};

use super::failure::{Code, Failure};
use crate::error::{Cause, chain};
use crate::ids::WorkspaceId;
use crate::rebuild::Accepted;

/// The request and its outcome, never the contents of the body.
#[derive(Default)]
pub(super) struct LogLine {
    /// Set once the request is decoded.
    operation: Option<&'static str>,
    workspace_id: Option<WorkspaceId>,
    outcome: Outcome,
}

#[derive(Default)]
enum Outcome {
    #[default]
    Answered,
    Accepted,
    Replayed,
    Refused(Code),
    Failed(Code, Cause),
}

impl LogLine {
    pub(super) fn decoded(&mut self, operation: &'static str, workspace_id: Option<&WorkspaceId>) {
        self.operation = Some(operation);
        self.workspace_id = workspace_id.cloned();
    }

    pub(super) fn accepted(&mut self, accepted: &Accepted) {
        self.outcome = if accepted.is_replay { Outcome::Replayed } else { Outcome::Accepted };
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        self.outcome = match failure.cause {
            None => Outcome::Refused(failure.code),
            Some(cause) => Outcome::Failed(failure.code, cause),
        };
    }

    pub(super) fn log(
        self,
        request_id: Option<&str>,
        caller: Option<&str>,
        status: StatusCode,
        start: Instant,
    ) {
        let operation = self.operation.unwrap_or("none");
        let workspace_id = self.workspace_id.as_ref().map(WorkspaceId::as_str);
        let status = status.as_u16();
        let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
        let (outcome, code) = match &self.outcome {
            Outcome::Answered => ("answered", None),
            Outcome::Accepted => ("accepted", None),
            Outcome::Replayed => ("replayed", None),
            Outcome::Refused(code) => ("refused", Some(code)),
            Outcome::Failed(code, _) => ("failed", Some(code)),
        };
        let code = code.map(Code::into_str);
        if let Outcome::Failed(_, cause) = self.outcome {
            let cause = chain(&*cause);
            error!(
                request_id,
                caller,
                operation,
                workspace_id,
                outcome,
                code,
                status,
                milliseconds,
                cause,
                "request"
            );
        } else {
            info!(
                request_id,
                caller, operation, workspace_id, outcome, code, status, milliseconds, "request"
            );
        }
    }
}
