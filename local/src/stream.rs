//! Lambda's part in announcing: reads the stream of the table of rebuilds, and hands it over in
//! batches.

use std::time::Duration;

use dynoxide::Database;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_streams::ListStreamsRequest;
use rebuild_workspaces::announce::Announcer;
use serde_json::json;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How many changes a batch has, as in the template.
const BATCH_SIZE: usize = 100;

/// A place in the stream of the table of rebuilds.
pub struct Stream {
    database: Database,
    arn: String,
    shard: String,
    iterator: String,
}

impl Stream {
    /// The end of the stream: what comes from now on. `None` if the table has no stream, because it
    /// was made by an earlier version.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn at_end(database: Database) -> Result<Option<Self>, Error> {
        let request =
            ListStreamsRequest { table_name: Some("rebuilds".into()), ..Default::default() };
        let Some(stream) = database.list_streams(request)?.streams.pop() else {
            return Ok(None);
        };
        let arn = stream.stream_arn;
        let request = DescribeStreamRequest { stream_arn: arn.clone(), ..Default::default() };
        let shards = database.describe_stream(request)?.stream_description.shards;
        let shard = shards.into_iter().next().ok_or("the stream has no shard")?.shard_id;
        let mut stream = Self { database, arn, shard, iterator: String::new() };
        stream.seek("LATEST", None)?;
        Ok(Some(stream))
    }

    /// Hands over what is there. What fails is the first of the next batch.
    ///
    /// # Errors
    /// The database cannot be read.
    ///
    /// # Panics
    /// The database's records are not what Lambda would send.
    pub async fn announce(&mut self, announcer: &Announcer) -> Result<(), Error> {
        loop {
            let (shard_iterator, limit) = (self.iterator.clone(), Some(BATCH_SIZE));
            let found = self.database.get_records(GetRecordsRequest { shard_iterator, limit })?;
            if found.records.is_empty() {
                return Ok(());
            }
            let batch = json!({ "Records": found.records });
            let batch = serde_json::from_value(batch).expect("a batch, as Lambda sends it");
            let answer = announcer.announce(batch).await;
            match answer.batch_item_failures.into_iter().next() {
                Some(failure) => {
                    self.seek("AT_SEQUENCE_NUMBER", Some(failure.item_identifier))?;
                    return Ok(());
                }
                None => self.iterator = found.next_shard_iterator.ok_or("the shard is closed")?,
            }
        }
    }

    /// Announces for ever, once a second.
    pub async fn follow(mut self, announcer: Announcer) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            if let Err(error) = self.announce(&announcer).await {
                eprintln!("the ended rebuilds were not announced: {error}");
            }
        }
    }

    fn seek(&mut self, place: &str, sequence_number: Option<String>) -> Result<(), Error> {
        let request = GetShardIteratorRequest {
            stream_arn: self.arn.clone(),
            shard_id: self.shard.clone(),
            shard_iterator_type: place.into(),
            sequence_number,
        };
        let iterator = self.database.get_shard_iterator(request)?.shard_iterator;
        self.iterator = iterator.ok_or("the stream gives no iterator")?;
        Ok(())
    }
}
