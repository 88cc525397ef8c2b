//! Tells EventBridge how rebuilds ended.
//!
//! Lambda reads the stream of the table of rebuilds and hands over what it finds in batches, in the
//! order of the stream. The table only ever gains records, one for each ended rebuild, so each
//! insert becomes an event. A rebuild is announced at least once: what Lambda hands over again is
//! announced again.

use std::time::Duration;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::SharedHttpClient;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use serde::{Deserialize, Serialize};
use tracing::{error, info};

use crate::config::AnnounceConfig;
use crate::error::{Cause, chain};
use crate::ids::WorkspaceId;
use crate::rebuild::RebuildId;
use crate::representation::RebuildData;
use crate::store::streamed_record;
use crate::timestamp::Timestamp;
use crate::transport::{sdk_config, soon};

/// The `source` of the events.
pub const SOURCE: &str = "rebuild-workspaces";
/// The `detail-type` of the events.
pub const DETAIL_TYPE: &str = "WorkSpace Rebuild Ended";
/// How many events a call takes (API reference of `PutEvents`).
const EVENTS_PER_CALL: usize = 10;

/// A batch of the stream. Only the fields that are read: to announce a record again, operators make
/// such a batch by hand.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Batch {
    records: Vec<Change>,
}

/// A change of the table.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    event_name: String,
    dynamodb: Images,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    sequence_number: String,
    new_image: Option<serde_dynamo::Item>,
}

/// The answer to Lambda: what to hand over again.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Empty, or the first change whose event the bus did not take. Lambda goes on from there.
    pub batch_item_failures: Vec<Failure>,
}

/// A change whose event the bus did not take.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its sequence number.
    pub item_identifier: String,
}

/// Puts events on a bus.
#[derive(Clone, Debug)]
pub struct Announcer {
    client: Client,
    event_bus: String,
}

impl Announcer {
    /// An announcer for the bus that `config` names.
    #[must_use]
    pub fn connect(config: &AnnounceConfig, http: SharedHttpClient) -> Self {
        // Lambda hands over again any records that still fail.
        let timeouts = (Duration::from_secs(5), Duration::from_secs(12));
        let sdk = sdk_config(&config.aws, http, config.endpoint.as_ref(), soon(), timeouts);
        Self { client: Client::new(&sdk), event_bus: config.event_bus.clone() }
    }

    /// Announces the rebuilds in a batch, in its order, up to the first event that the bus does not
    /// take.
    ///
    /// It stops there because Lambda hands over everything from there on again, so going on would
    /// only announce the rest more often. A record that is unreadable stays so: it is logged, which
    /// raises an alarm, and left out.
    pub async fn announce(&self, batch: Batch) -> Answer {
        let inserts = batch.records.into_iter().filter(|change| change.event_name == "INSERT");
        let ended: Vec<_> = inserts.filter_map(|change| readable(change.dynamodb)).collect();
        let mut announced = 0;
        for call in ended.chunks(EVENTS_PER_CALL) {
            let taken = self.put(call).await;
            announced += taken;
            if taken < call.len() {
                break;
            }
        }
        info!(announced, "batch");
        let failed = ended.get(announced).map(|ended| ended.sequence_number.clone());
        let failures = failed.map(|item_identifier| Failure { item_identifier });
        Answer { batch_item_failures: failures.into_iter().collect() }
    }

    /// Puts events on the bus with one call. Returns how many it took before the first that it did
    /// not take.
    async fn put(&self, call: &[Ended]) -> usize {
        let events = call.iter().map(|ended| self.event(ended)).collect();
        let results = match self.client.put_events().set_entries(Some(events)).send().await {
            Ok(output) => output.entries.unwrap_or_default(),
            Err(cause) => {
                error!(error = %chain(&cause), "the event bus did not answer");
                return 0;
            }
        };
        let is_taken = |result: &&PutEventsResultEntry| result.event_id.is_some();
        let taken = results.iter().take(call.len()).take_while(is_taken).count();
        if let Some(Ended { workspace_id, rebuild_id, .. }) = call.get(taken) {
            let result = results.get(taken);
            let code = result.and_then(|result| result.error_code.as_deref());
            let error = result.and_then(|result| result.error_message.as_deref());
            error!(%workspace_id, %rebuild_id, code, error, "the event bus did not take an event");
        }
        taken
    }

    fn event(&self, ended: &Ended) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .source(SOURCE)
            .detail_type(DETAIL_TYPE)
            .detail(&ended.detail)
            .time(DateTime::from_secs(ended.time.epoch_seconds()))
            .event_bus_name(&self.event_bus)
            .build()
    }
}

/// An ended rebuild in the stream.
struct Ended {
    sequence_number: String,
    workspace_id: WorkspaceId,
    rebuild_id: RebuildId,
    time: Timestamp,
    /// What its event says: the same as `data` of `GET /workspaces/{id}/rebuilds/{id}`.
    detail: String,
}

/// The rebuild that was inserted. An unreadable one is logged.
fn readable(Images { sequence_number, new_image }: Images) -> Option<Ended> {
    let read = || -> Result<Ended, Cause> {
        let record = new_image.ok_or("the stream has no new images")?;
        let (workspace_id, rebuild) = streamed_record(record)?;
        Ok(Ended {
            sequence_number: sequence_number.clone(),
            rebuild_id: rebuild.id,
            time: rebuild.ending().ok_or("the rebuild has not ended")?.at,
            detail: serde_json::to_string(&RebuildData::new(&workspace_id, &rebuild, None))?,
            workspace_id,
        })
    };
    let unreadable = |cause: &Cause| {
        error!(sequence_number, error = %chain(&**cause), "a record is unreadable");
    };
    read().inspect_err(unreadable).ok()
}
