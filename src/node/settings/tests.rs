use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::layers::{KNOWN, variable};
use super::*;
use quorapay_core::domain::ApiKey;
use quorapay_core::replication::Timing;

const PEERS: &str = "node1=http://127.0.0.1:7201,node2=http://127.0.0.1:7202,node3=http://127.0.0.1:7203";
const SECRET: &str = "0123456789abcdef";

fn environment(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let base = [("QUORAPAY_NODE_ID", "node1"), ("QUORAPAY_PEERS", PEERS), ("QUORAPAY_DATA_DIR", "/data")];
    let both = base.iter().chain(changes);
    both.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(changes: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::load(None, &environment(changes))
}

fn load_file(text: &str, changes: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("node.toml");
    fs::write(&path, text).expect("written");
    let environment = changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::load(Some(&path), &environment)
}

/// The error for one changed variable, checked to be one line that names the setting.
fn rejection(name: &str, value: &str) -> String {
    let text = load(&[(&variable(name), value)]).expect_err(value).to_string();
    assert!(text.contains(name) && !text.contains('\n'), "{text}");
    text
}

#[test]
fn three_settings_are_enough_on_one_machine() {
    let settings = load(&[]).expect("valid");
    assert_eq!(settings.cluster_id, "quorapay");
    assert_eq!(settings.client_url, "http://127.0.0.1:7101");
    assert_eq!(settings.peer_url, "http://127.0.0.1:7201");
    assert_eq!(settings.zookeeper_session_timeout_ms, 6_000);
    assert_eq!(settings.timing, Timing::default());
    assert_eq!((settings.cluster_secret.as_ref(), settings.log_format), (None, LogFormat::Text));
    assert!(settings.warnings().is_empty());
}

#[test]
fn the_environment_is_stronger_than_the_file_and_the_file_than_the_defaults() {
    let file = r#"
        node_id = "node1"
        data_dir = "/data"
        heartbeat_ms = 20
        log = "debug"
        [peers]
        node1 = "http://127.0.0.1:7201/"
    "#;
    let settings = load_file(file, &[("QUORAPAY_LOG", "warn"), ("QUORAPAY_LOG_FORMAT", "json"), ("OTHER", "x")]);
    let settings = settings.expect("valid");
    assert_eq!((settings.log.as_str(), settings.log_format), ("warn", LogFormat::Json));
    assert_eq!(settings.timing.heartbeat_ms, 20);
    assert_eq!(settings.peers.len(), 1);
    let settings = load_file(file, &[("QUORAPAY_PEERS", PEERS)]).expect("valid");
    assert_eq!(settings.peers.len(), 3);
}

#[test]
fn half_of_the_cores_beyond_two_serve_clients_unless_a_number_is_set() {
    let by_cores = [1, 2, 3, 4, 8, 16, 1_000].map(super::check::http_threads_for);
    assert_eq!(by_cores, [0, 0, 0, 1, 3, 7, 64]);
    for threads in ["0", "2", "64"] {
        let settings = load(&[("QUORAPAY_HTTP_THREADS", threads)]).expect("valid");
        assert_eq!(settings.http_threads.to_string(), threads);
    }
}

#[test]
fn one_address_may_have_half_of_the_connections_unless_a_number_is_set() {
    for (set, per_address) in [(&[][..], 5_000), (&[("QUORAPAY_MAX_CONNECTIONS_PER_ADDRESS", "10000")], 10_000)] {
        let settings = load(set).expect("valid");
        assert_eq!((settings.max_connections, settings.max_connections_per_address), (10_000, per_address));
    }
    let one = load(&[("QUORAPAY_MAX_CONNECTIONS", "1")]).expect("valid");
    assert_eq!((one.max_connections, one.max_connections_per_address), (1, 1));
}

#[test]
fn an_unknown_setting_is_rejected_by_name() {
    let text = load(&[("QUORAPAY_HARTBEAT_MS", "1")]).expect_err("unknown").to_string();
    assert!(text.contains("QUORAPAY_HARTBEAT_MS"), "{text}");
    let text = load_file("hartbeat_ms = 1", &[]).expect_err("unknown").to_string();
    assert!(text.contains("no setting hartbeat_ms"), "{text}");
}

#[test]
fn a_missing_setting_is_named_with_its_variable() {
    for name in ["node_id", "peers", "data_dir"] {
        let text = rejection(name, "");
        assert!(text.contains(&variable(name)), "{text}");
    }
}

#[test]
fn a_wrong_value_is_shown_with_its_setting() {
    for (name, value) in [
        ("node_id", "node 1"),
        ("cluster_id", "a/b"),
        ("listen", "localhost"),
        ("peer_listen", "7201"),
        ("client_url", "ftp://127.0.0.1:7101"),
        ("client_url", "http://127.0.0.1:7101/api"),
        ("peer_url", "http://127.0.0.1:9999"),
        ("zookeeper", "localhost"),
        ("zookeeper", "a:2181,,b:2181"),
        ("zookeeper", "a:2181/chroot"),
        ("zookeeper_session_timeout_ms", "399"),
        ("zookeeper_session_timeout_ms", "60001"),
        ("zookeeper_session_timeout_ms", "6s"),
        ("log", "loud=very"),
        ("log_format", "xml"),
        ("heartbeat_ms", "0"),
        ("heartbeat_timeout_ms", "99"),
        ("step_down_ms", "399"),
        ("request_queue", "0"),
        ("http_threads", "65"),
        ("http_threads", "all"),
        ("max_connections", "0"),
        ("max_connections_per_address", "10001"),
        ("max_connections_per_address", "0"),
        ("trace_endpoint", "http://collector:4318"),
        ("trace_endpoint", "https://collector:4318/v1/traces"),
        ("trace_one_in", "0.01"),
        ("trace_slower_than_ms", "60001"),
    ] {
        let text = rejection(name, value);
        assert!(text.contains(value), "{text}");
    }
}

#[test]
fn peers_name_every_node_once_and_this_one_too() {
    for bad in [
        "node2=http://b:7201",
        "node1",
        "node1=http://a:7201,node1=http://b:7201",
        "node1=http://a:7201,node2=http://a:7201/",
        "node 1=http://a:7201",
        "node1=a:7201",
    ] {
        rejection("peers", bad);
    }
    let text = load_file("node_id = \"node1\"\npeers = [\"node1\"]", &[]).expect_err("a list").to_string();
    assert!(text.contains("peers"), "{text}");
}

#[test]
fn an_even_number_of_nodes_is_warned_about() {
    let settings = load(&[("QUORAPAY_PEERS", "node1=http://a:1,node2=http://b:2")]).expect("allowed");
    assert_eq!(settings.warnings().len(), 1);
}

#[test]
fn a_node_that_others_can_reach_needs_a_secret_of_16_characters() {
    for address in ["QUORAPAY_LISTEN", "QUORAPAY_PEER_LISTEN"] {
        let open = [(address, "10.0.0.1:7000")];
        let text = load(&open).expect_err("no secret").to_string();
        assert!(text.contains("cluster_secret"), "{text}");
        assert!(load(&[open[0], ("QUORAPAY_CLUSTER_SECRET", SECRET)]).is_ok());
    }
}

#[test]
fn a_node_that_listens_everywhere_says_how_clients_reach_it() {
    let everywhere = [("QUORAPAY_LISTEN", "0.0.0.0:7101"), ("QUORAPAY_CLUSTER_SECRET", SECRET)];
    let text = load(&everywhere).expect_err("no URL").to_string();
    assert!(text.contains("client_url"), "{text}");
    let named = [everywhere[0], everywhere[1], ("QUORAPAY_CLIENT_URL", "http://node1:7101")];
    assert_eq!(load(&named).expect("valid").client_url, "http://node1:7101");
}

#[test]
fn user_and_password_of_zookeeper_come_together() {
    let user = ("QUORAPAY_ZOOKEEPER_USER", "quorapay");
    let password = ("QUORAPAY_ZOOKEEPER_PASSWORD", "hunter2");
    let credential = load(&[user, password]).expect("valid").zookeeper_credential.expect("given");
    assert_eq!((credential.user.as_str(), credential.password.expose()), ("quorapay", "hunter2"));
    assert!(load(&[user]).is_err());
    assert!(!load(&[password]).expect_err("no user").to_string().contains("hunter2"));
}

#[test]
fn a_secret_is_never_shown() {
    let short = load(&[("QUORAPAY_CLUSTER_SECRET", "too-short")]).expect_err("too short");
    assert!(!format!("{short} {short:?}").contains("too-short"));
    let settings = load(&[("QUORAPAY_CLUSTER_SECRET", SECRET)]).expect("valid");
    assert!(!format!("{settings:?}").contains(SECRET));
    let broken = load_file("cluster_secret = \"hunter2\" x", &[]).expect_err("no TOML").to_string();
    assert!(broken.contains("line 1") && !broken.contains("hunter2"), "{broken}");
    let url = rejection("client_url", "http://user:hunter2@a:7101");
    assert!(!url.contains("hunter2"), "{url}");
    let table =
        load_file("cluster_secret = { a = \"hunter2\" }", &[("QUORAPAY_NODE_ID", "node1"), ("QUORAPAY_PEERS", PEERS)]);
    assert!(!format!("{:?}", table.expect_err("a table")).contains("hunter2"));
}

#[test]
fn a_secret_may_be_in_a_file_of_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let named = path.to_str().expect("UTF-8");
    let given = [("QUORAPAY_CLUSTER_SECRET_FILE", named)];
    let rejected = |changes: &[(&str, &str)]| load(changes).expect_err("rejected").to_string();
    assert!(rejected(&given).contains(named), "a missing file is named");
    for (content, reason) in [("\n".to_owned(), "empty"), ("x".repeat(5_000), "4096 bytes")] {
        fs::write(&path, content).expect("written");
        assert!(rejected(&given).contains(reason), "{}", rejected(&given));
    }
    fs::write(&path, format!("{SECRET}\n")).expect("written");
    let settings = load(&given).expect("valid");
    assert_eq!(settings.cluster_secret.as_ref().expect("given").expose(), SECRET);
    assert_eq!(settings.shown()["cluster_secret"], "***");
    let twice = rejected(&[given[0], ("QUORAPAY_CLUSTER_SECRET", SECRET)]);
    assert!(twice.contains("cluster_secret_file") && !twice.contains(SECRET), "{twice}");
    assert!(rejected(&[("QUORAPAY_NODE_ID_FILE", named)]).contains("QUORAPAY_NODE_ID_FILE"), "it is no secret");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let text = Settings::load(Some(Path::new("/no/such.toml")), &environment(&[])).expect_err("missing").to_string();
    assert!(text.contains("/no/such.toml"), "{text}");
}

