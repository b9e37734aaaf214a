//! The settings of a node: one typed struct, layered from defaults, a TOML file and `QUORAPAY_*` variables, and checked
//! once at start.
//!
//! This module knows what the settings mean, not how they are used. Every error is one line that names the setting, its
//! value (never a secret) and what to do. `docs/CONFIGURATION.md` describes them all.

mod check;
mod error;
mod layers;
mod model;
mod secret;
mod shown;
#[cfg(test)]
mod tests;

pub use error::SettingsError;
pub use model::{Callers, LogFormat, Settings, ZooKeeperCredential};
pub use secret::Secret;
