//! What looks show of an open rebuild.

use aws_sdk_dynamodb::types::AttributeValue;

use super::Store;
use super::fault::write;
use super::guard::unmoved;
use super::item::{string, to_item};
use super::queue::Queue;
use crate::error::Unconfirmed;
use crate::rebuild::{Observation, Status};
use crate::timestamp::Timestamp;
use crate::workspace::OpenRebuild;

impl Store {
    /// Notes what the looks have shown; `None` clears the note.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn observe(
        &self,
        open: &OpenRebuild,
        observation: Option<Observation>,
    ) -> Result<bool, Unconfirmed> {
        let change = match observation {
            Some(_) => "SET #Rebuild.Observation = :observation",
            None => "REMOVE #Rebuild.Observation",
        };
        let mut request = self.guarded_update(open, change, &unmoved(&open.rebuild));
        if let Some(observation) = observation {
            let observation = AttributeValue::M(to_item(observation).map_err(Unconfirmed::new)?);
            request = request.expression_attribute_values(":observation", observation);
        }
        Ok(write(request).await?.is_made())
    }

    /// Notes that a look has shown the WorkSpace in REBUILDING, which also means that its rebuild has
    /// started.
    ///
    /// # Errors
    /// It is not known whether the write was made.
    pub async fn observe_rebuilding(
        &self,
        open: &OpenRebuild,
        now: Timestamp,
    ) -> Result<bool, Unconfirmed> {
        let change = "SET #Rebuild.#Status = :started, \
            #Rebuild.StartedAt = if_not_exists(#Rebuild.StartedAt, :now), \
            #Rebuild.ObservedAt = :now, \
            OpenRebuild = :queue \
            REMOVE #Rebuild.Observation";
        let request = self
            .guarded_update(open, change, &unmoved(&open.rebuild))
            .expression_attribute_values(":started", string(Status::Started))
            .expression_attribute_values(":queue", string(Queue::Rebuilding))
            .expression_attribute_values(":now", string(now));
        Ok(write(request).await?.is_made())
    }
}
