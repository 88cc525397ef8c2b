//! Constraints of the API model, worded as AWS words them.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// The constraints that a request breaks. The messages leave out the values, as AWS leaves out the
/// values of sensitive members: no answer repeats raw input.
#[derive(Default)]
pub(super) struct Constraints(Vec<String>);

impl Constraints {
    pub(super) fn broken(&mut self, place: &str, constraint: &str) {
        self.0.push(format!("Value at '{place}' failed to satisfy constraint: {constraint}"));
    }

    pub(super) fn not_null<T>(&mut self, place: &str, value: Option<&T>) {
        if value.is_none() {
            self.broken(place, "Member must not be null");
        }
    }

    pub(super) fn pattern(&mut self, place: &str, is_met: bool, pattern: &str) {
        if !is_met {
            let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
            self.broken(place, &constraint);
        }
    }

    pub(super) fn length(
        &mut self,
        place: &str,
        length: Option<usize>,
        allowed: RangeInclusive<usize>,
    ) {
        self.bounds(place, "length", length, allowed);
    }

    /// An absent value is within any bounds.
    pub(super) fn bounds<T: Display + PartialOrd>(
        &mut self,
        place: &str,
        what: &str,
        value: Option<T>,
        allowed: RangeInclusive<T>,
    ) {
        let (least, most) = allowed.into_inner();
        let (order, bound) = match value {
            Some(value) if value < least => ("greater", least),
            Some(value) if value > most => ("less", most),
            Some(_) | None => return,
        };
        self.broken(place, &format!("Member must have {what} {order} than or equal to {bound}"));
    }

    /// The value, if it is there and no constraint is broken; else the message.
    pub(super) fn check<T>(self, valid: Option<T>) -> Result<T, String> {
        match (valid, self.0.len()) {
            (Some(valid), 0) => Ok(valid),
            (_, count) => {
                let errors = if count == 1 { "error" } else { "errors" };
                Err(format!("{count} validation {errors} detected: {}", self.0.join("; ")))
            }
        }
    }
}