#[test]
fn every_setting_and_its_default_are_documented() {
    let document = include_str!("../../../docs/CONFIGURATION.md");
    for known in KNOWN {
        let row = format!("| `{}` | `{}` | ", known.name, variable(known.name));
        let line = document.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{row} is missing"));
        if let Some(default) = known.default {
            assert!(line[row.len()..].starts_with(&format!("`{default}` |")), "{line}");
        }
    }
}

#[test]
fn settings_are_shown_whole_with_every_secret_masked() {
    let key = ApiKey::from_random([1; 8], [2; 32]).expose();
    let settings = load(&[
        ("QUORAPAY_CLUSTER_SECRET", SECRET),
        ("QUORAPAY_ZOOKEEPER_USER", "quorapay"),
        ("QUORAPAY_ZOOKEEPER_PASSWORD", "hidden from all"),
        ("QUORAPAY_CHAOS_MODE", "true"),
        ("QUORAPAY_FIRST_API_KEY", &key),
    ]);
    let shown = settings.expect("valid").shown();
    let mut names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
    names.sort_unstable();
    let mut given: Vec<&str> = shown.keys().map(String::as_str).collect();
    given.sort_unstable();
    assert_eq!(given, names);
    for known in KNOWN.iter().filter(|known| known.secret) {
        assert_eq!(shown[known.name], "***", "{}", known.name);
    }
    assert_eq!((&shown["zookeeper_user"], &shown["chaos_mode"]), (&"quorapay".into(), &true.into()));
    let text = serde_json::to_string(&shown).expect("JSON");
    assert!(!text.contains(SECRET) && !text.contains("hidden from all") && !text.contains("qp_"), "{text}");
    assert_eq!(load(&[]).expect("valid").shown()["cluster_secret"], serde_json::Value::Null);
}

