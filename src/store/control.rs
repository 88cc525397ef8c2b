//! The table `control`: the item that every hand-over depends on, the progress of sync, and the calls of
//! previews. The functions change an item only as they have read it; a caller's pause lands in any case,
//! unless a later request came first.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure as OnFailure,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::fault::{Written, write_for_caller};
use super::item::{Item, attribute, from_item, number, string, to_item};
use super::{Store, ordered_id, overtaken};
use crate::calls::Calls;
use crate::control::{Control, Pause, Resumption};
use crate::error::{Fault, PauseError, Unconfirmed};
use crate::progress::Progress;

/// The item that every hand-over depends on.
const HAND_OVERS: &str = "hand-overs";
/// The item with the progress of sync.
const SYNC: &str = "sync";
/// The item with the calls of previews.
const PREVIEWS: &str = "previews";

/// The changes of a caller's pause. The first one stays.
const PAUSE: &str = "SET CallerPause = if_not_exists(CallerPause, :pause), \
    PauseChangeId = :change_id ADD #Version :one";

/// The changes of the end of all pauses, but the budget's.
const RESUME: &str = "SET Resumption = :resumption, PauseChangeId = :change_id \
    REMOVE CallerPause, FleetPause, LastTrialAt";

/// No later request has changed a pause.
const NEWEST_CHANGE: &str = "(attribute_not_exists(PauseChangeId) OR PauseChangeId < :change_id)";
/// The budget has not been used up since the item was read.
const BUDGET_LEFT: &str = "attribute_not_exists(BudgetPause)";
/// The budget is still used up.
const BUDGET_USED_UP: &str = "attribute_exists(BudgetPause)";
/// Nothing has changed since the item was read.
const SAME_VERSION: &str = "#Version = :version";
/// There is still no item.
const NO_ITEM: &str = "attribute_not_exists(Id)";

/// How often the end of pauses is tried while the budget is used up or begins anew.
const TRIES: usize = 3;

impl Store {
    /// What hand-overs depend on, read consistently.
    ///
    /// # Errors
    /// The table was not read, or the item is broken.
    pub async fn control(&self) -> Result<Control, Fault> {
        let item = self.get_item(&self.tables.control, key(HAND_OVERS)).await?;
        item.map_or_else(|| Ok(Control::default()), from_item)
    }

