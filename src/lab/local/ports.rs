//! Ports on loopback.

use std::net::TcpListener;
use std::ops::RangeInclusive;

use super::error::LocalError;

/// A port that is free at this moment.
///
/// # Errors
/// [`LocalError::Io`] if the system has none.
pub fn free_port() -> Result<u16, LocalError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(LocalError::io("a free port"))?;
    Ok(listener.local_addr().map_err(LocalError::io("a free port"))?.port())
}

/// Fails if a port is in use.
///
/// # Errors
/// [`LocalError::Port`].
pub fn require_free(port: u16) -> Result<(), LocalError> {
    TcpListener::bind(("127.0.0.1", port)).map(drop).map_err(|source| LocalError::Port { port, source })
}

/// Ports for servers that will be killed and restarted.
///
/// They are below the range of outgoing connections: such a connection could take the port of a server that is about to be
/// restarted.
#[derive(Debug)]
pub struct Ports {
    next: u16,
    left: u16,
    without: RangeInclusive<u16>,
}

impl Ports {
    /// The range ends below 32,768, where the ephemeral ports of Linux begin.
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;

    /// Begins at a port that depends on the process id, so that concurrent processes rarely collide.
    #[must_use]
    pub fn of_this_process() -> Self {
        let offset = u16::try_from(std::process::id() % 199).expect("below 199") * 100;
        Self { next: offset, left: Self::COUNT, without: RangeInclusive::new(1, 0) }
    }

    /// Deals none of these, which are meant for something else and may be free still.
    #[must_use]
    pub fn without(self, ports: RangeInclusive<u16>) -> Self {
        Self { without: ports, ..self }
    }

    /// The next port that is free at this moment.
    ///
    /// # Errors
    /// [`LocalError::Io`] once all ports were tried.
    pub fn deal(&mut self) -> Result<u16, LocalError> {
        loop {
            let port = Self::FIRST + self.next;
            self.next = (self.next + 1) % Self::COUNT;
            if self.without.contains(&port) {
                continue;
            }
            match TcpListener::bind(("127.0.0.1", port)) {
                Ok(_) => return Ok(port),
                Err(source) if self.left == 0 => {
                    return Err(LocalError::Io { what: "a free port".to_owned(), source });
                }
                Err(_) => self.left -= 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dealt_ports_are_different_and_free() {
        let mut ports = Ports::of_this_process();
        let dealt: Vec<u16> = (0..20).map(|_| ports.deal().expect("a port")).collect();
        let different: std::collections::BTreeSet<u16> = dealt.iter().copied().collect();
        assert_eq!(different.len(), 20);
        dealt.into_iter().for_each(|port| require_free(port).expect("it is free"));
    }
}
