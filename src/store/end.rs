//! Ending a rebuild, in three writes: [`Store::end`] decides in the item, [`Store::record_end`] puts
//! the record into the table of rebuilds, [`Store::release`] makes the WorkSpace rebuildable
//! again. A pass that finds the rebuild between them repeats the rest with what the item says, so
//! no record can contradict its item.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};

use super::Store;
use super::changes::Changes;
use super::fault::{Written, write};
use super::guard::SAME_ATTEMPT;
use super::item::{expires_at, from_rebuild, from_record, string, to_item, to_workspace};
use super::queue::Queue;
use crate::error::Unconfirmed;
use crate::rebuild::{End, Keys, Rebuild};
use crate::timestamp::Timestamp;
use crate::workspace::{Description, OpenRebuild};

/// The rebuild has no record yet.
const NO_RECORD: &str = "attribute_not_exists(WorkspaceId)";

impl Store {
    /// Decides how a rebuild ended, provided that what the decision rests on still holds. The WorkSpace
    /// gets the description that the deciding look has shown, if there was one. Returns the ended rebuild;
    /// `None` if it has moved on.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn end(
        &self,
        open: &OpenRebuild,
        end: &End,
        description: Option<&Description>,
        now: Timestamp,
    ) -> Result<Option<OpenRebuild>, Unconfirmed> {
        let error = end.conclusion.error();
        let description = description.filter(|_| open.rebuild.claim.is_some());
        let changes = description.map(Changes::of_description);
        let changes = changes.transpose().map_err(Unconfirmed::new)?.unwrap_or_default();
        let ip_address = description.and_then(|description| description.ip_address.as_ref());
        let mut change = "SET #Rebuild.#Status = :ended, #Rebuild.EndedAt = :now, \
            #State = :state, OpenRebuild = :queue"
            .to_owned();
        if error.is_some() {
            change += ", #Rebuild.ErrorCode = :code, #Rebuild.ErrorMessage = :message";
        }
        if ip_address.is_some() {
            change += ", #Rebuild.IpAddress = :ip_address";
        }
        let list = |more: String| if more.is_empty() { more } else { format!(", {more}") };
        change += &list(changes.sets());
        change += " REMOVE #Rebuild.Observation";
        change += &list(changes.removals());
        let mut request = changes
            .add_to(self.guarded_update(open, &change, &[SAME_ATTEMPT]))
            .expression_attribute_names("#State", "State")
            .expression_attribute_values(":state", string(end.state))
            .expression_attribute_values(":ended", string(end.conclusion.status()))
            .expression_attribute_values(":queue", string(Queue::Ended))
            .expression_attribute_values(":now", string(now))
            .return_values(ReturnValue::AllNew);
        if let Some(ip_address) = ip_address {
            request = request.expression_attribute_values(":ip_address", string(ip_address));
        }
        if let Some(error) = error {
            request = request
                .expression_attribute_values(":code", string(&error.code))
                .expression_attribute_values(":message", string(&error.message));
        }
        match write(request).await? {
            Written::Made(item) => {
                let ended = to_workspace(item.unwrap_or_default()).map_err(Unconfirmed::new)?;
                Ok(ended.into_open_rebuild())
            }
            Written::Refused(_) => Ok(None),
        }
    }

    /// Puts the record of an ended rebuild into the table of rebuilds, unless it is there.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn record_end(
        &self,
        ended: &OpenRebuild,
        expiry: Option<Timestamp>,
    ) -> Result<(), Unconfirmed> {
        let item = from_record(&ended.workspace_id, &ended.rebuild);
        let mut item = item.map_err(Unconfirmed::new)?;
        item.extend(expiry.map(expires_at));
        let request = self
            .client
            .put_item()
            .table_name(&self.tables.rebuilds)
            .set_item(Some(item))
            .condition_expression(NO_RECORD);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_recorded(&error) => Ok(()),
            Err(error) => Err(Unconfirmed::new(error)),
        }
    }

    /// Releases an ended rebuild: its WorkSpace may be rebuilt again. Its key stays, among `keys`,
    /// which only the release of this rebuild changes.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn release(&self, ended: &OpenRebuild, keys: Keys) -> Result<bool, Unconfirmed> {
        let change = "SET #Keys = :keys REMOVE OpenRebuild, OpenSince";
        let request = self.guarded_update(ended, change, &[]);
        Ok(write(with_keys(request, keys)?).await?.is_made())
    }

    /// Closes a rebuild that has a record, although its item does not say how it ended: the table
    /// was restored to an earlier time. The WorkSpace gets the state from before the rebuild.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn close_as_recorded(
        &self,
        open: &OpenRebuild,
        record: &Rebuild,
        keys: Keys,
    ) -> Result<bool, Unconfirmed> {
        let change = "SET #Rebuild = :record, #State = PreviousState, #Keys = :keys \
            REMOVE OpenRebuild, OpenSince";
        let record = AttributeValue::M(from_rebuild(record).map_err(Unconfirmed::new)?);
        let request = self
            .guarded_update(open, change, &[SAME_ATTEMPT])
            .expression_attribute_names("#State", "State")
            .expression_attribute_values(":record", record);
        Ok(write(with_keys(request, keys)?).await?.is_made())
    }
}

fn with_keys(
    request: UpdateItemFluentBuilder,
    keys: Keys,
) -> Result<UpdateItemFluentBuilder, Unconfirmed> {
    let keys = AttributeValue::M(to_item(keys).map_err(Unconfirmed::new)?);
    let request = request.expression_attribute_names("#Keys", "Keys");
    Ok(request.expression_attribute_values(":keys", keys))
}

fn is_recorded(error: &SdkError<PutItemError>) -> bool {
    error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception)
}
