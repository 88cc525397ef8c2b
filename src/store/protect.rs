//! Protecting a WorkSpace against rebuilds, like EC2's termination protection.
//!
//! Each write carries an id that is ordered by time, and lands only on an older one. So a late copy
//! of an older request cannot undo a newer one, and a retry recognises itself. Both writes are made
//! whether or not the WorkSpace is protected, because both have to leave their id.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use time::OffsetDateTime;

use super::fault::{Written, write_for_caller};
use super::item::{Item, string, to_item, to_workspace};
use super::{Store, ordered_id, overtaken, within};
use crate::error::{Fault, ProtectionError};
use crate::ids::Target;
use crate::timestamp::Timestamp;
use crate::workspace::{Protection, Workspace};

/// The changes of the protecting write. The first protection stays. `LastProtection` outlives it, to
/// say who had protected the WorkSpace. The item of a protected WorkSpace does not expire: the
/// protection would be lost if the WorkSpace comes back.
const PROTECT: &str = "SET LastProtection = if_not_exists(Protection, :protection), \
    Protection = if_not_exists(Protection, :protection), \
    ProtectionId = :protection_id \
    REMOVE Unprotection, ExpiresAt";

/// The changes of the write that ends a protection. The first one since then says who ended it.
const UNPROTECT: &str = "SET Unprotection = if_not_exists(Unprotection, :unprotection), \
    ProtectionId = :protection_id \
    REMOVE Protection";

/// The condition of both: the WorkSpace is there, and no later request was made.
const NEWEST_PROTECTION: &str = "attribute_exists(WorkspaceId) \
    AND (attribute_not_exists(ProtectionId) OR ProtectionId < :protection_id)";

impl Store {
    /// Protects a WorkSpace, unless it is protected. Returns the WorkSpace.
    ///
    /// # Errors
    /// See [`ProtectionError`]. After `OutcomeUnknown`, something may have changed.
    pub async fn protect(
        &self,
        target: &Target,
        protection: &Protection,
        now: OffsetDateTime,
    ) -> Result<Workspace, ProtectionError> {
        let protection = AttributeValue::M(to_item(protection)?);
        self.change_protection(target, PROTECT, (":protection", protection), now).await
    }

    /// Ends the protection of a WorkSpace. Returns the WorkSpace.
    ///
    /// # Errors
    /// See [`ProtectionError`]. After `OutcomeUnknown`, something may have changed.
    pub async fn unprotect(
        &self,
        target: &Target,
        caller: Option<String>,
        now: OffsetDateTime,
    ) -> Result<Workspace, ProtectionError> {
        let mut unprotection =
            Item::from([("UnprotectedAt".to_owned(), string(Timestamp::from(now)))]);
        unprotection.extend(caller.map(|caller| ("UnprotectedBy".to_owned(), string(caller))));
        let unprotection = AttributeValue::M(unprotection);
        self.change_protection(target, UNPROTECT, (":unprotection", unprotection), now).await
    }

    async fn change_protection(
        &self,
        target: &Target,
        change: &str,
        value: (&'static str, AttributeValue),
        now: OffsetDateTime,
    ) -> Result<Workspace, ProtectionError> {
        let id = ordered_id(now);
        let values = [value, (":protection_id", string(&id))];
        let request = self
            .update_target(target, change, NEWEST_PROTECTION, values.into_iter())
            .return_values(ReturnValue::AllNew);
        let unknown = |error: ProtectionError| ProtectionError::OutcomeUnknown(error.into());
        let explain = async |written| match written {
            // An internal error would say that nothing was changed.
            Written::Made(item) => {
                to_workspace(item.unwrap_or_default()).map_err(|fault| unknown(fault.into()))
            }
            Written::Refused(item) => explain_refusal(target, item, &id),
        };
        write_for_caller(request, explain, unknown).await
    }
}

/// What the item that failed the condition says about the request of this id.
fn explain_refusal(
    target: &Target,
    item: Option<Item>,
    id: &str,
) -> Result<Workspace, ProtectionError> {
    let last = item.as_ref().and_then(|item| item.get("ProtectionId")?.as_s().ok()).cloned();
    let Some(workspace) = within(target, item)? else {
        return Err(ProtectionError::NotFound(target.workspace_id.clone()));
    };
    match last {
        // An earlier attempt landed, and its answer was lost.
        Some(last) if last == id => Ok(workspace),
        Some(last) if *last > *id => Err(overtaken("the last change of its protection").into()),
        Some(_) | None => Err(Fault::internal("no clause explains the failed condition").into()),
    }
}
