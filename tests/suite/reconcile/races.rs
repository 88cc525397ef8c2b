//! Two concurrent passes, and other events meanwhile, in every order of their calls.
//!
//! The tests enumerate the schedules depth first. Two schedules are equivalent if they differ only
//! in the order of neighbouring calls that don't affect each other (two reads; a call to the fleet
//! and one to the history), and only one of them runs: after an actor's turn was tried at a point,
//! the actor sleeps until a call that affects its own (sleep sets, Godefroid 1996). What a call
//! affects was seen when it was tried: until it is woken, it would do the same again. Each test
//! prints the number of schedules.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rebuild_workspaces::error;
use rebuild_workspaces::ids::WorkspaceId;
use rebuild_workspaces::reconcile::Followed;
use rebuild_workspaces::state::State;
use serde_json::Value;
use time::Duration;

use super::line::{Fault, Line, queue_of};
use super::machine::{Answer, Machine};
use super::world::{Snapshot, World};

/// Something that happens once during the passes.
#[derive(Clone, Copy)]
enum Event {
    /// A client requests a rebuild.
    Accept,
    /// A client cancels the rebuild, if it still can.
    Cancel,
    /// A client protects the WorkSpace.
    Protect,
    /// Somebody else starts a rebuild, unless one shows.
    ByOthers,
    /// From now on, the fleet shows REBUILDING without delay.
    Shown,
    /// The WorkSpace changes to this state.
    Becomes(State),
    /// Time passes.
    Time(Duration),
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Cancel => "cancel",
            Self::Protect => "protect",
            Self::ByOthers | Self::Shown | Self::Becomes(_) => "fleet changes",
            Self::Time(_) => "time passes",
        }
    }

    /// Makes the event happen; returns the number of accepted rebuilds.
    async fn happen(self, world: &Arc<World>, id: &WorkspaceId) -> usize {
        match self {
            Self::Accept => return usize::from(world.accept(id).await),
            Self::Cancel => drop(world.cancel(id).await),
            Self::Protect => world.protect(id, true).await,
            Self::ByOthers => world.machine(id, |machine, now| {
                if machine.shows(now) != Some(State::Rebuilding) {
                    machine.rebuild_by_others(now);
                }
            }),
            Self::Shown => world.machine(id, |machine, _| {
                machine.wipes.iter_mut().for_each(|wipe| wipe.shown_from = wipe.began);
            }),
            Self::Becomes(state) => {
                world.machine(id, |machine, now| machine.becomes(now, state));
            }
            Self::Time(time) => world.pass_time(time),
        }
        0
    }
}

/// What a call read and wrote: parts of the world, and queues of the index.
#[derive(Clone)]
struct Effect {
    reads: Vec<String>,
    writes: Vec<String>,
}

impl Effect {
    /// The effect of a call that found the WorkSpace's item so, and left it so. A write whose
    /// condition fails only reads.
    fn of(call: &str, before: &Value, after: &Value) -> Self {
        let (reads, writes) = touches(call);
        let [mut reads, mut writes] = [reads, writes]
            .map(|parts| parts.iter().copied().map(str::to_owned).collect::<Vec<_>>());
        let queue = |queue: &str| format!("queue {queue}");
        reads.extend(queue_of(call).map(queue));
        if before != after {
            writes.push("item".to_owned());
        }
        // The index has its own keys and those of the table, and nothing else.
        if ["OpenRebuild", "OpenSince"].iter().any(|key| before.get(key) != after.get(key)) {
            let queues = [before, after].map(|item| item["OpenRebuild"]["S"].as_str().map(queue));
            writes.extend(queues.into_iter().flatten());
        }
        Self { reads, writes }
    }

    /// Whether the two neighbouring calls, of different actors, can swap places without any effect.
    fn commutes(&self, other: &Self) -> bool {
        let meet = |some: &[String], others: &[String]| some.iter().any(|one| others.contains(one));
        !(meet(&self.writes, &other.writes)
            || meet(&self.writes, &other.reads)
            || meet(&self.reads, &other.writes))
    }
}

