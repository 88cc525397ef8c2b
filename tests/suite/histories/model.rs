//! One WorkSpace as docs/contract.md describes it: a state, and what each request does to it.

use std::fmt::{Display, Formatter};

use serde_json::{Value, json};

use super::check::{Span, linearize};

/// A request about the WorkSpace.
#[derive(Clone, Debug)]
pub enum Request {
    Rebuild { key: String, reason: Option<&'static str> },
    Cancel(String),
    Protect(String),
    Unprotect,
    ReadWorkspace,
    ReadRebuild(String),
    ReadHistory,
}

/// What the answer says.
#[derive(Clone, Debug)]
pub enum Said {
    /// A rebuild was accepted; AWS clients are told no more.
    Accepted {
        id: Option<String>,
        is_replay: Option<bool>,
    },
    Shown(Value),
    Refused(Refusal),
    Unknown,
    /// Nothing of the contract.
    Wrong(String),
}

impl Display for Said {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted { id, is_replay } => {
                let word = if *is_replay == Some(true) { "Replayed" } else { "Accepted" };
                write!(f, "{word} {}", id.as_deref().unwrap_or_default())
            }
            Self::Shown(shown) => write!(f, "{shown}"),
            Self::Refused(refusal) => write!(f, "{refusal:?}"),
            Self::Unknown => write!(f, "Unknown"),
            Self::Wrong(answer) => write!(f, "not an answer of the contract: {answer}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Protected,
    /// The state does not allow it, or a rebuild is open.
    InvalidState,
    NotReleased,
    KeyReused,
    NotCancellable,
    NotFound,
}

/// A request with its answer.
#[derive(Clone, Debug)]
pub struct Operation {
    pub client: usize,
    pub sent: u64,
    pub answered: u64,
    pub request: Request,
    pub said: Said,
    /// The id of the rebuild that it makes, if it makes one.
    pub id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Succeeded,
    Failed,
    Cancelled,
    /// The WorkSpace was protected before the hand-over.
    Protected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Requested,
    HandedOver,
    Started,
    Ended(End),
    Released(End),
}

impl Stage {
    fn status(self) -> &'static str {
        match self {
            Self::Requested | Self::HandedOver => "REQUESTED",
            Self::Started => "STARTED",
            Self::Ended(end) | Self::Released(end) => match end {
                End::Succeeded => "SUCCEEDED",
                End::Failed | End::Protected => "FAILED",
                End::Cancelled => "CANCELLED",
            },
        }
    }

    fn is_under_way(self) -> bool {
        matches!(self, Self::Requested | Self::HandedOver | Self::Started)
    }
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct State {
    /// The operations that made the rebuilds, oldest first. All but the last are released.
    rebuilds: Vec<(usize, Stage)>,
    /// The operation that protected the WorkSpace.
    protection: Option<usize>,
    /// Whether it was protected since the last rebuild was accepted.
    was_protected: bool,
    /// When the last change of the protection was sent.
    protection_sent: u64,
}

impl State {
    fn latest(&self) -> Option<Stage> {
        self.rebuilds.last().map(|(_, stage)| *stage)
    }

    fn with_latest(&self, stage: Stage) -> Self {
        let mut after = self.clone();
        after.rebuilds.last_mut().expect("a rebuild").1 = stage;
        after
    }

