//! Tests of the reconciler: its decisions, its writes, and every fault and race.

mod burst;
pub mod chance;
mod checks;
mod delay;
mod faults;
mod fleet;
mod hostile;
mod limits;
mod line;
pub mod machine;
mod pause;
mod races;
mod rounds;
mod rules;
mod sync;
mod system;
mod table;
mod tags;
mod truth;
mod world;
mod writes;
