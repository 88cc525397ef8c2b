//! The reconciler, held against all that can go wrong.

mod faults;
mod races;
mod table;
mod world;
mod writes;