    /// Changes what a pass has `read`. Returns what the item then has; as an error, if something else
    /// has changed it.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn change_control(
        &self,
        read: &Control,
        changed: Control,
    ) -> Result<Result<Control, Control>, Unconfirmed> {
        let changed = Control { version: read.version.saturating_add(1), ..changed };
        let current = self.replace(HAND_OVERS, read.version, &changed).await?;
        Ok(current.map_or(Ok(changed), Err))
    }

    /// How far sync has come, read consistently.
    ///
    /// # Errors
    /// The table was not read, or the item is broken.
    pub async fn progress(&self) -> Result<Progress, Fault> {
        let item = self.get_item(&self.tables.control, key(SYNC)).await?;
        item.map_or_else(|| Ok(Progress::default()), from_item)
    }

    /// Saves how far sync has come, and raises the version. Returns whether it was saved: another pass
    /// may have saved its own progress since this one was read.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn save_progress(&self, progress: &mut Progress) -> Result<bool, Unconfirmed> {
        let read = progress.version;
        progress.version = read.saturating_add(1);
        let current = self.replace(SYNC, read, progress).await?;
        // An earlier attempt may have landed, and its answer was lost.
        Ok(current.is_none_or(|current| current == *progress))
    }

    /// The calls that previews have taken, read consistently.
    ///
    /// # Errors
    /// The table was not read, or the item is broken.
    pub async fn preview_calls(&self) -> Result<Calls, Fault> {
        let item = self.get_item(&self.tables.control, key(PREVIEWS)).await?;
        item.map_or_else(|| Ok(Calls::default()), from_item)
    }

    /// Takes calls for a preview. If other previews have taken some since these were `read`, it takes none,
    /// and returns what they have.
    ///
    /// # Errors
    /// It is not known whether the calls were taken.
    pub async fn take_preview_calls(
        &self,
        read: Calls,
        taken: Calls,
    ) -> Result<Option<Calls>, Fault> {
        let current = self.replace(PREVIEWS, read.version, &taken).await;
        current.map_err(|Unconfirmed(cause)| Fault::Unreachable(cause))
    }

    /// Replaces an item that still has the version that was `read`. Returns the item if it has another.
    async fn replace<T: Serialize + DeserializeOwned + Default>(
        &self,
        id: &str,
        read: u64,
        changed: &T,
    ) -> Result<Option<T>, Unconfirmed> {
        let mut item = to_item(changed).map_err(Unconfirmed::new)?;
        item.extend(key(id));
        let request = self
            .client
            .put_item()
            .table_name(&self.tables.control)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        let request = match read {
            0 => request.condition_expression(NO_ITEM),
            version => request
                .condition_expression(SAME_VERSION)
                .expression_attribute_names("#Version", "Version")
                .expression_attribute_values(":version", number(version)),
        };
        match request.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failure)) => {
                    let current = failure.item.clone().map(from_item).transpose();
                    Ok(Some(current.map_err(Unconfirmed::new)?.unwrap_or_default()))
                }
                Some(_) | None => Err(Unconfirmed::new(error)),
            },
        }
    }

    /// Pauses hand-overs for a caller, unless a caller has.
    ///
    /// # Errors
    /// See [`PauseError`]. After `OutcomeUnknown`, something may have changed.
    pub async fn pause(&self, pause: &Pause, now: OffsetDateTime) -> Result<Control, PauseError> {
        let value = (":pause", AttributeValue::M(to_item(pause)?));
        let changed = self.change_pauses(PAUSE, &[], value, now).await?;
        changed.ok_or_else(|| Fault::internal("no clause explains the failed condition").into())
    }

    /// Ends all pauses, and begins a new budget if it was used up. Returns what then holds, and the
    /// pauses that it has ended.
    ///
    /// # Errors
    /// See [`PauseError`]. After `OutcomeUnknown`, something may have changed.
    pub async fn resume(
        &self,
        resumption: &Resumption,
        now: OffsetDateTime,
    ) -> Result<(Control, Vec<Pause>), PauseError> {
        for _ in 0..TRIES {
            let read = self.control().await?;
            let is_later = |pause: &Pause| pause.paused_at > resumption.resumed_at;
            if read.budget_pause.as_ref().is_some_and(is_later) {
                return Err(overtaken("the pause of the budget").into());
            }
            let (more, condition) = match read.budget_pause {
                Some(_) => (", BudgetPause, HandOvers", BUDGET_USED_UP),
                None => ("", BUDGET_LEFT),
            };
            let change = format!("{RESUME}{more} ADD #Version :one");
            let value = (":resumption", AttributeValue::M(to_item(resumption)?));
            if let Some(changed) = self.change_pauses(&change, &[condition], value, now).await? {
                return Ok((changed, read.pauses().cloned().collect()));
            }
        }
        Err(Fault::Throttled("the budget was used up and begun anew in turn".into()).into())
    }

    /// Makes a change of the pauses for a caller. Returns what then holds; `None` if a condition of
    /// its own failed.
    async fn change_pauses(
        &self,
        change: &str,
        conditions: &[&str],
        (name, value): (&str, AttributeValue),
        now: OffsetDateTime,
    ) -> Result<Option<Control>, PauseError> {
        let id = ordered_id(now);
        let request = self
            .client
            .update_item()
            .table_name(&self.tables.control)
            .set_key(Some(key(HAND_OVERS)))
            .update_expression(change)
            .condition_expression([&[NEWEST_CHANGE], conditions].concat().join(" AND "))
            .expression_attribute_names("#Version", "Version")
            .expression_attribute_values(name, value)
            .expression_attribute_values(":change_id", string(&id))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        let unknown = |error: PauseError| PauseError::OutcomeUnknown(error.into());
        let explain = async |written| match written {
            // An internal error would say that nothing was changed.
            Written::Made(item) => {
                from_item(item.unwrap_or_default()).map(Some).map_err(|fault| unknown(fault.into()))
            }
            Written::Refused(item) => {
                let control: Control = from_item(item.unwrap_or_default())?;
                match control.pause_change_id.as_deref() {
                    // An earlier attempt landed, and its answer was lost.
                    Some(last) if last == id => Ok(Some(control)),
                    Some(last) if *last > *id => {
                        Err(overtaken("the last change of a pause").into())
                    }
                    Some(_) | None => Ok(None),
                }
            }
        };
        write_for_caller(request, explain, unknown).await
    }
}

fn key(id: &str) -> Item {
    Item::from([attribute("Id", id)])
}
