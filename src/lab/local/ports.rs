//! Ports of loopback.

use std::net::TcpListener;

use super::LocalError;

/// A port that nobody uses at this moment.
///
/// # Errors
/// [`LocalError::Io`] if the system has none.
pub fn free_port() -> Result<u16, LocalError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(LocalError::io("a free port"))?;
    Ok(listener.local_addr().map_err(LocalError::io("a free port"))?.port())
}

/// Refuses a port that is in use.
///
/// # Errors
/// [`LocalError::Port`].
pub fn require_free(port: u16) -> Result<(), LocalError> {
    TcpListener::bind(("127.0.0.1", port)).map(drop).map_err(|source| LocalError::Port { port, source })
}

/// Deals out ports for servers that will be killed and started again.
///
/// They lie below those that the system gives to outgoing connections: one of these could take the place of a server that
/// is about to come back.
#[derive(Debug)]
pub struct Ports {
    next: u16,
    left: u16,
}

impl Ports {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;

    /// Begins at a place that differs from process to process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let offset = u16::try_from(std::process::id() % 199).expect("below 199") * 100;
        Self { next: offset, left: Self::COUNT }
    }

    /// The next port that nobody uses at this moment.
    ///
    /// # Errors
    /// [`LocalError::Io`] once all were tried.
    pub fn deal(&mut self) -> Result<u16, LocalError> {
        loop {
            let port = Self::FIRST + self.next;
            self.next = (self.next + 1) % Self::COUNT;
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
    fn ports_that_are_dealt_are_different_and_free() {
        let mut ports = Ports::of_this_process();
        let dealt: Vec<u16> = (0..20).map(|_| ports.deal().expect("a port")).collect();
        let different: std::collections::BTreeSet<u16> = dealt.iter().copied().collect();
        assert_eq!(different.len(), 20);
        dealt.into_iter().for_each(|port| require_free(port).expect("it is free"));
    }
}
