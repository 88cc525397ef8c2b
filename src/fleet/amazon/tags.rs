//! The tags of WorkSpaces, from the Resource Groups Tagging API.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_resourcegroupstagging::Client;
use aws_sdk_resourcegroupstagging::types::{ResourceTagMapping, TagFilter};

use super::RateLimit;
use crate::calls::Rate;
use crate::error::Cause;
use crate::fleet::Pages;
use crate::ids::WorkspaceId;
use crate::workspace::Tags;

/// Reads the tags with some keys.
#[derive(Debug)]
pub(super) struct Tagging {
    client: Client,
    keys: HashSet<String>,
    calls: RateLimit,
}

impl Tagging {
    /// AWS allows 15 calls a second of an account; other tools share them.
    pub(super) fn new(client: Client, keys: HashSet<String>) -> Self {
        Self {
            client,
            keys,
            calls: RateLimit::new(Rate { interval: Duration::from_millis(200), burst: 1 }),
        }
    }

    /// The tags of all WorkSpaces that have any of them. A filter with several keys would leave out
    /// whatever lacks one of them, so each key is a listing of its own.
    pub(super) async fn tags(&self) -> Result<HashMap<WorkspaceId, Tags>, Cause> {
        let mut all: HashMap<WorkspaceId, Tags> = HashMap::new();
        for key in &self.keys {
            let filter = TagFilter::builder().key(key).build();
            let mut pages = Pages::default();
            let mut token = None;
            loop {
                self.calls.wait().await;
                let page = self
                    .client
                    .get_resources()
                    .resource_type_filters("workspaces:workspace")
                    .tag_filters(filter.clone())
                    .resources_per_page(100)
                    .set_pagination_token(token)
                    .send()
                    .await?;
                for tagged in page.resource_tag_mapping_list.unwrap_or_default() {
                    let Some((id, value)) = value_of(tagged, key) else { continue };
                    all.entry(id).or_default().insert(key.clone(), value);
                }
                token = pages.next(page.pagination_token)?;
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(all)
    }
}

/// The id of a WorkSpace, which ends its ARN, and the value of one of its tags.
fn value_of(tagged: ResourceTagMapping, key: &str) -> Option<(WorkspaceId, String)> {
    let arn = tagged.resource_arn?;
    let (_, id) = arn.rsplit_once("workspace/")?;
    let tag = tagged.tags.unwrap_or_default().into_iter().find(|tag| tag.key == key)?;
    Some((id.to_owned().try_into().ok()?, tag.value))
}
