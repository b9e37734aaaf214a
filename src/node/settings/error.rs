//! Why the settings cannot be used.

/// Why the settings cannot be used, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the configuration file {file} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// The operating system's reason.
        reason: String,
    },
    /// The file is not TOML.
    #[error("the configuration file {file} is not valid TOML in line {line}")]
    NotToml {
        /// The file.
        file: String,
        /// The line of the first error, from 1.
        line: usize,
    },
    /// The layers cannot be merged.
    #[error("the configuration cannot be put together: a name or a value in it is no plain setting")]
    Unusable,
    /// There is no such setting.
    #[error("there is no setting {name}: remove it, or see docs/CONFIGURATION.md for the right name")]
    Unknown {
        /// The name as it was written.
        name: String,
    },
    /// A required setting is missing.
    #[error("{name} is not set: set {name} in the configuration file or {variable} in the environment to {hint}")]
    Missing {
        /// The setting.
        name: &'static str,
        /// The variable that sets it.
        variable: String,
        /// What it should be.
        hint: &'static str,
    },
    /// A setting has the wrong shape.
    #[error("{name} has the wrong shape: set it to {wanted}")]
    Malformed {
        /// The setting.
        name: &'static str,
        /// What it should be.
        wanted: String,
    },
    /// A setting has a wrong value.
    #[error("{name} = {value:?} cannot be used: set it to {wanted}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        wanted: String,
    },
    /// A secret has a wrong value.
    #[error("{name} cannot be used: set it to {wanted}")]
    InvalidSecret {
        /// The setting.
        name: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A secret is set both by itself and by a file.
    #[error("{name} and {name}_file are both set: remove one of them")]
    SecretTwice {
        /// The secret.
        name: &'static str,
    },
    /// The file of a secret cannot be used.
    #[error("{name}_file = {file:?} cannot be used: {reason}; name a readable file that contains the secret alone")]
    SecretFile {
        /// The secret.
        name: &'static str,
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
}
