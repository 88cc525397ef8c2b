//! Tests of the reconciler: its decisions, its writes, and every fault and race.

mod burst;
mod faults;
mod fleet;
mod races;
mod sync;
mod system;
mod table;
mod world;
mod writes;