/// What a call reads and writes, apart from the item and the queues that it was seen to change.
fn touches(call: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match call {
        call if queue_of(call).is_some() => (&["index"], &[]),
        "read items" | "write item" | "accept" | "protect" => (&["item"], &[]),
        "cancel" => (&["item", "history"], &[]),
        "read records" => (&["history"], &[]),
        "write record" => (&[], &["history"]),
        "ask fleet" | "ask connections" | "ask snapshots" => (&["fleet"], &[]),
        // The fake fleet reads the id of the rebuild from the item.
        "hand over" => (&["item"], &["fleet"]),
        "fleet changes" => (&[], &["fleet"]),
        "time passes" => (&[], &["item", "index", "history", "fleet"]),
        other => panic!("unknown call: {other}"),
    }
}

/// One pass, which waits for its turn before each call.
pub struct Pass<'a> {
    line: Arc<Line>,
    future: Pin<Box<dyn Future<Output = Result<Followed, error::Fault>> + 'a>>,
    is_over: bool,
}

impl<'a> Pass<'a> {
    pub fn new(
        line: Arc<Line>,
        future: impl Future<Output = Result<Followed, error::Fault>> + 'a,
    ) -> Self {
        line.take_turns();
        let mut pass = Self { line, future: Box::pin(future), is_over: false };
        pass.run();
        pass
    }

    /// The next call of the pass.
    pub fn next(&self) -> Option<&'static str> {
        self.line.waiting().filter(|_| !self.is_over)
    }

    /// Makes that call and runs up to the next one.
    pub fn step(&mut self) {
        self.line.go();
        self.run();
    }

    /// Makes the next calls if they only read or count hand-overs. Nothing pauses them here, and both
    /// passes count theirs in either order, so the calls of others need not come in between.
    fn pass_the_gate(&mut self) {
        while self.next().is_some_and(|call| call.ends_with("control")) {
            self.step();
        }
    }

    fn run(&mut self) {
        match self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(_) => self.is_over = true,
            Poll::Pending => assert!(self.line.waiting().is_some(), "it waits for its turn"),
        }
    }
}

/// Runs all schedules of two passes and `events` from `begin`, and parks the WorkSpaces. Returns
/// the WorkSpace of each schedule, and how many of its rebuilds were accepted.
async fn race(world: &Arc<World>, begin: &Snapshot, events: &[Event]) -> Vec<(WorkspaceId, usize)> {
    let mut races = Vec::new();
    // The choices of the current schedule: each with its index, the number of alternatives, and the
    // effects of those that were tried.
    let mut path: Vec<(usize, usize, Vec<Effect>)> = Vec::new();
    loop {
        let id = world.restore(begin);
        let processes = [world.process(0), world.process(1)];
        let mut passes = processes
            .each_ref()
            .map(|(process, line)| Pass::new(Arc::clone(line), process.follow()));
        passes.iter_mut().for_each(Pass::pass_the_gate);
        let mut events: Vec<_> = events.iter().copied().map(Some).collect();
        let mut accepted = 1;
        let mut asleep: Vec<((usize, &str), Effect)> = vec![];
        let mut depth = 0;
        let is_new = loop {
            let of_passes = passes.iter().map(Pass::next);
            let of_events = events.iter().map(|event| event.map(Event::name));
            let calls: Vec<_> = of_passes.chain(of_events).enumerate().collect();
            if calls.iter().all(|(_, call)| call.is_none()) {
                break true;
            }
            let open: Vec<_> = calls
                .into_iter()
                .filter_map(|(actor, call)| Some((actor, call?)))
                .filter(|next| asleep.iter().all(|(other, _)| other != next))
                .collect();
            if open.is_empty() {
                break false;
            }
            if depth == path.len() {
                path.push((0, open.len(), vec![]));
            }
            let (choice, _, effects) = &mut path[depth];
            let (actor, call) = open[*choice];
            let before = world.item(&id);
            match actor.checked_sub(passes.len()) {
                None => {
                    passes[actor].step();
                    passes[actor].pass_the_gate();
                }
                Some(number) => {
                    let event = events[number].take().expect("an event that has not happened");
                    accepted += event.happen(world, &id).await;
                }
            }
            let effect = Effect::of(call, &before, &world.item(&id));
            asleep.extend(open.iter().copied().zip(effects.iter().cloned()).take(*choice));
            asleep.retain(|(_, other)| effect.commutes(other));
            effects.truncate(*choice);
            effects.push(effect);
            depth += 1;
        };
        drop(passes);
        if is_new {
            world.park(&id);
            races.push((id, accepted));
        } else {
            world.remove(&id);
        }
        while path.pop_if(|(choice, choices, _)| *choice + 1 == *choices).is_some() {}
        match path.last_mut() {
            Some((choice, ..)) => *choice += 1,
            None => return races,
        }
    }
}

