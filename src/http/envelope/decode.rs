//! What the bodies, headers and queries of this face say.

use super::resource::directory_id;
use crate::http::body::json::{Json, MEDIA_TYPE};
use crate::http::body::{Encoded as _, Members};
use crate::http::call::Call;
use crate::http::event::Header;
use crate::http::failure::{Code, Failure};
use crate::ids::{BundleId, Target, UserName, WorkspaceId};
use crate::reason::Reason;
use crate::rebuild::{IdempotencyKey, Status};
use crate::service::RebuildRequest;
use crate::timestamp::Day;
use crate::workspace::Filter;

/// Items on a page.
const DEFAULT_LIMIT: u8 = 25;
const MAX_LIMIT: u8 = 100;
/// A year.
const MAX_SNAPSHOT_AGE_HOURS: u16 = 8760;

/// Which page of a listing is wanted.
pub(super) struct Paging<'a> {
    pub(super) limit: u8,
    pub(super) token: Option<&'a str>,
}

/// Refuses all parameters but these. A misspelt filter must not list everything, and a parameter in
/// the query instead of the body must not be left out of a rebuild.
pub(super) fn check_query(call: &Call<'_>, names: &[&str]) -> Result<(), Failure> {
    if call.query_names().all(|name| names.contains(&name)) {
        return Ok(());
    }
    let known = if names.is_empty() {
        "this request takes none".to_owned()
    } else {
        format!("known are {}", names.join(", "))
    };
    Err(Failure::invalid(format!("the query has an unknown parameter; {known}")))
}

/// The request of `POST /`, whose body names the WorkSpace. Unknown fields are refused: a misspelt
/// destructive request must not go through.
pub(super) fn rebuild_by_body(call: &Call<'_>) -> Result<(Target, RebuildRequest), Failure> {
    let bytes = call.body()?;
    check_content_type(call)?;
    let idempotency_key = idempotency_key(call)?;
    let mut body = Members::<Json>::parse(bytes)?;
    let requests = body.take_array("RebuildWorkspaceRequests")?;
    let fields = RebuildFields::take(&mut body)?;
    body.end("the body", &format!("known are RebuildWorkspaceRequests, {FIELDS}"))?;
    let [request] = <[Json; 1]>::try_from(requests.unwrap_or_default())
        .map_err(|_| Failure::invalid("RebuildWorkspaceRequests must have exactly one entry"))?;
    let place = "RebuildWorkspaceRequests[0]";
    let mut request = Members::of(request.into_object(), place)?;
    let id = request.take_string("WorkspaceId")?;
    request.end(place, "known is WorkspaceId")?;
    let id = id.ok_or_else(|| Failure::invalid("WorkspaceId must be a string"))?;
    let workspace_id =
        WorkspaceId::try_from(id).map_err(|error| Failure::field("WorkspaceId", &error))?;
    Ok((workspace_id.into(), fields.check(call, idempotency_key)?))
}

/// The request of `POST …/rebuilds`, whose path names the WorkSpace.
pub(super) fn rebuild_by_path(call: &Call<'_>) -> Result<RebuildRequest, Failure> {
    let mut body = optional_body(call)?;
    let idempotency_key = idempotency_key(call)?;
    let fields = RebuildFields::take(&mut body)?;
    body.end("the body", &format!("known are {FIELDS}"))?;
    fields.check(call, idempotency_key)
}

/// The fields that both requests to rebuild have, not checked yet.
struct RebuildFields {
    reason: Option<String>,
    maximum_snapshot_age_hours: Option<i64>,
    wait_for_disconnect: Option<bool>,
}

const FIELDS: &str = "Reason, MaximumSnapshotAgeHours and WaitForDisconnect";

impl RebuildFields {
    fn take(body: &mut Members<Json>) -> Result<Self, Failure> {
        Ok(Self {
            reason: body.take_string("Reason")?,
            maximum_snapshot_age_hours: body.take_integer("MaximumSnapshotAgeHours")?,
            wait_for_disconnect: body.take_bool("WaitForDisconnect")?,
        })
    }

    fn check(
        self,
        call: &Call<'_>,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<RebuildRequest, Failure> {
        let hours = self.maximum_snapshot_age_hours.map(|hours| {
            let hours = u16::try_from(hours).ok();
            let hours = hours.filter(|hours| (1..=MAX_SNAPSHOT_AGE_HOURS).contains(hours));
            hours.ok_or_else(|| {
                let range = format!("from 1 to {MAX_SNAPSHOT_AGE_HOURS}");
                Failure::invalid(format!("MaximumSnapshotAgeHours must be a number {range}"))
            })
        });
        Ok(RebuildRequest {
            idempotency_key,
            reason: reason(self.reason)?,
            maximum_snapshot_age_hours: hours.transpose()?,
            wait_for_disconnect: self.wait_for_disconnect,
            caller: call.caller(),
        })
    }
}

