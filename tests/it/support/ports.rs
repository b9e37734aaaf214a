//! Ports for the servers of all tests.

use std::sync::{LazyLock, Mutex, PoisonError};

use quorapay_lab::local::Ports;

/// A port for a server that may be killed and restarted.
pub(crate) fn listening_port() -> u16 {
    static PORTS: LazyLock<Mutex<Ports>> = LazyLock::new(|| Mutex::new(Ports::of_this_process()));
    PORTS.lock().unwrap_or_else(PoisonError::into_inner).deal().unwrap()
}
