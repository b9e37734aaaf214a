//! `quorapay api-key`: keys for callers. Secrets are made here and stay here; the ledger gets their digests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::CliError;
use super::connection::{Connection, block_on, committed, parse_key, print_line, to_json};
use super::duration::parse_long_duration;
use super::exit;
use super::table::{Align, table};
use quorapay_client::{ApiKeyList, ApiKeyRotation, ApiKeyView, ChangedApiKey, NewApiKey, Rfc3339};
use quorapay_core::domain::{
    AccountPrefix, AccountPrefixError, ApiKey, ApiKeyError, ApiKeyId, ApiKeyName, ApiKeyNameError, Currency,
    IdempotencyKey, MAX_OLD_SECRET_SECONDS, MinorUnits, Scope,
};

const EXAMPLES: &str = "\
Examples:
  quorapay api-key new --to first.key                   # without any cluster: for the setting first_api_key_file
  quorapay api-key create 'shop 42' --scope payments:write --scope payments:read --to shop.key
  quorapay api-key create till --scope payments:write --debit external:card --credit shop:42: --limit EUR=500.00 --to till.key
  quorapay api-key list
  quorapay api-key rotate 5f0c2b9a7d31e864 --old-valid-for 24h --to shop-2.key
  quorapay api-key revoke 5f0c2b9a7d31e864

A key is qp_ID_SECRET. The ledger holds only the secret's SHA-256, so a lost key cannot be shown again: rotate it. Files are for
their owner alone (mode 0600). Every client command takes its key from --api-key-file.";

/// The permissions of a file with a key.
const FILE_MODE: u32 = 0o600;

/// Create, list, rotate and revoke the API keys of callers
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct ApiKeyArguments {
    #[command(subcommand)]
    command: ApiKeyCommand,
}

#[derive(Debug, Subcommand)]
enum ApiKeyCommand {
    New(New),
    Create(Create),
    List(List),
    Rotate(Rotate),
    Revoke(Revoke),
}

/// Make a key without any cluster, for `first_api_key_file` or for `create --key-file`
#[derive(Debug, Args)]
struct New {
    /// File to write it to, instead of stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Create a key in the ledger
#[derive(Debug, Args)]
struct Create {
    /// What people call it
    #[arg(value_parser = parse_name)]
    name: ApiKeyName,
    /// Calls that it allows: payments:write, payments:read, refunds:write, accounts:admin, cluster:admin, metrics; repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = parse_scope)]
    scopes: Vec<Scope>,
    /// What the accounts that pay begin with; repeated; any account without it
    #[arg(long = "debit", value_name = "PREFIX", value_parser = parse_prefix)]
    debits: Vec<AccountPrefix>,
    /// What the accounts that receive begin with; repeated; any account without it
    #[arg(long = "credit", value_name = "PREFIX", value_parser = parse_prefix)]
    credits: Vec<AccountPrefix>,
    /// The most that one payment, capture or refund may move, such as EUR=500.00; repeated; other currencies are refused then
    #[arg(long = "limit", value_name = "CURRENCY=AMOUNT", value_parser = parse_limit)]
    limits: Vec<(Currency, MinorUnits)>,
    /// When it ends, in RFC 3339; never without it
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    expires_at: Option<Rfc3339>,
    /// File with the key, as `api-key new` made it
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    key_file: Option<PathBuf>,
    /// File to write a new key to, before anything is sent
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    change: Change,
}

/// Show all keys, without their secrets
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    connection: Connection,
}

/// Give a key another secret; the old one stays valid for a while
#[derive(Debug, Args)]
struct Rotate {
    /// The key's id
    #[arg(value_parser = parse_id)]
    id: ApiKeyId,
    /// For how long the old secret stays valid, such as 90s, 24h or 30d
    #[arg(long, value_name = "TIME", value_parser = parse_long_duration)]
    old_valid_for: Duration,
    /// File with the key and its new secret, for a repetition under the same --key
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    key_file: Option<PathBuf>,
    /// File to write the key with its new secret to, before anything is sent
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    change: Change,
}

/// End a key for good, at once and on every node
#[derive(Debug, Args)]
struct Revoke {
    /// The key's id
    #[arg(value_parser = parse_id)]
    id: ApiKeyId,
    #[command(flatten)]
    change: Change,
}

/// What every change needs.
#[derive(Debug, Args)]
struct Change {
    /// Idempotency key; a new UUID without one
    #[arg(long, value_parser = parse_key)]
    key: Option<IdempotencyKey>,
    #[command(flatten)]
    connection: Connection,
}

