//! The listing of ended rebuilds, by the day of their end.

use super::Store;
use super::fault::fault;
use super::item::{ENDED, Item, attribute, id_of, readable, record_key, string, text, to_ended};
use crate::error::{Fault, ListError};
use crate::ids::WorkspaceId;
use crate::rebuild::{Rebuild, RebuildId};
use crate::timestamp::Day;
use crate::token::Listing;
use crate::workspace::Page;

impl Store {
    /// One page of the rebuilds that ended on a day, newest end first: at most `limit` of them, each with
    /// its WorkSpace. The index is eventually consistent. Unreadable records are skipped and logged.
    ///
    /// # Errors
    /// [`ListError::InvalidToken`] for a token of another listing; else the table was not read.
    pub async fn rebuilds_ended_on(
        &self,
        day: Day,
        limit: u8,
        token: Option<&str>,
    ) -> Result<Page<(WorkspaceId, Rebuild)>, ListError> {
        let listing = Listing::new("ended rebuilds", &[&day.to_string()]);
        let last = listing.place(token, |last| Place::parse(&last))?;
        let mut start = last.map(|last| last.key(day));
        let mut items = vec![];
        loop {
            let missing = usize::from(limit) - items.len();
            let output = self
                .client
                .query()
                .table_name(&self.tables.rebuilds)
                .index_name(ENDED)
                .key_condition_expression("EndedOn = :day")
                .expression_attribute_values(":day", string(day))
                .scan_index_forward(false)
                .limit(i32::try_from(missing).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(fault)?;
            items.extend(readable(output.items.unwrap_or_default(), to_ended).0);
            start = output.last_evaluated_key;
            match &start {
                None => return Ok(Page { items, next_token: None }),
                // The last record is readable, and so is its place.
                Some(last) if items.len() == usize::from(limit) => {
                    let next_token = Some(listing.token(&Place::of(last)?.to_string()));
                    return Ok(Page { items, next_token });
                }
                Some(_) => {}
            }
        }
    }
}

/// A place in the index. Several rebuilds may end in the same second, so it has the record's key, too.
#[derive(derive_more::Display)]
#[display("{workspace_id}/{rebuild_id}/{ended_at}")]
struct Place {
    workspace_id: WorkspaceId,
    rebuild_id: RebuildId,
    ended_at: String,
}

impl Place {
    fn of(last: &Item) -> Result<Self, Fault> {
        let rebuild_id = text(last, "RebuildId")?.to_owned();
        Ok(Self {
            workspace_id: id_of(last)?,
            rebuild_id: RebuildId::try_from(rebuild_id).map_err(Fault::internal)?,
            ended_at: text(last, "EndedAt")?.to_owned(),
        })
    }

    /// The reverse of its text. DynamoDB refuses values that cannot be a range key.
    fn parse(place: &str) -> Option<Self> {
        let (workspace_id, rest) = place.split_once('/')?;
        let (rebuild_id, ended_at) = rest.split_once('/')?;
        let ended_at = Some(ended_at).filter(|text| (1..=1024).contains(&text.len()))?;
        Some(Self {
            workspace_id: WorkspaceId::try_from(workspace_id.to_owned()).ok()?,
            rebuild_id: RebuildId::try_from(rebuild_id.to_owned()).ok()?,
            ended_at: ended_at.to_owned(),
        })
    }

    fn key(&self, day: Day) -> Item {
        let mut key = record_key(&self.workspace_id, self.rebuild_id);
        key.extend([attribute("EndedOn", day), attribute("EndedAt", &self.ended_at)]);
        key
    }
}
