//! Parses the texts of the layers into typed settings and checks them, each by itself and against the others.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use url::Url;

use quorapay_core::domain::ApiKey;
use quorapay_core::replication::{NodeId, Timing};

use super::error::SettingsError;
use super::layers::{KNOWN, Layers};
use super::model::{Callers, LogFormat, Settings, ZooKeeperCredential};
use super::secret::Secret;
use crate::tls::{TlsFiles, is_name, node_name};
use crate::traces::TraceSettings;

/// Bounds of the requested session timeout.
const SESSION_TIMEOUT_MS: RangeInclusive<u64> = 400..=60_000;
/// Bounds of the protocol's timeouts.
const WAIT_MS: RangeInclusive<u64> = 5..=60_000;
/// Bounds of the share of requests that are traced.
const ONE_IN: RangeInclusive<u64> = 0..=1_000_000_000;
/// Bounds of the time from which on a request is traced.
const SLOWER_THAN_MS: RangeInclusive<u64> = 0..=60_000;
/// Bounds of the length of the request queue.
const QUEUE: RangeInclusive<u64> = 1..=1 << 20;
/// Bounds of the number of connections at the clients' port.
const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
/// Bounds of the number of threads that serve clients: more than the loop can keep busy.
const HTTP_THREADS: RangeInclusive<usize> = 0..=64;
/// Cores that the loop, SQLite and the disk keep busy. Half of the others serve clients by default.
const OTHER_CORES: usize = 2;
const MIN_SECRET_CHARS: usize = 16;
const MAX_CLUSTER_ID_CHARS: usize = 64;

const HTTPS: &str = "https";
const HTTP: &str = "http";

const PEERS_HINT: &str = "a table of node ids and peer URLs, in the environment node1=http://host:7201,node2=…";
const URL_HINT: &str = "a URL such as http://host:7101, without a path";
const COLLECTOR_HINT: &str = "the whole URL at which a collector takes OTLP, such as http://host:4318/v1/traces";
const ADDRESS_HINT: &str = "an address and a port such as 127.0.0.1:7101";

impl Settings {
    /// Merges defaults, the file and the environment, each overriding the one before, and checks the result. Variables
    /// that do not begin with `QUORAPAY_` are ignored; an empty one counts as not set.
    ///
    /// # Errors
    /// The first [`SettingsError`] found.
    pub fn load(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        settings(Layers::new(file, environment)?)
    }
}

fn settings(mut layers: Layers) -> Result<Settings, SettingsError> {
    let layers = &mut layers;
    let node_id = node_id(layers)?;
    let cluster_id = cluster_id(layers)?;
    let (tls, peer_tls) = (client_tls(layers)?, peer_tls(layers)?);
    let peers = peers(layers, &node_id, peer_tls.is_some().then_some(&cluster_id))?;
    let peer_url = peer_url(layers, &node_id, &peers)?;
    let listen = address(layers, "listen")?;
    let peer_listen = address(layers, "peer_listen")?;
    let max_connections = connections(layers)?;
    let loopback = listen.ip().is_loopback() && peer_listen.ip().is_loopback();
    Ok(Settings {
        client_url: client_url(layers, listen, tls.is_some())?,
        zookeeper: zookeeper(layers)?,
        zookeeper_session_timeout_ms: number(layers, "zookeeper_session_timeout_ms", SESSION_TIMEOUT_MS)?,
        zookeeper_credential: zookeeper_credential(layers)?,
        cluster_secret: cluster_secret(layers, loopback || peer_tls.is_some())?,
        data_dir: PathBuf::from(layers.required("data_dir", "the directory of this node's ledger")?),
        log: log(layers)?,
        log_format: log_format(layers)?,
        timing: timing(layers)?,
        request_queue: queue(layers, "request_queue")?,
        http_threads: http_threads(layers)?,
        max_connections,
        max_connections_per_address: connections_per_address(layers, max_connections)?,
        callers: callers(layers, listen)?,
        first_api_key: first_api_key(layers)?,
        chaos_mode: switch(layers, "chaos_mode")?,
        traces: traces(layers)?,
        node_id,
        cluster_id,
        tls,
        peer_tls,
        listen,
        peer_listen,
        peer_url,
        peers,
    })
}

fn invalid(name: &'static str, value: impl Display, wanted: impl Into<String>) -> SettingsError {
    debug_assert!(KNOWN.iter().any(|known| known.name == name && !known.secret), "{name} may be shown");
    SettingsError::Invalid { name, value: value.to_string(), wanted: wanted.into() }
}

/// A setting that has a default.
fn text(layers: &mut Layers, name: &'static str) -> Result<String, SettingsError> {
    layers.required(name, "a value")
}