#[test]
fn on_loopback_everybody_may_call_and_elsewhere_who_has_a_key() {
    let loopback = load(&[]).expect("valid");
    assert_eq!((loopback.callers, loopback.warnings().len()), (Callers::Open, 0));
    let reachable =
        [("QUORAPAY_LISTEN", "10.0.0.1:7101"), ("QUORAPAY_CLUSTER_SECRET", SECRET), ("QUORAPAY_CALLERS", "")];
    assert_eq!(load(&reachable).expect("valid").callers, Callers::ApiKeys);
    let mut open = reachable;
    open[2].1 = "open";
    let open = load(&open).expect("it was said");
    assert_eq!(open.callers, Callers::Open);
    assert!(open.warnings().iter().any(|warning| warning.contains("EVERYBODY")), "{:?}", open.warnings());
    assert!(rejection("callers", "friends").contains("api_keys or open"));
}

#[test]
fn a_first_api_key_that_is_none_is_refused_without_being_shown() {
    let refused = load(&[("QUORAPAY_FIRST_API_KEY", "qp_not_a_key")]).expect_err("no key").to_string();
    assert!(refused.contains("first_api_key") && !refused.contains("qp_not_a_key"), "{refused}");
}

#[test]
fn nothing_is_traced_without_an_endpoint() {
    let share = ("QUORAPAY_TRACE_ONE_IN", "100");
    assert_eq!(load(&[share]).expect("valid").traces, None);
    let endpoint = ("QUORAPAY_TRACE_ENDPOINT", "http://collector:4318/v1/traces");
    let traces = load(&[share, endpoint]).expect("valid").traces.expect("switched on");
    assert_eq!((traces.endpoint.as_str(), traces.one_in, traces.slower_than), (endpoint.1, 100, None));
    let slow = load(&[endpoint, ("QUORAPAY_TRACE_SLOWER_THAN_MS", "250")]).expect("valid").traces.expect("switched on");
    assert_eq!((slow.one_in, slow.slower_than), (0, Some(std::time::Duration::from_millis(250))));
    let secret = load(&[("QUORAPAY_TRACE_ENDPOINT", "http://user:hunter2@a:1/x")]).expect_err("a user").to_string();
    assert!(secret.contains("trace_endpoint") && !secret.contains("hunter2"), "{secret}");
}