/// Runs all schedules of two passes and `events` from each snapshot until nothing is open, and
/// checks the results. Prints the number of schedules and the codes of the records.
async fn races(name: &str, world: &Arc<World>, begins: &[Snapshot], events: &[Event]) {
    let mut races = Vec::new();
    for begin in begins {
        races.extend(race(world, begin, events).await);
    }
    let at_a_time = if begins.iter().any(Snapshot::has_answers) { 1 } else { usize::MAX };
    world.settle(at_a_time).await;
    let mut ends = BTreeMap::new();
    for (id, accepted) in &races {
        for end in world.check(id, *accepted) {
            *ends.entry(end).or_insert(0) += 1;
        }
    }
    println!("races, {name}: {} schedules, {ends:?}", races.len());
}

/// A WorkSpace with an accepted rebuild, after these passes: the minutes before each pass, and the
/// call at which it dies.
async fn begin(world: &Arc<World>, machine: Machine, passes: &[(i64, Option<usize>)]) -> Snapshot {
    let id = world.add_requested(machine).await;
    for (minutes, died_at) in passes {
        world.pass_time(Duration::minutes(*minutes));
        world.faulty_pass(died_at.map(|call| (call, Fault::Died))).await;
    }
    let snapshot = world.snapshot(&id);
    world.remove(&id);
    snapshot
}

/// The position of the hand-over among the calls of a pass. Before it come four reads of the index,
/// one of what pauses hand-overs, one of the items, a look, a read of the records, one of the snapshots,
/// the count and the claim.
const HAND_OVER: usize = 14;
/// The positions of the writes of a pass that ends a rebuild: the record and the release.
const ENDING: [usize; 2] = [11, 12];

/// WorkSpaces with each of these answers to the next two hand-overs. (After the fleet has taken
/// one, it refuses or throttles the next.)
async fn answering(world: &Arc<World>, passes: &[(i64, Option<usize>)]) -> Vec<Snapshot> {
    use Answer::{Loses, Refuses, Takes, Throttles};
    let mut begins = Vec::new();
    for (first, second) in [
        (Takes, Throttles),
        (Throttles, Takes),
        (Throttles, Loses),
        (Refuses, Takes),
        (Refuses, Refuses),
        (Loses, Throttles),
    ] {
        let machine = Machine { answers: [first, second].into(), ..Machine::new() };
        begins.push(begin(world, machine, passes).await);
    }
    begins
}

#[tokio::test]
async fn two_passes_hand_over_once() {
    let world = World::new();
    let begins = answering(&world, &[]).await;
    races("two hand over", &world, &begins, &[]).await;
}

#[tokio::test]
async fn two_passes_watch_an_interrupted_hand_over() {
    let world = World::new();
    let begins = answering(&world, &[(0, Some(HAND_OVER)), (35, Some(1))]).await;
    races("two watch a claim", &world, &begins, &[Event::ByOthers]).await;
}

#[tokio::test]
async fn two_passes_follow_a_hand_over_with_a_lost_answer() {
    let world = World::new();
    let answers = [Answer::Loses].into();
    let machine = Machine { answers, lag: Duration::minutes(2), ..Machine::new() };
    let begins = [begin(&world, machine, &[(0, None), (1, None), (2, Some(1))]).await];
    races("an answer was lost", &world, &begins, &[Event::Shown]).await;
}

#[tokio::test]
async fn two_passes_hand_over_while_somebody_else_rebuilds() {
    let world = World::new();
    let machine = Machine { answers: [Answer::Throttles].into(), ..Machine::new() };
    let begins = [begin(&world, machine, &[]).await];
    races("somebody else rebuilds it", &world, &begins, &[Event::ByOthers]).await;
}

#[tokio::test]
async fn two_passes_hand_over_when_the_time_is_up() {
    let world = World::new();
    let begins = [begin(&world, Machine::new(), &[(24 * 60 - 1, Some(1))]).await];
    let events = [Event::Time(Duration::minutes(2))];
    races("the time to hand over is up", &world, &begins, &events).await;
}

