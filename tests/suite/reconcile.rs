//! The reconciler, held against all that can go wrong.

mod burst;
mod faults;
mod fleet;
mod races;
mod sync;
mod system;
mod table;
mod world;
mod writes;
