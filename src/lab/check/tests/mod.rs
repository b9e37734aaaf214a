//! The checker against constructed histories and ledgers: correct ones, and one for every kind of breach.

#![allow(clippy::unwrap_used)]

mod forged;
mod good;
mod kinds;
mod ledgers;
mod speed;
mod world;
