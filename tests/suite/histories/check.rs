//! A search for an order in which concurrent operations could have taken effect one after the other.
//! (J. M. Wing, C. Gong: Testing and verifying concurrent objects, 1993; with a memory, as in
//! G. Lowe: Testing for linearizability, 2016.)

use std::collections::HashSet;
use std::hash::Hash;

/// When an operation was sent and when its answer arrived, on one counter.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub sent: u64,
    /// `None` if the outcome is unknown: it may take effect at any later time.
    pub answered: Option<u64>,
    /// Whether it may also never take effect.
    pub is_optional: bool,
}

/// Looks for an order that begins in `first`. `apply` is the state after an operation took effect,
/// `None` if its answer would be wrong; `hidden` are the states after a step that no client sees.
///
/// # Errors
/// There is no order. The error has the operations of the longest beginning of one, one a bit.
pub fn linearize<S: Clone + Eq + Hash>(
    spans: &[Span],
    first: S,
    apply: impl Fn(&S, usize) -> Option<S>,
    hidden: impl Fn(&S) -> Vec<S>,
) -> Result<(), u128> {
    assert!(spans.len() <= 128, "one bit for each");
    let bit = |index: usize| 1_u128 << index;
    let required = (0..spans.len()).filter(|index| !spans[*index].is_optional);
    let required = required.fold(0, |all, index| all | bit(index));
    // Those that were answered early come last, so that the search takes them first.
    let mut order: Vec<_> = (0..spans.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(spans[*index].answered.unwrap_or(u64::MAX)));

    let mut longest = 0_u128;
    let mut reached = HashSet::from([(0, first.clone())]);
    let mut ahead = vec![(0, first)];
    while let Some((done, state)) = ahead.pop() {
        if done & required == required {
            return Ok(());
        }
        if done.count_ones() > longest.count_ones() {
            longest = done;
        }
        let open = || order.iter().copied().filter(|index| done & bit(*index) == 0);
        // Whatever was sent after an answer took effect after it.
        let until = open().filter_map(|index| spans[index].answered).min().unwrap_or(u64::MAX);
        let next = open().filter(|index| spans[*index].sent < until);
        let next = next.filter_map(|index| Some((done | bit(index), apply(&state, index)?)));
        for place in hidden(&state).into_iter().map(|state| (done, state)).chain(next) {
            if reached.insert(place.clone()) {
                ahead.push(place);
            }
        }
    }
    Err(longest)
}

/// A register that holds a number.
#[derive(Clone, Copy)]
enum Register {
    Write(u8),
    Read(u8),
}
use Register::{Read, Write};

/// Whether the operations, sent and answered at these times, have an order. The register may count
/// up by itself, without a client, if it `counts`. Time 0 for an answer stands for none.
fn has_order(operations: &[(Register, u64, u64)], counts: bool) -> bool {
    let spans = operations.iter().map(|(_, sent, answered)| Span {
        sent: *sent,
        answered: (*answered > 0).then_some(*answered),
        is_optional: *answered == 0,
    });
    let apply = |held: &u8, index: usize| match operations[index].0 {
        Write(number) => Some(number),
        Read(number) => (number == *held).then_some(number),
    };
    let hidden = |held: &u8| if counts && *held < 9 { vec![held + 1] } else { vec![] };
    linearize(&spans.collect::<Vec<_>>(), 0, apply, hidden).is_ok()
}

#[test]
fn an_order_is_found_if_there_is_one() {
    for operations in [
        &[][..],
        &[(Write(1), 1, 2), (Read(1), 3, 4)],
        // A read during a write sees the old value or the new one.
        &[(Write(1), 1, 6), (Read(0), 2, 3), (Read(1), 4, 5)],
        &[(Write(1), 1, 6), (Read(0), 2, 7), (Read(1), 3, 4)],
        // Two writes at a time, in either order.
        &[(Write(1), 1, 4), (Write(2), 2, 3), (Read(1), 5, 6)],
        &[(Write(1), 1, 4), (Write(2), 2, 3), (Read(2), 5, 6)],
        // A write with an unknown outcome has its effect late, or never.
        &[(Write(1), 1, 0), (Read(0), 2, 3), (Write(2), 4, 5), (Read(1), 6, 7)],
        &[(Write(1), 1, 0), (Write(2), 2, 3), (Read(2), 4, 5)],
    ] {
        assert!(has_order(operations, false));
    }
    assert!(has_order(&[(Read(0), 1, 2), (Read(3), 3, 4), (Write(1), 5, 6)], true));
}

#[test]
fn an_order_is_not_made_up() {
    for operations in [
        &[(Read(1), 1, 2)][..],
        &[(Read(1), 1, 2), (Write(1), 3, 4)],
        &[(Write(1), 1, 2), (Read(0), 3, 4)],
        // The new value, and then the old one again.
        &[(Write(1), 1, 6), (Read(1), 2, 3), (Read(0), 4, 5)],
        &[(Write(1), 1, 4), (Write(2), 2, 3), (Read(1), 5, 6), (Read(2), 7, 8)],
        // An unknown outcome is one effect, not two.
        &[(Write(1), 1, 0), (Read(1), 2, 3), (Write(2), 4, 5), (Read(1), 6, 7)],
        &[(Read(1), 1, 2), (Write(1), 3, 0)],
    ] {
        assert!(!has_order(operations, false));
    }
    assert!(!has_order(&[(Read(3), 1, 2), (Read(2), 3, 4)], true));
}