fn number(layers: &mut Layers, name: &'static str, range: RangeInclusive<u64>) -> Result<u64, SettingsError> {
    let value = text(layers, name)?;
    let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
    value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| invalid(name, &value, wanted()))
}

fn queue(layers: &mut Layers, name: &'static str) -> Result<usize, SettingsError> {
    Ok(usize::try_from(number(layers, name, QUEUE)?).expect("the limit of a queue fits a usize"))
}

fn http_threads(layers: &mut Layers) -> Result<usize, SettingsError> {
    let (name, value) = ("http_threads", text(layers, "http_threads")?);
    if value == "auto" {
        return Ok(http_threads_for(std::thread::available_parallelism().map_or(1, NonZero::get)));
    }
    let wanted = || format!("auto or a whole number from {} to {}", HTTP_THREADS.start(), HTTP_THREADS.end());
    value.parse().ok().filter(|number| HTTP_THREADS.contains(number)).ok_or_else(|| invalid(name, &value, wanted()))
}

fn connections(layers: &mut Layers) -> Result<usize, SettingsError> {
    let count = number(layers, "max_connections", CONNECTIONS)?;
    Ok(usize::try_from(count).expect("the limit of connections fits a usize"))
}

fn connections_per_address(layers: &mut Layers, total: usize) -> Result<usize, SettingsError> {
    let (name, value) = ("max_connections_per_address", text(layers, "max_connections_per_address")?);
    if value == "auto" {
        // One address cannot take the places of all others.
        return Ok(total.div_ceil(2));
    }
    let wanted = || format!("auto or a whole number from 1 to max_connections, {total}");
    value.parse().ok().filter(|count| (1..=total).contains(count)).ok_or_else(|| invalid(name, &value, wanted()))
}

/// How many threads serve clients on a machine with so many cores.
pub(super) fn http_threads_for(cores: usize) -> usize {
    (cores.saturating_sub(OTHER_CORES) / 2).min(*HTTP_THREADS.end())
}

fn switch(layers: &mut Layers, name: &'static str) -> Result<bool, SettingsError> {
    let value = text(layers, name)?;
    value.parse().map_err(|_| invalid(name, &value, "true or false"))
}

/// On loopback everybody may call unless it is said otherwise, elsewhere only who has a key.
fn callers(layers: &mut Layers, listen: SocketAddr) -> Result<Callers, SettingsError> {
    let name = "callers";
    let Some(value) = layers.text(name)? else {
        return Ok(if listen.ip().is_loopback() { Callers::Open } else { Callers::ApiKeys });
    };
    let known = [Callers::Open, Callers::ApiKeys].into_iter().find(|callers| callers.as_str() == value);
    known.ok_or_else(|| invalid(name, &value, "api_keys or open"))
}

fn first_api_key(layers: &mut Layers) -> Result<Option<ApiKey>, SettingsError> {
    let wanted = "a whole API key, as `quorapay api-key new` prints one";
    let invalid = |_| SettingsError::InvalidSecret { name: "first_api_key", wanted };
    layers.text("first_api_key")?.map(|text| ApiKey::parse(&text).map_err(invalid)).transpose()
}

/// Without an endpoint nothing is traced, whatever else is set.
fn traces(layers: &mut Layers) -> Result<Option<TraceSettings>, SettingsError> {
    let endpoint = layers.text("trace_endpoint")?.map(|value| collector(&value)).transpose()?;
    let one_in = number(layers, "trace_one_in", ONE_IN)?;
    let slower_than_ms = number(layers, "trace_slower_than_ms", SLOWER_THAN_MS)?;
    let slower_than = (slower_than_ms > 0).then(|| Duration::from_millis(slower_than_ms));
    Ok(endpoint.map(|endpoint| TraceSettings { endpoint, one_in, slower_than }))
}

/// The URL of a collector of traces.
fn collector(value: &str) -> Result<String, SettingsError> {
    let rejected = || invalid("trace_endpoint", without_user(value), COLLECTOR_HINT);
    let url = Url::parse(value).map_err(|_| rejected())?;
    let anonymous = url.username().is_empty() && url.password().is_none();
    if url.scheme() != "http" || !anonymous || url.fragment().is_some() || url.path() == "/" {
        return Err(rejected());
    }
    Ok(url.into())
}

fn address(layers: &mut Layers, name: &'static str) -> Result<SocketAddr, SettingsError> {
    let value = text(layers, name)?;
    value.parse().map_err(|_| invalid(name, &value, ADDRESS_HINT))
}

