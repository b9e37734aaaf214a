//! Reads the files again, and puts them to use if they fit together.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::files::{Contents, TlsError, TlsFiles};
use super::material::{Material, Purpose};
use super::sealing::Sealing;
use crate::published::Publisher;

/// How often the files are read. Their contents are compared and not their times: a copy may keep the time of its original.
const READ_INTERVAL: Duration = Duration::from_secs(2);

/// Keeps the sealing of one port up to date.
pub(crate) struct Keeper {
    files: TlsFiles,
    purpose: Purpose,
    /// What was last read, whether it could be used or not: each state of the files is reported once.
    last: Result<Contents, TlsError>,
    /// Whether that is in use. If not it is tried again: the time alone may make a certificate valid.
    in_use: bool,
    sealing: Sealing,
    publisher: Publisher<Material>,
}

impl Keeper {
    /// Reads the files of the port with this name for the first time.
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be used.
    pub(crate) fn open(port: &'static str, files: TlsFiles, purpose: Purpose) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let material = Material::new(&files, &contents, &purpose)?;
        tracing::info!(port, expires = %expiry(&material), "certificates are in use");
        let (sealing, publisher) = Sealing::new(port, material);
        Ok(Self { files, purpose, last: Ok(contents), in_use: true, sealing, publisher })
    }

    /// What connections are sealed with.
    pub(crate) fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    /// Reads the files again. Files that cannot be used change nothing.
    pub(super) fn look(&mut self) {
        let read = self.files.read();
        let is_known = read == self.last;
        if is_known && self.in_use {
            return;
        }
        let material = read.clone().and_then(|contents| Material::new(&self.files, &contents, &self.purpose));
        self.in_use = material.is_ok();
        self.last = read;
        if is_known && !self.in_use {
            return;
        }
        self.sealing.reloaded(material.is_ok());
        let port = self.sealing.port();
        match material {
            Ok(material) => {
                tracing::info!(port, expires = %expiry(&material), "new certificates are in use");
                self.publisher.replace(material);
            }
            Err(error) => tracing::error!(port, "{error}; the certificates from before stay in use"),
        }
    }
}

/// When a certificate expires, for people.
fn expiry(material: &Material) -> String {
    jiff::Timestamp::from_second(material.facts.expires_at).map_or_else(|_| "never".to_owned(), |at| at.to_string())
}

/// From now on SIGHUP does not end the process, and none is lost until `keep` begins. `None` if the system gives no handler.
pub(crate) fn hang_ups() -> Option<Signal> {
    signal(SignalKind::hangup()).ok()
}

/// Reads the files every few seconds and at SIGHUP, for as long as the node runs.
pub(crate) async fn keep(mut keepers: Vec<Keeper>, mut hang_ups: Option<Signal>) {
    if keepers.is_empty() {
        return;
    }
    let mut looks = interval(READ_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = hang_up(&mut hang_ups) => {}
        }
        // A disk may hang, and the loop must not.
        let read = tokio::task::spawn_blocking(move || {
            keepers.iter_mut().for_each(Keeper::look);
            keepers
        });
        match read.await {
            Ok(back) => keepers = back,
            // The process ends.
            Err(_) => return,
        }
    }
}

/// The next SIGHUP. Without a handler for it there is none.
async fn hang_up(signals: &mut Option<Signal>) {
    if let Some(signals) = signals
        && signals.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}
