//! Defaults, file and environment, merged; values are taken out by name.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use config::{Config, Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::error::SettingsError;

/// A setting that exists.
pub(super) struct Known {
    /// Its name in the file; in the environment `QUORAPAY_` and the same in capitals.
    pub(super) name: &'static str,
    /// Its value if it is not set.
    pub(super) default: Option<&'static str>,
    /// Whether its value must not be shown.
    pub(super) secret: bool,
}

const fn known(name: &'static str, default: Option<&'static str>) -> Known {
    Known { name, default, secret: false }
}

const fn secret(name: &'static str) -> Known {
    Known { name, default: None, secret: true }
}

/// The variables of the client commands. They are no settings of a node, but may be set in the same environment.
const CLIENTS_VARIABLES: [&str; 6] = [
    "QUORAPAY_URL",
    "QUORAPAY_CA",
    "QUORAPAY_CLIENT_CERTIFICATE",
    "QUORAPAY_CLIENT_KEY",
    "QUORAPAY_API_KEY",
    "QUORAPAY_API_KEY_FILE",
];

/// Every setting that exists.
pub(super) const KNOWN: [Known; 34] = [
    known("node_id", None),
    known("cluster_id", Some("quorapay")),
    known("listen", Some("127.0.0.1:7101")),
    known("client_url", None),
    known("peer_listen", Some("127.0.0.1:7201")),
    known("peer_url", None),
    known("peers", None),
    known("zookeeper", Some("127.0.0.1:2181")),
    known("zookeeper_session_timeout_ms", Some("6000")),
    known("zookeeper_user", None),
    secret("zookeeper_password"),
    secret("cluster_secret"),
    known("tls_certificate_file", None),
    known("tls_key_file", None),
    known("tls_client_ca_file", None),
    known("peer_tls_certificate_file", None),
    known("peer_tls_key_file", None),
    known("peer_tls_ca_file", None),
    known("data_dir", None),
    known("log", Some("info")),
    known("log_format", Some("text")),
    known("heartbeat_ms", Some("50")),
    known("heartbeat_timeout_ms", Some("400")),
    known("step_down_ms", Some("1000")),
    known("request_queue", Some("16384")),
    known("http_threads", Some("auto")),
    known("max_connections", Some("10000")),
    known("max_connections_per_address", Some("auto")),
    known("callers", None),
    secret("first_api_key"),
    known("chaos_mode", Some("false")),
    known("trace_endpoint", None),
    known("trace_one_in", Some("0")),
    known("trace_slower_than_ms", Some("0")),
];

const PREFIX: &str = "QUORAPAY";
/// What the name of a secret gets appended to name the file that contains it.
const FILE_SUFFIX: &str = "_file";
/// Most bytes of such a file: no secret is longer, and a wrong path may name a huge file.
const MAX_SECRET_BYTES: u64 = 4_096;
/// The `config` crate's name for the origin of values from the environment.
const ENVIRONMENT: &str = "the environment";

/// The variable that sets a setting.
pub(super) fn variable(name: &str) -> String {
    format!("{PREFIX}_{}", name.to_uppercase())
}

/// All values by name, each from the last layer that sets it.
#[derive(Debug)]
pub(super) struct Layers(Map<String, Value>);

impl Layers {
    /// Merges the defaults, the file and the environment, each overriding the one before.
    pub(super) fn new(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let mut builder = Config::builder();
        for Known { name, default, .. } in KNOWN {
            if let Some(default) = default {
                builder = builder.set_default(name, default).map_err(unusable)?;
            }
        }
        if let Some(path) = file {
            builder = builder.add_source(File::from_str(&read_toml(path)?, FileFormat::Toml));
        }
        // An empty variable counts as not set: compose files turn a missing one into an empty one.
        let own = |(name, _): &(&String, &String)| !CLIENTS_VARIABLES.contains(&name.as_str());
        let variables = environment.iter().filter(own).map(|(name, value)| (name.clone(), value.clone())).collect();
        let environment = Environment::with_prefix(PREFIX).ignore_empty(true).source(Some(variables));
        let merged = builder.add_source(environment).build().map_err(unusable)?;
        let mut layers = Self(merged.collect().map_err(unusable)?);
        layers.read_secret_files()?;
        layers.reject_unknown()?;
        Ok(layers)
    }