impl ApiKeyArguments {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match &self.command {
            ApiKeyCommand::New(new) => keep(&fresh(), new.to.as_deref()),
            ApiKeyCommand::Create(create) => create.run(),
            ApiKeyCommand::List(list) => {
                list.connection.show(&block_on(list.connection.client()?.api_keys())??, describe_list)
            }
            ApiKeyCommand::Rotate(rotate) => rotate.run(),
            ApiKeyCommand::Revoke(revoke) => revoke.run(),
        }
    }
}

impl Create {
    fn run(&self) -> Result<(), CliError> {
        let client = self.change.connection.client()?;
        let key = kept_or_made(self.key_file.as_deref(), self.to.as_deref(), fresh)?;
        let new = NewApiKey {
            id: key.id(),
            secret_sha256: key.digest(),
            name: self.name.clone(),
            scopes: self.scopes.iter().copied().collect::<BTreeSet<_>>(),
            debit_prefixes: self.debits.iter().cloned().collect(),
            credit_prefixes: self.credits.iter().cloned().collect(),
            limits: self.limits.iter().copied().collect::<BTreeMap<_, _>>(),
            expires_at: self.expires_at,
        };
        let idempotency = self.change.connection.announced_key(self.change.key.as_ref())?;
        let created = committed(block_on(client.create_api_key(&idempotency, &new))??, &idempotency)?.0;
        self.change.show(&created, &key, self.key_file.is_none() && self.to.is_none())
    }
}

impl Rotate {
    fn run(&self) -> Result<(), CliError> {
        let client = self.change.connection.client()?;
        let old_valid_for_s = u32::try_from(self.old_valid_for.as_secs()).ok();
        let Some(old_valid_for_s) = old_valid_for_s.filter(|seconds| *seconds <= MAX_OLD_SECRET_SECONDS) else {
            return Err(CliError::Usage("an old secret stays valid for 90 days at most".to_owned()));
        };
        let make = || ApiKey::with_secret(self.id, rand::random());
        let key = kept_or_made(self.key_file.as_deref(), self.to.as_deref(), make)?;
        if key.id() != self.id {
            return Err(CliError::Usage(format!("the file holds the key {}, not {}", key.id(), self.id)));
        }
        let rotation = ApiKeyRotation { secret_sha256: key.digest(), old_valid_for_s };
        let idempotency = self.change.connection.announced_key(self.change.key.as_ref())?;
        let outcome = block_on(client.rotate_api_key(&idempotency, self.id, &rotation))??;
        let rotated = committed(outcome, &idempotency)?.0;
        self.change.show(&rotated, &key, self.key_file.is_none() && self.to.is_none())
    }
}

impl Revoke {
    fn run(&self) -> Result<(), CliError> {
        let client = self.change.connection.client()?;
        let key = self.change.connection.announced_key(self.change.key.as_ref())?;
        let outcome = block_on(client.revoke_api_key(&key, self.id))??;
        self.change.connection.show(&committed(outcome, &key)?.0, describe_change)
    }
}

impl Change {
    /// Shows what was done, and the key itself if no file has it. It is shown this once.
    fn show(&self, changed: &ChangedApiKey, key: &ApiKey, with_key: bool) -> Result<(), CliError> {
        if !with_key {
            return self.connection.show(changed, describe_change);
        }
        if self.connection.json {
            return print_line(&to_json(&json!({ "changed": changed, "api_key": key.expose() })));
        }
        print_line(&describe_change(changed))?;
        print_line(&format!("the key, which is not shown again: {}", key.expose()))
    }
}

fn fresh() -> ApiKey {
    ApiKey::from_random(rand::random(), rand::random())
}

/// The key of a file, or a new one that is kept before anything is sent: a change whose outcome is unknown must not lose
/// its secret.
fn kept_or_made(from: Option<&Path>, to: Option<&Path>, make: impl Fn() -> ApiKey) -> Result<ApiKey, CliError> {
    if let Some(file) = from {
        return read_api_key(file);
    }
    let key = make();
    if let Some(file) = to {
        write_new(file, &key)?;
    }
    Ok(key)
}

fn keep(key: &ApiKey, to: Option<&Path>) -> Result<(), CliError> {
    match to {
        Some(file) => write_new(file, key),
        None => print_line(&key.expose()),
    }
}

/// Writes a key to a file that is not there yet.
fn write_new(file: &Path, key: &ApiKey) -> Result<(), CliError> {
    let written = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(file).and_then(|mut opened| {
        writeln!(opened, "{}", key.expose())?;
        opened.sync_all()
    });
    written.map_err(|source| failed(file, "writing", source))
}