    /// The steps of the reconciler.
    fn steps(&self) -> Vec<Self> {
        let next = match self.latest() {
            None | Some(Stage::Released(_)) => vec![],
            Some(Stage::Requested) => {
                let handed_over = self.protection.is_none().then_some(Stage::HandedOver);
                let refused = self.was_protected.then_some(Stage::Ended(End::Protected));
                handed_over.into_iter().chain(refused).collect()
            }
            Some(Stage::HandedOver) => vec![Stage::Started],
            Some(Stage::Started) => vec![Stage::Ended(End::Succeeded), Stage::Ended(End::Failed)],
            Some(Stage::Ended(end)) => vec![Stage::Released(end)],
        };
        next.into_iter().map(|stage| self.with_latest(stage)).collect()
    }
}

/// All requests about a WorkSpace, and how it was before.
pub struct History {
    pub workspace_id: String,
    pub state: &'static str,
    pub operations: Vec<Operation>,
}

impl History {
    /// Checks that the operations have an order that the contract allows. `made` are the ids of the
    /// rebuilds that the tables have.
    ///
    /// # Errors
    /// There is no such order; the error shows the history.
    pub fn check(&self, made: &[String]) -> Result<(), String> {
        let was_made = |operation: &Operation| {
            operation.id.as_ref().is_some_and(|id| made.iter().any(|made| made == id))
        };
        let spans = self.operations.iter().map(|operation| {
            let is_unknown = matches!(operation.said, Said::Unknown);
            Span {
                sent: operation.sent,
                answered: (!is_unknown).then_some(operation.answered),
                is_optional: is_unknown && !was_made(operation),
            }
        });
        let spans: Vec<_> = spans.collect();
        let apply = |state: &State, index: usize| {
            // Without its rebuild, an unknown request to rebuild did nothing.
            let is_idle = matches!(self.operations[index].request, Request::Rebuild { .. })
                && spans[index].is_optional;
            if is_idle { None } else { self.apply(state, index) }
        };
        linearize(&spans, State::default(), apply, State::steps).map_err(|longest| {
            let first = format!("{}, first {}; ? has no place:", self.workspace_id, self.state);
            let mut lines = vec![first];
            for (index, operation) in self.operations.iter().enumerate() {
                let Operation { client, sent, answered, request, said, .. } = operation;
                let place = if longest >> index & 1 == 1 { ' ' } else { '?' };
                lines.push(format!("{place} {sent:4}-{answered:<4} {client}: {request:?}: {said}"));
            }
            lines.join("\n")
        })
    }

    fn id(&self, (made_by, _): (usize, Stage)) -> &str {
        self.operations[made_by].id.as_deref().expect("a rebuild has an id")
    }

    fn find(&self, state: &State, id: &str) -> Option<Stage> {
        let mut rebuilds = state.rebuilds.iter();
        rebuilds.find(|rebuild| self.id(**rebuild) == id).map(|(_, stage)| *stage)
    }

    /// The rebuild that was requested with this key, and its reason. A key of API Gateway's is known
    /// only while its rebuild is the latest.
    fn find_key(&self, state: &State, key: &str) -> Option<(&str, Option<&str>)> {
        let forgotten =
            if key.starts_with("request: ") { state.rebuilds.len().saturating_sub(1) } else { 0 };
        state.rebuilds[forgotten..].iter().find_map(|rebuild| {
            match &self.operations[rebuild.0].request {
                Request::Rebuild { key: its, reason } if its == key => {
                    Some((self.id(*rebuild), *reason))
                }
                _ => None,
            }
        })
    }

    /// The state after an operation took effect, if its answer is true `now`.
    fn apply(&self, now: &State, index: usize) -> Option<State> {
        let operation = &self.operations[index];
        let same_if = |is_true: bool| is_true.then(|| now.clone());
        match (&operation.request, &operation.said) {
            (Request::Rebuild { key, reason }, said) => {
                self.rebuild(now, index, self.find_key(now, key), *reason, said)
            }
            (Request::Cancel(id), said) => match (said, self.find(now, id)) {
                (Said::Refused(Refusal::NotFound), stage) => same_if(stage.is_none()),
                (Said::Refused(Refusal::NotCancellable), Some(stage)) => {
                    same_if(stage != Stage::Requested && stage.status() != "CANCELLED")
                }
                (Said::Shown(rebuild), Some(_)) if rebuild["status"] != "CANCELLED" => None,
                (Said::Shown(_) | Said::Unknown, Some(Stage::Requested)) => {
                    Some(now.with_latest(Stage::Ended(End::Cancelled)))
                }
                (Said::Shown(_), Some(stage)) => same_if(stage.status() == "CANCELLED"),
                _ => None,
            },
            (request @ (Request::Protect(_) | Request::Unprotect), said) => {
                // A later change stops an earlier one that is still on its way.
                if now.protection_sent > operation.answered {
                    return None;
                }
                let protects = matches!(request, Request::Protect(_));
                let after = State {
                    protection: now.protection.or(Some(index)).filter(|_| protects),
                    was_protected: now.was_protected || protects,
                    protection_sent: now.protection_sent.max(operation.sent),
                    ..now.clone()
                };
                let is_true = match said {
                    Said::Shown(shown) => {
                        shown["protection"]["reason"] == self.protection(&after)
                            && !(protects && shown["rebuildable"] == true)
                    }
                    _ => matches!(said, Said::Unknown),
                };
                is_true.then_some(after)
            }
            (Request::ReadWorkspace, Said::Shown(shown)) => same_if(self.shows(now, shown)),
            (Request::ReadRebuild(id), Said::Shown(shown)) => {
                let stage = self.find(now, id);
                same_if(stage.is_some_and(|stage| shown["status"] == stage.status()))
            }
            (Request::ReadRebuild(id), Said::Refused(Refusal::NotFound)) => {
                same_if(self.find(now, id).is_none())
            }
            (Request::ReadHistory, Said::Shown(shown)) => {
                let rebuilds = shown["rebuilds"].as_array().expect("a list").iter();
                let shown = rebuilds.map(|rebuild| [&rebuild["id"], &rebuild["status"]]);
                let rebuilds = now.rebuilds.iter().rev();
                let rebuilds = rebuilds.map(|rebuild| [self.id(*rebuild), rebuild.1.status()]);
                same_if(shown.eq(rebuilds))
            }
            _ => None,
        }
    }

