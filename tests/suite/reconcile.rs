//! The reconciler, held against all that can go wrong.

mod faults;
mod world;