    /// Replaces each `…_file` of a secret by the secret that the file contains.
    fn read_secret_files(&mut self) -> Result<(), SettingsError> {
        for Known { name, secret, .. } in KNOWN {
            let Some(path) = secret.then(|| self.0.remove(&format!("{name}{FILE_SUFFIX}"))).flatten() else {
                continue;
            };
            if self.0.contains_key(name) {
                return Err(SettingsError::SecretTwice { name });
            }
            let path = path.into_string().map_err(unusable)?;
            self.0.insert(name.to_owned(), Value::new(None, read_secret(name, &path)?));
        }
        Ok(())
    }

    fn reject_unknown(&self) -> Result<(), SettingsError> {
        let unknown = self.0.iter().filter(|(given, _)| !KNOWN.iter().any(|known| known.name == given.as_str()));
        let Some((name, value)) = unknown.min_by_key(|(name, _)| name.as_str()) else {
            return Ok(());
        };
        let shown = if value.origin() == Some(ENVIRONMENT) { variable(name) } else { name.clone() };
        Err(SettingsError::Unknown { name: shown })
    }

    /// Takes out a setting with a single value.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, SettingsError> {
        let Some(value) = self.0.remove(name) else {
            return Ok(None);
        };
        match value.kind {
            ValueKind::Nil => Ok(None),
            ValueKind::Table(_) | ValueKind::Array(_) => {
                let wanted = "a single value, not a table or a list".to_owned();
                Err(SettingsError::Malformed { name, wanted })
            }
            _ => value.into_string().map(Some).map_err(unusable),
        }
    }

    /// Takes out a required setting.
    pub(super) fn required(&mut self, name: &'static str, hint: &'static str) -> Result<String, SettingsError> {
        self.text(name)?.ok_or_else(|| missing(name, hint))
    }

    /// Takes out a setting that is a table of texts: a table in a file, `key=value,key=value` in the environment.
    pub(super) fn table(
        &mut self,
        name: &'static str,
        hint: &'static str,
    ) -> Result<Vec<(String, String)>, SettingsError> {
        let malformed = || SettingsError::Malformed { name, wanted: hint.to_owned() };
        match self.0.remove(name).map(|value| value.kind) {
            None | Some(ValueKind::Nil) => Err(missing(name, hint)),
            Some(ValueKind::Table(table)) => {
                let row = |(key, value): (String, Value)| match value.kind {
                    ValueKind::String(text) => Ok((key, text)),
                    _ => Err(malformed()),
                };
                table.into_iter().map(row).collect()
            }
            Some(ValueKind::String(text)) => {
                let row = |row: &str| row.split_once('=').map(|(key, value)| (key.trim().into(), value.trim().into()));
                text.split(',').map(|part| row(part).ok_or_else(malformed)).collect()
            }
            Some(_) => Err(malformed()),
        }
    }
}

fn missing(name: &'static str, hint: &'static str) -> SettingsError {
    SettingsError::Missing { name, variable: variable(name), hint }
}

/// An error of the `config` crate. Its message may quote values, so it is dropped.
fn unusable(_: config::ConfigError) -> SettingsError {
    SettingsError::Unusable
}

/// The secret in a file, without the end of its line.
fn read_secret(name: &'static str, path: &str) -> Result<String, SettingsError> {
    let unreadable = |reason: String| SettingsError::SecretFile { name, file: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut text = String::new();
    let read = file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text);
    let length = read.map_err(|error| unreadable(error.to_string()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    match (u64::try_from(length), secret) {
        (_, "") => Err(unreadable("it is empty".to_owned())),
        (Ok(0..=MAX_SECRET_BYTES), secret) => Ok(secret.to_owned()),
        _ => Err(unreadable(format!("it has more than {MAX_SECRET_BYTES} bytes"))),
    }
}

/// Reads the file and checks that it is TOML, because the parser's own message would show the line, secrets included.
fn read_toml(path: &Path) -> Result<String, SettingsError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::Unreadable { file: file.clone(), reason: error.to_string() })?;
    match toml::from_str::<toml::Table>(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            Err(SettingsError::NotToml { file, line })
        }
    }
}