/// The body of `PUT …/protection` and `PUT /pause`, which may have a reason.
pub(super) fn only_reason(call: &Call<'_>) -> Result<Option<Reason>, Failure> {
    let mut body = optional_body(call)?;
    let text = body.take_string("Reason")?;
    body.end("the body", "known is Reason")?;
    reason(text)
}

/// The filter of `GET …/workspaces`; `directory` is the path's.
pub(super) fn filter(call: &Call<'_>, directory: Option<&str>) -> Result<Filter, Failure> {
    let directory = directory.or_else(|| call.query("directory_id")).map(directory_id);
    let user_name = call.query("user_name").map(|text| {
        UserName::try_from(text.to_owned()).map_err(|error| Failure::field("user_name", &error))
    });
    let bundle_id = call.query("bundle_id").map(|text| {
        BundleId::try_from(text.to_owned()).map_err(|error| Failure::field("bundle_id", &error))
    });
    match (directory.transpose()?, user_name.transpose()?, bundle_id.transpose()?) {
        (None, None, None) => Ok(Filter::All),
        (Some(directory_id), user_name, None) => Ok(Filter::Directory { directory_id, user_name }),
        (None, None, Some(bundle_id)) => Ok(Filter::Bundle(bundle_id)),
        (None, Some(_), _) | (Some(_), _, Some(_)) => Err(Failure::invalid(
            "give directory_id with or without user_name, or bundle_id, or none of them",
        )),
    }
}

/// Which rebuilds of all WorkSpaces are wanted.
pub(super) enum Wanted {
    /// The open ones of this status (`None`: of any).
    Open(Option<Status>),
    /// Those that ended on this day.
    EndedOn(Day),
}

/// The filter of `GET /rebuilds`.
pub(super) fn wanted_rebuilds(call: &Call<'_>) -> Result<Wanted, Failure> {
    match (call.query("status"), call.query("ended_on")) {
        (status, None) => Ok(Wanted::Open(open_status(status)?)),
        (None, Some(day)) => {
            let day = Day::try_from(day).map_err(|error| Failure::field("ended_on", &error))?;
            Ok(Wanted::EndedOn(day))
        }
        (Some(_), Some(_)) => Err(Failure::invalid(
            "give status to list open rebuilds, or ended_on to list ended ones, not both",
        )),
    }
}

fn open_status(text: Option<&str>) -> Result<Option<Status>, Failure> {
    match text {
        None => Ok(None),
        Some("REQUESTED") => Ok(Some(Status::Requested)),
        Some("STARTED") => Ok(Some(Status::Started)),
        Some(_) => Err(Failure::invalid("status must be REQUESTED or STARTED")),
    }
}

pub(super) fn paging<'a>(call: &Call<'a>) -> Result<Paging<'a>, Failure> {
    let token = call.query("next_token");
    let Some(text) = call.query("limit") else {
        return Ok(Paging { limit: DEFAULT_LIMIT, token });
    };
    // `parse` would also accept a sign and leading zeros.
    match text.parse() {
        Ok(limit @ 1..=MAX_LIMIT) if text.starts_with(|first| matches!(first, '1'..='9')) => {
            Ok(Paging { limit, token })
        }
        _ => Err(Failure::invalid(format!("limit must be a number from 1 to {MAX_LIMIT}"))),
    }
}

fn optional_body(call: &Call<'_>) -> Result<Members<Json>, Failure> {
    let body = call.body()?;
    if !body.is_empty() {
        check_content_type(call)?;
    }
    Ok(Members::parse_optional(body)?)
}

fn check_content_type(call: &Call<'_>) -> Result<(), Failure> {
    if call.media_type().is_some_and(|media_type| media_type != MEDIA_TYPE) {
        let message = format!("the body must be JSON, with content-type {MEDIA_TYPE}");
        return Err(Failure::refusal(Code::UnsupportedMediaType, message));
    }
    Ok(())
}

fn idempotency_key(call: &Call<'_>) -> Result<Option<IdempotencyKey>, Failure> {
    let key = call.header(Header::IdempotencyKey).transpose();
    let key = key.and_then(|key| key.map(IdempotencyKey::from_client).transpose());
    key.map_err(|error| Failure::field(Header::IdempotencyKey.name(), &error))
}

fn reason(text: Option<String>) -> Result<Option<Reason>, Failure> {
    let reason = text.map(Reason::try_from).transpose();
    reason.map_err(|error| Failure::field("Reason", &error))
}
