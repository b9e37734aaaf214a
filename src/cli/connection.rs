//! Options and helpers of all client commands: which cluster, which deadline, text or JSON.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::CliError;
use super::api_key::read_api_key;
use quorapay_client::{Access, Client, Outcome, Tls, TlsFiles};
use quorapay_core::domain::{ApiKey, IdempotencyKey, IdempotencyKeyError};

/// The first node of `quorapay dev`.
const DEFAULT_URL: &str = "http://127.0.0.1:7101";

const URL_VARIABLE: &str = "QUORAPAY_URL";
const CA_VARIABLE: &str = "QUORAPAY_CA";
const CERTIFICATE_VARIABLE: &str = "QUORAPAY_CLIENT_CERTIFICATE";
const KEY_VARIABLE: &str = "QUORAPAY_CLIENT_KEY";
const API_KEY_FILE_VARIABLE: &str = "QUORAPAY_API_KEY_FILE";
const API_KEY_VARIABLE: &str = "QUORAPAY_API_KEY";

/// The base URLs of the nodes.
#[derive(Clone, Debug, Args)]
pub(super) struct Urls {
    /// Base URL of a node; several (repeated, or separated by commas) are tried in turn
    /// [default: $QUORAPAY_URL, else http://127.0.0.1:7101]
    #[arg(long = "url", value_name = "URL", value_delimiter = ',')]
    urls: Vec<String>,
    /// File with the authorities to trust, for https:// [default: $QUORAPAY_CA, else those of the system]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with the certificate to show, for nodes that demand one [default: $QUORAPAY_CLIENT_CERTIFICATE]
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_certificate: Option<PathBuf>,
    /// File with its private key [default: $QUORAPAY_CLIENT_KEY]
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,
    /// File with the API key to send [default: $QUORAPAY_API_KEY_FILE, else the key in $QUORAPAY_API_KEY]
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
}

impl Urls {
    /// The options have priority over the environment, which has priority over the default.
    pub(super) fn resolve(&self) -> Vec<String> {
        if !self.urls.is_empty() {
            return self.urls.clone();
        }
        let given = std::env::var(URL_VARIABLE).unwrap_or_default();
        let listed: Vec<_> = given.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
        if listed.is_empty() { vec![DEFAULT_URL.to_owned()] } else { listed }
    }

    /// How these URLs are reached.
    pub(super) fn access(&self) -> Result<Access, CliError> {
        let api_key = match file(self.api_key_file.as_ref(), API_KEY_FILE_VARIABLE) {
            Some(file) => Some(read_api_key(&file)?),
            None => api_key_in_environment()?,
        };
        Ok(Access { tls: self.tls()?, api_key })
    }

    fn tls(&self) -> Result<Tls, CliError> {
        let urls = self.resolve();
        if (self.ca.is_some() || self.client_certificate.is_some()) && !Tls::is_needed(&urls) {
            let given = urls.join(", ");
            return Err(CliError::Usage(format!("certificates are for https:// URLs, and this is in clear: {given}")));
        }
        let certificate = file(self.client_certificate.as_ref(), CERTIFICATE_VARIABLE);
        let own = match (certificate, file(self.client_key.as_ref(), KEY_VARIABLE)) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err(CliError::Usage(format!("{CERTIFICATE_VARIABLE} and {KEY_VARIABLE} go together"))),
        };
        let files = TlsFiles { authorities: file(self.ca.as_ref(), CA_VARIABLE), own };
        Ok(Tls::for_urls(&urls, &files)?)
    }
}

fn api_key_in_environment() -> Result<Option<ApiKey>, CliError> {
    let given = std::env::var(API_KEY_VARIABLE).ok().filter(|text| !text.is_empty());
    let parsed = given.map(|text| ApiKey::parse(&text)).transpose();
    parsed.map_err(|error| CliError::Usage(format!("{API_KEY_VARIABLE}: {error}")))
}

/// The file of an option, or of a variable that is not empty.
fn file(option: Option<&PathBuf>, variable: &str) -> Option<PathBuf> {
    let given = || std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    option.cloned().or_else(given)
}

/// How a client command reaches the cluster and writes its result.
#[derive(Clone, Debug, Args)]
pub(super) struct Connection {
    #[command(flatten)]
    urls: Urls,
    /// Write the result as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Milliseconds after which the command gives up
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    deadline_ms: u64,
}

impl Connection {
    pub(super) fn client(&self) -> Result<Client, CliError> {
        Ok(Client::with_access(&self.urls.resolve(), Duration::from_millis(self.deadline_ms), &self.urls.access()?)?)
    }

    /// Writes a result: as JSON if asked for, else as formatted by `for_people`.
    pub(super) fn show<T: Serialize>(&self, value: &T, for_people: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        let text = if self.json { to_json(value) } else { for_people(value) };
        print_line(&text)
    }

    /// The given key or a new one. A new one is shown before anything is sent, so that the write can be repeated even if
    /// this process is killed.
    pub(super) fn announced_key(&self, given: Option<&IdempotencyKey>) -> Result<IdempotencyKey, CliError> {
        if let Some(key) = given {
            return Ok(key.clone());
        }
        let key = IdempotencyKey::parse(&uuid::Uuid::new_v4().to_string()).expect("a UUID is printable ASCII");
        let line = format!("idempotency key {key}");
        if self.json {
            // Programs expect only the result on stdout.
            eprintln!("{line}");
        } else {
            print_line(&line)?;
        }
        Ok(key)
    }
}

/// Parses a key from the command line.
pub(super) fn parse_key(text: &str) -> Result<IdempotencyKey, IdempotencyKeyError> {
    IdempotencyKey::parse(text)
}

/// The value of a committed write and whether it was a replay, or an error for any other outcome.
pub(super) fn committed<T>(outcome: Outcome<T>, key: &IdempotencyKey) -> Result<(T, bool), CliError> {
    match outcome {
        Outcome::Committed(done) => Ok((done.value, done.replayed)),
        Outcome::Refused(problem) => Err(CliError::Refused(problem)),
        Outcome::Unknown { by_key_url, .. } => Err(CliError::OutcomeUnknown { key: key.to_string(), by_key_url }),
    }
}

/// Runs a future on this thread: commands send one request at a time.
pub(super) fn block_on<F: Future>(future: F) -> Result<F::Output, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Io { what: "starting the client".to_owned(), source })?;
    let output = runtime.block_on(future);
    // An orderly shutdown would wait for a thread that reads from the terminal.
    runtime.shutdown_background();
    Ok(output)
}

pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("results are made of strings, numbers and maps with string keys")
}

/// Writes a line to stdout. A closed pipe (`| head`) is no error.
pub(super) fn print_line(text: &str) -> Result<(), CliError> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|source| CliError::Io { what: "writing the result".to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(url: &str, ca: Option<&str>) -> Urls {
        Urls {
            urls: vec![url.to_owned()],
            ca: ca.map(PathBuf::from),
            client_certificate: None,
            client_key: None,
            api_key_file: None,
        }
    }

    #[test]
    fn an_authority_that_would_not_be_asked_is_refused() {
        let refused = urls("http://127.0.0.1:7101", Some("ca.pem")).tls().expect_err("it is in clear").to_string();
        assert!(refused.contains("http://127.0.0.1:7101"), "{refused}");
        assert!(urls("http://127.0.0.1:7101", None).tls().is_ok());
        let missing = urls("https://127.0.0.1:7101", Some("no such ca.pem")).tls().expect_err("it is read").to_string();
        assert!(missing.contains("no such ca.pem"), "{missing}");
    }
}