fn node_id(layers: &mut Layers) -> Result<NodeId, SettingsError> {
    let value = layers.required("node_id", "this node's name, such as node1")?;
    NodeId::parse(&value).map_err(|error| invalid("node_id", &value, format!("a valid one: {error}")))
}

fn cluster_id(layers: &mut Layers) -> Result<String, SettingsError> {
    let value = text(layers, "cluster_id")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=MAX_CLUSTER_ID_CHARS).contains(&value.len()) && value.bytes().all(allowed) {
        return Ok(value);
    }
    let wanted = format!("1 to {MAX_CLUSTER_ID_CHARS} characters, each one of A-Z a-z 0-9 _ -");
    Err(invalid("cluster_id", value, wanted))
}

/// A URL in the form in which it is compared and written: scheme, host and port.
fn url(name: &'static str, value: &str, schemes: &[&str]) -> Result<String, SettingsError> {
    let rejected = |wanted: String| invalid(name, without_user(value), wanted);
    let url = Url::parse(value).map_err(|_| rejected(URL_HINT.to_owned()))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    if ![HTTP, HTTPS].contains(&url.scheme()) || !bare || !anonymous {
        return Err(rejected(URL_HINT.to_owned()));
    }
    if !schemes.contains(&url.scheme()) {
        let with = if schemes.contains(&HTTPS) { "with" } else { "without" };
        return Err(rejected(format!("a URL that begins with {}://, as it is {with} certificates", schemes[0])));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn client_tls(layers: &mut Layers) -> Result<Option<TlsFiles>, SettingsError> {
    tls_files(layers, ["tls_certificate_file", "tls_key_file", "tls_client_ca_file"])
}

fn peer_tls(layers: &mut Layers) -> Result<Option<TlsFiles>, SettingsError> {
    let names @ [certificate, _, authorities] = ["peer_tls_certificate_file", "peer_tls_key_file", "peer_tls_ca_file"];
    match tls_files(layers, names)? {
        Some(files) if files.authorities.is_none() => {
            let wanted = format!("one whose {authorities} is set too: peers are known by their certificates");
            Err(invalid(certificate, files.certificate.display(), wanted))
        }
        files => Ok(files),
    }
}

/// The files of a port: a certificate with its key, and authorities only with them.
fn tls_files(
    layers: &mut Layers,
    [certificate, key, authorities]: [&'static str; 3],
) -> Result<Option<TlsFiles>, SettingsError> {
    let given = (layers.text(certificate)?, layers.text(key)?, layers.text(authorities)?);
    let alone = |name, value: String, missing: &str| {
        Err(invalid(name, value, format!("a file whose {missing} is set too, or leave it out")))
    };
    match given {
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), authorities) => Ok(Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
            authorities: authorities.map(PathBuf::from),
        })),
        (Some(value), None, _) => alone(certificate, value, key),
        (None, Some(value), _) => alone(key, value, certificate),
        (None, None, Some(value)) => alone(authorities, value, certificate),
    }
}

/// A URL may contain a password. It is then rejected, and the error must not show the password.
fn without_user(value: &str) -> String {
    value.rsplit_once('@').map_or_else(|| value.to_owned(), |(_, host)| format!("***@{host}"))
}

/// With certificates, the cluster's id is given: it is a part of the names in them.
fn peers(
    layers: &mut Layers,
    node_id: &NodeId,
    sealed: Option<&String>,
) -> Result<BTreeMap<NodeId, String>, SettingsError> {
    let scheme = if sealed.is_some() { HTTPS } else { HTTP };
    let mut peers = BTreeMap::new();
    for (key, value) in layers.table("peers", PEERS_HINT)? {
        let id = NodeId::parse(&key).map_err(|error| invalid("peers", &key, format!("node ids as keys: {error}")))?;
        let url = url("peers", &value, &[scheme])?;
        if let Some(name) = sealed.map(|cluster| node_name(&id, cluster)).filter(|name| !is_name(name)) {
            return Err(invalid("peers", &key, format!("ids that can be in certificates; {name} is no DNS name")));
        }
        if peers.values().any(|other| *other == url) {
            return Err(invalid("peers", &url, "a different URL for each node"));
        }
        if peers.insert(id, url).is_some() {
            return Err(invalid("peers", &key, "every node once"));
        }
    }
    if peers.contains_key(node_id) {
        return Ok(peers);
    }
    let names: Vec<&str> = peers.keys().map(NodeId::as_str).collect();
    Err(invalid("peers", names.join(","), format!("all nodes of the cluster, this one ({node_id}) included")))
}

