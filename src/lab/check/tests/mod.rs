//! The checker against histories and ledgers that were made for it: a good one, and one for every lie.

#![allow(clippy::unwrap_used)]

mod forged;
mod good;
mod kinds;
mod ledgers;
mod speed;
mod world;