#[tokio::test]
async fn two_passes_hand_over_while_the_state_changes() {
    let world = World::new();
    let begins = [begin(&world, Machine::new(), &[]).await];
    races("its state changes", &world, &begins, &[Event::Becomes(State::Suspended)]).await;
}

#[tokio::test]
async fn two_passes_hand_over_while_a_client_cancels() {
    let world = World::new();
    let machine = Machine { answers: [Answer::Throttles].into(), ..Machine::new() };
    let begins = [begin(&world, machine, &[]).await];
    races("a client cancels it", &world, &begins, &[Event::Cancel]).await;
}

#[tokio::test]
async fn two_passes_hand_over_while_a_client_protects() {
    let world = World::new();
    let begins = [begin(&world, Machine::new(), &[]).await];
    races("a client protects it", &world, &begins, &[Event::Protect]).await;
}

#[tokio::test]
async fn two_passes_see_rebuilding_for_the_first_time() {
    let world = World::new();
    let begins = [begin(&world, Machine::new(), &[(0, None), (2, Some(1))]).await];
    races("both see it first", &world, &begins, &[Event::Time(Duration::minutes(1))]).await;
}

#[tokio::test]
async fn only_one_of_two_passes_sees_rebuilding() {
    let world = World::new();
    let machine = Machine { answers: [Answer::Drops].into(), ..Machine::new() };
    let begins = [begin(&world, machine, &[(0, None), (31, None), (4, Some(1))]).await];
    races("one sees it, one doesn't", &world, &begins, &[Event::ByOthers]).await;
}

#[tokio::test]
async fn two_passes_note_what_they_see() {
    let world = World::new();
    let begins = [
        begin(&world, Machine::in_state(State::Suspended), &[]).await,
        begin(&world, Machine::in_state(State::Suspended), &[(0, None), (3, Some(1))]).await,
    ];
    races("both note it", &world, &begins, &[Event::Becomes(State::Available)]).await;
}

#[tokio::test]
async fn two_passes_end_a_rebuild_and_a_client_requests_another() {
    let world = World::new();
    let machine = Machine { outcome: State::Error, ..Machine::new() };
    let passes = [(0, None), (4, None), (40, None)];
    let running = begin(&world, machine, &[&passes[..], &[(4, Some(1))]].concat()).await;
    // The end is decided, but the record is missing, or the WorkSpace is not released.
    let mut begins = vec![running];
    for call in ENDING {
        let passes = [&passes[..], &[(4, Some(call))]].concat();
        begins.push(begin(&world, Machine::new(), &passes).await);
    }
    races("both end it, and a client requests another", &world, &begins, &[Event::Accept]).await;
}

/// A pass stalls before one of its calls, each in turn, while other passes end the rebuild and
/// start the next one. Then it continues with what it read before.
#[tokio::test]
async fn a_stalled_pass_does_no_harm() {
    let world = World::new();
    let passes = [(0, None), (4, None), (40, None), (4, Some(1))];
    let mut begins = vec![
        begin(&world, Machine::new(), &passes[..1]).await,
        begin(&world, Machine::new(), &passes[..2]).await,
        begin(&world, Machine::new(), &passes).await,
    ];
    for call in ENDING {
        let passes = [&passes[..3], &[(4, Some(call))]].concat();
        begins.push(begin(&world, Machine::new(), &passes).await);
    }
    let mut races = Vec::new();
    for (begin, calls) in begins.iter().flat_map(|begin| (1..14).map(move |calls| (begin, calls))) {
        let id = world.restore(begin);
        let (process, line) = world.process(1);
        let mut pass = Pass::new(line, process.follow());
        for _ in 1..calls {
            if pass.next().is_some() {
                pass.step();
            }
        }
        for minutes in [0, 4, 45, 4, 4] {
            world.pass_time(Duration::minutes(minutes));
            world.pass().await;
        }
        assert!(world.accept(&id).await, "the first rebuild has ended");
        world.pass().await;
        while pass.next().is_some() {
            pass.step();
        }
        drop(pass);
        world.park(&id);
        races.push((id, 2));
    }
    world.settle(usize::MAX).await;
    for (id, accepted) in &races {
        assert_eq!(world.check(id, *accepted), ["SUCCEEDED", "SUCCEEDED"]);
    }
    println!("races, a pass stalls: {} schedules", races.len());
}