fn peer_url(layers: &mut Layers, node_id: &NodeId, peers: &BTreeMap<NodeId, String>) -> Result<String, SettingsError> {
    let listed = peers[node_id].clone();
    let Some(value) = layers.text("peer_url")? else {
        return Ok(listed);
    };
    if url("peer_url", &value, &[HTTP, HTTPS])? == listed {
        return Ok(listed);
    }
    Err(invalid("peer_url", &value, format!("what peers says of {node_id}, {listed}, or leave it out")))
}

/// Without a certificate here, something in front of this node may have one.
fn client_url(layers: &mut Layers, listen: SocketAddr, sealed: bool) -> Result<String, SettingsError> {
    match layers.text("client_url")? {
        Some(value) if sealed => url("client_url", &value, &[HTTPS]),
        Some(value) => url("client_url", &value, &[HTTP, HTTPS]),
        None if listen.ip().is_unspecified() => {
            let wanted = "one address, or set client_url to how clients reach this node, such as http://host:7101";
            Err(invalid("listen", listen, wanted))
        }
        None => Ok(format!("{}://{listen}", if sealed { HTTPS } else { HTTP })),
    }
}

fn zookeeper(layers: &mut Layers) -> Result<String, SettingsError> {
    let value = text(layers, "zookeeper")?;
    let server = |server: &str| {
        let (host, port) = server.rsplit_once(':')?;
        let named = !host.is_empty() && !host.contains(['/', ' ', '@']);
        (named && port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(())
    };
    let servers: Vec<&str> = value.split(',').map(str::trim).collect();
    if servers.iter().all(|text| server(text).is_some()) {
        return Ok(servers.join(","));
    }
    Err(invalid("zookeeper", without_user(&value), "servers such as host1:2181,host2:2181,host3:2181"))
}

fn zookeeper_credential(layers: &mut Layers) -> Result<Option<ZooKeeperCredential>, SettingsError> {
    let user = layers.text("zookeeper_user")?;
    let password = layers.text("zookeeper_password")?;
    match (user, password) {
        (None, None) => Ok(None),
        (Some(user), Some(_)) if user.contains(':') => Err(invalid("zookeeper_user", user, "a name without a colon")),
        (Some(user), Some(password)) => Ok(Some(ZooKeeperCredential { user, password: Secret::new(password) })),
        (Some(user), None) => {
            Err(invalid("zookeeper_user", user, "a user whose zookeeper_password is set too, or leave it out"))
        }
        (None, Some(_)) => {
            let wanted = "a password whose zookeeper_user is set too, or leave it out";
            Err(SettingsError::InvalidSecret { name: "zookeeper_password", wanted })
        }
    }
}

fn cluster_secret(layers: &mut Layers, needs_none: bool) -> Result<Option<Secret>, SettingsError> {
    let wanted = "at least 16 characters, the same on every node; only nodes with peer_tls_certificate_file, or on loopback alone, need none";
    match layers.text("cluster_secret")? {
        Some(text) if text.chars().count() >= MIN_SECRET_CHARS => Ok(Some(Secret::new(text))),
        None if needs_none => Ok(None),
        Some(_) | None => Err(SettingsError::InvalidSecret { name: "cluster_secret", wanted }),
    }
}

fn log(layers: &mut Layers) -> Result<String, SettingsError> {
    let value = text(layers, "log")?;
    match EnvFilter::try_new(&value) {
        Ok(_) => Ok(value),
        Err(_) => Err(invalid("log", value, "error, warn, info, debug or trace, or a filter such as info,sqlx=warn")),
    }
}

fn log_format(layers: &mut Layers) -> Result<LogFormat, SettingsError> {
    let value = text(layers, "log_format")?;
    match value.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(invalid("log_format", value, "text or json")),
    }
}

/// One late heartbeat must not look like silence to a follower, and a leader must not step down before its followers
/// give up on it.
fn timing(layers: &mut Layers) -> Result<Timing, SettingsError> {
    let heartbeat_ms = number(layers, "heartbeat_ms", WAIT_MS)?;
    let heartbeat_timeout_ms = number(layers, "heartbeat_timeout_ms", WAIT_MS)?;
    let step_down_ms = number(layers, "step_down_ms", WAIT_MS)?;
    if heartbeat_timeout_ms < 2 * heartbeat_ms {
        let wanted = format!("at least twice heartbeat_ms, {}", 2 * heartbeat_ms);
        return Err(invalid("heartbeat_timeout_ms", heartbeat_timeout_ms, wanted));
    }
    if step_down_ms < heartbeat_timeout_ms {
        let wanted = format!("at least heartbeat_timeout_ms, {heartbeat_timeout_ms}");
        return Err(invalid("step_down_ms", step_down_ms, wanted));
    }
    Ok(Timing { heartbeat_ms, heartbeat_timeout_ms, step_down_ms, ..Timing::default() })
}
