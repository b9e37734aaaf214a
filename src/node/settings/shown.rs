//! The settings with every secret masked, for showing them.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::model::{LogFormat, Settings};
use super::secret::Secret;

impl Settings {
    /// Every setting by its name with its value. A secret is `"***"` if it is set; what is not set is null.
    #[must_use]
    pub fn shown(&self) -> Map<String, Value> {
        let masked = |secret: Option<&Secret>| secret.map(Secret::to_string);
        let credential = self.zookeeper_credential.as_ref();
        let peers: Map<String, Value> =
            self.peers.iter().map(|(node, url)| (node.to_string(), Value::from(url.as_str()))).collect();
        let file = |file: Option<&PathBuf>| json!(file.map(|file| file.display().to_string()));
        let (tls, peer_tls) = (self.tls.as_ref(), self.peer_tls.as_ref());
        let slower_than = self.traces.as_ref().and_then(|traces| traces.slower_than);
        let settings = [
            ("node_id", json!(self.node_id)),
            ("cluster_id", json!(self.cluster_id)),
            ("listen", json!(self.listen.to_string())),
            ("client_url", json!(self.client_url)),
            ("peer_listen", json!(self.peer_listen.to_string())),
            ("peer_url", json!(self.peer_url)),
            ("peers", Value::Object(peers)),
            ("zookeeper", json!(self.zookeeper)),
            ("zookeeper_session_timeout_ms", json!(self.zookeeper_session_timeout_ms)),
            ("zookeeper_user", json!(credential.map(|credential| credential.user.as_str()))),
            ("zookeeper_password", json!(masked(credential.map(|credential| &credential.password)))),
            ("cluster_secret", json!(masked(self.cluster_secret.as_ref()))),
            ("tls_certificate_file", file(tls.map(|files| &files.certificate))),
            ("tls_key_file", file(tls.map(|files| &files.key))),
            ("tls_client_ca_file", file(tls.and_then(|files| files.authorities.as_ref()))),
            ("peer_tls_certificate_file", file(peer_tls.map(|files| &files.certificate))),
            ("peer_tls_key_file", file(peer_tls.map(|files| &files.key))),
            ("peer_tls_ca_file", file(peer_tls.and_then(|files| files.authorities.as_ref()))),
            ("data_dir", json!(self.data_dir.display().to_string())),
            ("log", json!(self.log)),
            ("log_format", json!(if self.log_format == LogFormat::Json { "json" } else { "text" })),
            ("heartbeat_ms", json!(self.timing.heartbeat_ms)),
            ("heartbeat_timeout_ms", json!(self.timing.heartbeat_timeout_ms)),
            ("step_down_ms", json!(self.timing.step_down_ms)),
            ("request_queue", json!(self.request_queue)),
            ("http_threads", json!(self.http_threads)),
            ("max_connections", json!(self.max_connections)),
            ("max_connections_per_address", json!(self.max_connections_per_address)),
            ("callers", json!(self.callers.as_str())),
            ("first_api_key", json!(self.first_api_key.as_ref().map(|_| "***"))),
            ("chaos_mode", json!(self.chaos_mode)),
            ("trace_endpoint", json!(self.traces.as_ref().map(|traces| &traces.endpoint))),
            ("trace_one_in", json!(self.traces.as_ref().map_or(0, |traces| traces.one_in))),
            ("trace_slower_than_ms", json!(slower_than.unwrap_or_default().as_millis())),
        ];
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