    fn rebuild(
        &self,
        state: &State,
        index: usize,
        known: Option<(&str, Option<&str>)>,
        reason: Option<&str>,
        said: &Said,
    ) -> Option<State> {
        let operation = &self.operations[index];
        let latest = state.latest();
        let is_true = match (said, known) {
            (Said::Accepted { id, is_replay }, Some((known, its_reason))) => {
                let is_its = id.as_ref().is_none_or(|id| id == known);
                is_its && *is_replay != Some(false) && its_reason == reason
            }
            (Said::Refused(Refusal::KeyReused), Some((_, its_reason))) => its_reason != reason,
            (Said::Refused(refusal), None) => match refusal {
                Refusal::Protected => state.protection.is_some(),
                Refusal::InvalidState => {
                    !self.allows_rebuilds() || latest.is_some_and(Stage::is_under_way)
                }
                Refusal::NotReleased => matches!(latest, Some(Stage::Ended(_))),
                _ => false,
            },
            (Said::Accepted { is_replay: None | Some(false), .. } | Said::Unknown, None) => {
                let id = operation.id.as_deref()?;
                // A late attempt does not land after a newer rebuild.
                let is_newest = state.rebuilds.iter().all(|rebuild| self.id(*rebuild) < id);
                if !is_newest || !self.is_rebuildable(state) {
                    return None;
                }
                let mut state = State { was_protected: false, ..state.clone() };
                state.rebuilds.push((index, Stage::Requested));
                return Some(state);
            }
            _ => false,
        };
        is_true.then(|| state.clone())
    }

    fn allows_rebuilds(&self) -> bool {
        self.state != "SUSPENDED"
    }

    fn is_rebuildable(&self, state: &State) -> bool {
        let is_free = matches!(state.latest(), None | Some(Stage::Released(_)));
        self.allows_rebuilds() && is_free && state.protection.is_none()
    }

    /// The reason of the protection.
    fn protection(&self, state: &State) -> Value {
        match state.protection.map(|index| &self.operations[index].request) {
            Some(Request::Protect(reason)) => json!(reason),
            _ => Value::Null,
        }
    }

    /// Whether a WorkSpace in this state looks like that.
    fn shows(&self, state: &State, shown: &Value) -> bool {
        let wiped = state.rebuilds.iter().rev().find_map(|(_, stage)| match stage {
            Stage::Ended(end) | Stage::Released(end) => match end {
                End::Succeeded => Some("AVAILABLE"),
                End::Failed => Some("ERROR"),
                End::Cancelled | End::Protected => None,
            },
            Stage::Requested | Stage::HandedOver | Stage::Started => Some("REBUILDING"),
        });
        let latest = state.rebuilds.last();
        shown["rebuildable"] == self.is_rebuildable(state)
            && shown["state"] == wiped.unwrap_or(self.state)
            && shown["protection"]["reason"] == self.protection(state)
            && shown["rebuild"]["id"] == json!(latest.map(|rebuild| self.id(*rebuild)))
            && shown["rebuild"]["status"] == json!(latest.map(|rebuild| rebuild.1.status()))
    }
}
