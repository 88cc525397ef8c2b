//! Accepting a rebuild: the write behind each request to rebuild.

use super::Store;
use super::fault::{Written, write_for_caller};
use super::item::{Item, from_rebuild, string};
use super::overtaken;
use super::queue::Queue;
use super::within;
use crate::error::{AcceptError, Fault};
use crate::ids::Target;
use crate::rebuild::{Accepted, Rebuild};
use crate::state::State;
use crate::workspace::Latest;
use aws_sdk_dynamodb::types::AttributeValue;

/// The changes of the accepting write.
pub const ACCEPT: &str = "SET PreviousState = #State, \
    #State = :rebuilding, \
    #Rebuild = :rebuild, \
    OpenRebuild = :requested, \
    OpenSince = :now";

/// The condition of the accepting write: the state allows a rebuild, no rebuild is open, the
/// WorkSpace is not protected, and the key is new. Ids grow with time, so the last clause refuses a
/// delayed attempt that arrives after a newer rebuild.
pub const ACCEPT_CONDITION: &str = "#State IN (:available, :error, :unhealthy, :stopped, :rebooting) \
    AND attribute_not_exists(OpenRebuild) \
    AND attribute_not_exists(Protection) \
    AND (attribute_not_exists(#Rebuild.IdempotencyKey) OR #Rebuild.IdempotencyKey <> :key) \
    AND attribute_not_exists(#Keys.#Key) \
    AND (attribute_not_exists(#Rebuild.Id) OR #Rebuild.Id < :id)";

/// The placeholders of [`State::REBUILDABLE`] in [`ACCEPT_CONDITION`], in the same order.
const STATE_PLACEHOLDERS: [&str; 5] =
    [":available", ":error", ":unhealthy", ":stopped", ":rebooting"];

impl Store {
    /// Makes `rebuild` the current rebuild of the WorkSpace, if its state allows that: one
    /// conditional write, which returns the item if the condition fails.
    ///
    /// # Errors
    /// See [`AcceptError`]. Only `OutcomeUnknown` may have changed something.
    pub async fn accept(
        &self,
        target: &Target,
        rebuild: &Rebuild,
    ) -> Result<Accepted, AcceptError> {
        let values = [
            (":rebuild", AttributeValue::M(from_rebuild(rebuild)?)),
            (":now", string(rebuild.created_at)),
            (":key", string(&rebuild.idempotency_key)),
            (":id", string(rebuild.id)),
            (":requested", string(Queue::Requested)),
            (":rebuilding", string(State::Rebuilding)),
        ];
        let states = STATE_PLACEHOLDERS.into_iter().zip(State::REBUILDABLE.map(string));
        let values = values.into_iter().chain(states);
        let request = self
            .update_target(target, ACCEPT, ACCEPT_CONDITION, values)
            .expression_attribute_names("#State", "State")
            .expression_attribute_names("#Rebuild", "Rebuild")
            .expression_attribute_names("#Keys", "Keys")
            .expression_attribute_names("#Key", rebuild.idempotency_key.hash());
        let explain = async |written| match written {
            Written::Made(_) => Ok(Accepted::first(rebuild)),
            Written::Refused(item) => explain_refusal(target, item, rebuild),
        };
        let rebuild_id = rebuild.id;
        let unknown =
            |error: AcceptError| AcceptError::OutcomeUnknown { rebuild_id, source: error.into() };
        write_for_caller(request, explain, unknown).await
    }
}

/// What the item that failed the condition says about `rebuild`.
fn explain_refusal(
    target: &Target,
    item: Option<Item>,
    rebuild: &Rebuild,
) -> Result<Accepted, AcceptError> {
    let id = &target.workspace_id;
    let Some(workspace) = within(target, item)? else {
        return Err(AcceptError::WorkspaceNotFound(id.clone()));
    };
    let parameters = rebuild.parameters();
    let replay = |rebuild_id, created_at, has_parameters| {
        if has_parameters {
            // An earlier attempt of the same request, whose answer was lost, is no earlier request.
            Ok(Accepted { rebuild_id, created_at, is_replay: rebuild_id != rebuild.id })
        } else {
            Err(AcceptError::KeyReused)
        }
    };
    let current = workspace.rebuild();
    if let Some(current) = current.filter(|it| it.idempotency_key == rebuild.idempotency_key) {
        return replay(current.id, current.created_at, current.parameters() == parameters);
    }
    if let Some(ended) = workspace.keys.find(&rebuild.idempotency_key) {
        return replay(ended.id, ended.id.created_at(), ended.has(parameters));
    }
    if let Some(refusal) = workspace.refusal() {
        return Err(refusal);
    }
    Err(match workspace.latest {
        Latest::Released(last) if last.id > rebuild.id => overtaken("the last rebuild").into(),
        Latest::Open(_) | Latest::Released(_) | Latest::None => {
            Fault::internal("no clause explains the failed condition").into()
        }
    })
}
