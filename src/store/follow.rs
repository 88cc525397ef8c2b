//! What looks show of an open rebuild.

use aws_sdk_dynamodb::types::AttributeValue;

use super::Store;
use super::fault::write;
use super::guard::{NEXT_ATTEMPT, SAME_ATTEMPT};
use super::item::{string, to_item};
use super::queue::Queue;
use crate::error::Unconfirmed;
use crate::rebuild::{Observation, Stage, Status};
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
        // What is about to end has a queue of its own.
        let queue = match (open.rebuild.stage(), observation) {
            (Stage::Observed { .. }, Some(_)) => Some(Queue::Settling),
            (Stage::Observed { .. }, None) => Some(Queue::Rebuilding),
            (
                Stage::Requested
                | Stage::Claimed { .. }
                | Stage::Started { .. }
                | Stage::Ended
                | Stage::Unrecognized,
                _,
            ) => None,
        };
        let mut change = format!("SET {NEXT_ATTEMPT}");
        if queue.is_some() {
            change += ", OpenRebuild = :queue";
        }
        change += match observation {
            Some(_) => ", #Rebuild.Observation = :observation",
            None => " REMOVE #Rebuild.Observation",
        };
        let mut request = self.guarded_update(open, &change, &[SAME_ATTEMPT]);
        if let Some(queue) = queue {
            request = request.expression_attribute_values(":queue", string(queue));
        }
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
        let mut change = format!(
            "SET #Rebuild.#Status = :started, \
            #Rebuild.StartedAt = if_not_exists(#Rebuild.StartedAt, :now), \
            #Rebuild.ObservedAt = :now, OpenRebuild = :queue, {NEXT_ATTEMPT}"
        );
        // No pass has recorded the fleet's answer.
        let is_inferred = open.rebuild.started_at().is_none();
        if is_inferred {
            change += ", #Rebuild.Inferred = :true";
        }
        change += " REMOVE #Rebuild.Observation";
        let mut request = self.guarded_update(open, &change, &[SAME_ATTEMPT]);
        if is_inferred {
            request = request.expression_attribute_values(":true", AttributeValue::Bool(true));
        }
        let request = request
            .expression_attribute_values(":started", string(Status::Started))
            .expression_attribute_values(":queue", string(Queue::Rebuilding))
            .expression_attribute_values(":now", string(now));
        Ok(write(request).await?.is_made())
    }
}
