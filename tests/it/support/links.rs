//! Connections through this process, which can be cut as a network can: nothing passes, and nobody is told.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

const CHUNK_BYTES: usize = 32 * 1024;

/// What the threads of a link share.
#[derive(Default)]
struct LinkState {
    cut: Mutex<bool>,
    changed: Condvar,
}

impl LinkState {
    fn wait_until_whole(&self) {
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(cut, |cut| *cut).unwrap_or_else(PoisonError::into_inner));
    }
}

/// A port of loopback that leads to another one. Its threads end with the connections, and with this process.
pub(crate) struct Link {
    pub(crate) port: u16,
    /// The port that it leads to.
    pub(crate) target: u16,
    state: Arc<LinkState>,
}

impl Link {
    /// A link to a port where a server may come and go.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(LinkState::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A connection that fails is closed, as the process that is connected expects it.
                thread::spawn(move || drop(carry(&near, target, &state)));
            }
        });
        Self { port, target, state }
    }

    /// Cuts it, or makes it whole. What was sent meanwhile arrives then.
    pub(crate) fn set_cut(&self, cut: bool) {
        *self.state.cut.lock().unwrap_or_else(PoisonError::into_inner) = cut;
        self.state.changed.notify_all();
    }
}

fn carry(near: &TcpStream, target: u16, state: &LinkState) -> io::Result<()> {
    state.wait_until_whole();
    let far = TcpStream::connect(("127.0.0.1", target))?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| pump(near, &far, state));
        pump(&far, near, state)
    })
}

/// Carries one direction. Its end is the end of both.
fn pump(mut from: &TcpStream, mut to: &TcpStream, state: &LinkState) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let result = loop {
        match from.read(&mut chunk) {
            Ok(0) => break Ok(()),
            Ok(length) => {
                state.wait_until_whole();
                if let Err(error) = to.write_all(&chunk[..length]) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    // The other side may have closed it already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    result
}