#[test]
fn chaos_mode_is_off_unless_it_is_switched_on() {
    assert!(!load(&[]).expect("valid").chaos_mode);
    assert!(rejection("chaos_mode", "perhaps").contains("true or false"));
}

/// The variables of a node with a certificate at both ports.
const SEALED: [(&str, &str); 6] = [
    ("QUORAPAY_TLS_CERTIFICATE_FILE", "/tls/certificate.pem"),
    ("QUORAPAY_TLS_KEY_FILE", "/tls/key.pem"),
    ("QUORAPAY_PEER_TLS_CERTIFICATE_FILE", "/tls/certificate.pem"),
    ("QUORAPAY_PEER_TLS_KEY_FILE", "/tls/key.pem"),
    ("QUORAPAY_PEER_TLS_CA_FILE", "/tls/ca.pem"),
    ("QUORAPAY_PEERS", "node1=https://127.0.0.1:7201,node2=https://127.0.0.1:7202,node3=https://127.0.0.1:7203"),
];

#[test]
fn with_certificates_urls_begin_with_https_and_no_secret_is_needed() {
    let everywhere = [
        ("QUORAPAY_PEER_LISTEN", "0.0.0.0:7201"),
        ("QUORAPAY_LISTEN", "10.0.0.1:7101"),
        ("QUORAPAY_CLUSTER_ID", "shop"),
    ];
    let settings = load(&[&SEALED[..], &everywhere].concat()).expect("valid");
    assert_eq!(settings.client_url, "https://10.0.0.1:7101");
    assert!(settings.warnings().is_empty(), "{:?}", settings.warnings());
    assert_eq!(settings.shown()["peer_tls_ca_file"], "/tls/ca.pem");
    let plain_peers = load(&[&SEALED[..], &[("QUORAPAY_PEERS", PEERS)]].concat()).expect_err("in clear").to_string();
    assert!(plain_peers.contains("peers") && plain_peers.contains("https://"), "{plain_peers}");
    let plain_clients = [&SEALED[..], &[("QUORAPAY_CLIENT_URL", "http://a:7101")]].concat();
    assert!(load(&plain_clients).expect_err("in clear").to_string().contains("client_url"));
    let sealed_peers = load(&SEALED[5..]).expect_err("no certificates").to_string();
    assert!(sealed_peers.contains("peers") && sealed_peers.contains("http://"), "{sealed_peers}");
    let proxy = load(&[("QUORAPAY_CLIENT_URL", "https://pay.example")]).expect("something else may encrypt");
    assert_eq!(proxy.client_url, "https://pay.example");
}

#[test]
fn a_certificate_comes_with_its_key_and_a_peers_one_with_authorities() {
    for (alone, named) in [(0, "tls_key_file"), (1, "tls_certificate_file"), (2, "peer_tls_key_file"), (4, "peer_tls")]
    {
        let text = load(&[SEALED[alone]]).expect_err("alone").to_string();
        assert!(text.contains(named), "{text}");
    }
    let without = [SEALED[2], SEALED[3], SEALED[5]];
    assert!(load(&without).expect_err("nobody is known").to_string().contains("peer_tls_ca_file"));
    let dashed = ("QUORAPAY_PEERS", "node1=https://a:1,-=https://b:1,node3=https://c:1");
    let text = load(&[&SEALED[..5], &[dashed]].concat()).expect_err("no name").to_string();
    assert!(text.contains("-.quorapay.quorapay"), "{text}");
}

#[test]
fn ports_in_clear_that_others_can_reach_are_warned_about() {
    let open = [
        ("QUORAPAY_PEER_LISTEN", "10.0.0.1:7201"),
        ("QUORAPAY_LISTEN", "10.0.0.1:7101"),
        ("QUORAPAY_CLUSTER_SECRET", SECRET),
    ];
    let warnings = load(&open).expect("allowed").warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("peer_tls_certificate_file") && warnings[1].contains("tls_certificate_file"));
}

#[test]
fn the_variables_of_the_client_commands_are_no_settings() {
    let variables = ["QUORAPAY_URL", "QUORAPAY_CA", "QUORAPAY_CLIENT_CERTIFICATE", "QUORAPAY_CLIENT_KEY"];
    assert!(load(&variables.map(|name| (name, "x"))).is_ok());
}