/// Reads the key in a file.
pub(super) fn read_api_key(file: &Path) -> Result<ApiKey, CliError> {
    let text = std::fs::read_to_string(file).map_err(|source| failed(file, "reading", source))?;
    let parsed = ApiKey::parse(text.trim_end_matches(['\r', '\n']));
    parsed.map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))
}

fn failed(file: &Path, what: &str, source: io::Error) -> CliError {
    CliError::Io { what: format!("{what} {}", file.display()), source }
}

fn parse_id(text: &str) -> Result<ApiKeyId, ApiKeyError> {
    ApiKeyId::parse(text)
}

fn parse_name(text: &str) -> Result<ApiKeyName, ApiKeyNameError> {
    ApiKeyName::parse(text)
}

fn parse_prefix(text: &str) -> Result<AccountPrefix, AccountPrefixError> {
    AccountPrefix::parse(text)
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    let names = || Scope::ALL.map(Scope::as_str).join(", ");
    Scope::parse(text).ok_or_else(|| format!("{text:?} is none of {}", names()))
}

fn parse_limit(text: &str) -> Result<(Currency, MinorUnits), String> {
    let (currency, amount) = text.split_once('=').ok_or_else(|| format!("{text:?} is not like EUR=500.00"))?;
    let currency = Currency::parse(currency).map_err(|error| error.to_string())?;
    Ok((currency, currency.parse_amount(amount).map_err(|error| error.to_string())?))
}

fn parse_moment(text: &str) -> Result<Rfc3339, String> {
    Rfc3339::parse(text).ok_or_else(|| format!("{text:?} is no moment in RFC 3339, such as 2027-01-31T12:00:00Z"))
}

fn describe_change(changed: &ChangedApiKey) -> String {
    let ChangedApiKey { id, change, at, old_secret_valid_until, index } = changed;
    let done = match &**change {
        "create" => "created",
        "rotate" => "rotated",
        "revoke" => "revoked",
        other => other,
    };
    let old =
        old_secret_valid_until.map(|until| format!("; the old secret is valid until {until}")).unwrap_or_default();
    format!("API key {id} {done} at {at}, entry {index}{old}")
}

fn describe_list(list: &ApiKeyList) -> String {
    let headings = ["id", "name", "state", "scopes", "debits", "credits", "limits"].map(|name| (name, Align::Left));
    let joined = |prefixes: &BTreeSet<AccountPrefix>| match prefixes.is_empty() {
        true => "any".to_owned(),
        false => prefixes.iter().map(AccountPrefix::as_str).collect::<Vec<_>>().join(" "),
    };
    let row = |key: &ApiKeyView| {
        let limit = |(currency, limit): (&Currency, &MinorUnits)| format!("{currency}={}", currency.format(*limit));
        let limits: Vec<_> = key.limits.iter().map(limit).collect();
        [
            key.id.to_string(),
            key.name.as_str().to_owned(),
            state(key),
            key.scopes.join(" "),
            joined(&key.debit_prefixes),
            joined(&key.credit_prefixes),
            if limits.is_empty() { "none".to_owned() } else { limits.join(" ") },
        ]
    };
    let rows: Vec<_> = list.api_keys.iter().map(row).collect();
    format!("{}\nas of entry {}", table(headings, &rows), list.index)
}

fn state(key: &ApiKeyView) -> String {
    match (key.revoked_at, key.expires_at, key.old_secret_valid_until) {
        (Some(at), ..) => format!("revoked {at}"),
        (None, Some(at), _) => format!("until {at}"),
        (None, None, Some(at)) => format!("old secret until {at}"),
        (None, None, None) => "in force".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_kept_for_its_owner_alone_and_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (file, key) = (folder.path().join("a.key"), fresh());
        write_new(&file, &key).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert!(write_new(&file, &fresh()).is_err());
        assert_eq!(read_api_key(&file).unwrap(), key);
    }

    #[test]
    fn an_error_about_a_key_does_not_show_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.key");
        std::fs::write(&file, fresh().expose().replace("qp_", "pq_")).unwrap();
        let error = read_api_key(&file).unwrap_err().to_string();
        assert!(error.contains("a.key") && !error.contains("pq_"), "{error}");
    }

    #[test]
    fn a_limit_is_written_in_the_currencys_own_decimals() {
        let (currency, limit) = parse_limit("EUR=500.00").unwrap();
        assert_eq!((currency.code(), limit.get()), ("EUR", 50_000));
        for bad in ["EUR", "EUR=", "EUR=0", "EUR=1.234", "GOLD=1"] {
            assert!(parse_limit(bad).is_err(), "{bad}");
        }
    }
}
