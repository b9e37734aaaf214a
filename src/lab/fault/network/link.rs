//! One link: a TCP proxy that delays, loses or blocks traffic, with a separate state for each direction.
//!
//! A proxy must not hide that a process is dead, because nodes detect a dead peer by a refused connection. When the target
//! refuses, the proxy closes its own port and opens it again when the target is back. During a cut it reveals nothing.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::fault::link_fault::LinkState;

const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks in transit in one direction of a connection. Beyond that the sender has to wait, as on a real network.
const MAX_DELAYED_CHUNKS: usize = 64;
/// Delay of a TCP connection by a lost packet: the minimum retransmission timeout of Linux.
const RETRANSMISSION_TIMEOUT: Duration = Duration::from_millis(200);
/// How often a closed proxy checks whether its target is back.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long the target may take to accept or refuse a connection.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

/// A request of a connection that has ended to check whether the target is dead. Dropping it answers the request.
type TargetCheck = oneshot::Sender<()>;

/// A proxy that listens for one node and connects to one target.
pub(crate) struct LinkProxy {
    pub(crate) listen: SocketAddr,
    pub(crate) target: SocketAddr,
    /// State of the direction to the target.
    pub(crate) to_target: watch::Receiver<LinkState>,
    /// State of the direction from the target.
    pub(crate) from_target: watch::Receiver<LinkState>,
}

impl LinkProxy {
    /// Runs until the future is dropped.
    pub(crate) async fn serve(self, mut listener: TcpListener) {
        let (request_check, mut checks) = mpsc::channel::<TargetCheck>(MAX_DELAYED_CHUNKS);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    // Accepting fails if the peer has closed the connection already.
                    if let Ok((stream, _)) = accepted {
                        let forward = forward(stream, self.target, self.to_target.clone(), self.from_target.clone(), request_check.clone());
                        connections.spawn(forward);
                    }
                }
                Some(check) = checks.recv() => {
                    if self.target_refuses().await {
                        drop(listener);
                        drop(check);
                        listener = self.reopen(&mut checks).await;
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// False during a cut, when the target's state must stay hidden.
    async fn target_refuses(&self) -> bool {
        let is_cut = |state: &watch::Receiver<LinkState>| *state.borrow() == LinkState::Cut;
        !is_cut(&self.to_target) && !is_cut(&self.from_target) && refuses(self.target).await
    }

    /// Waits until the target is back. Meanwhile the checks of all other connections are answered at once, so that they end
    /// without waiting for the target.
    async fn reopen(&self, checks: &mut mpsc::Receiver<TargetCheck>) -> TcpListener {
        let mut look = interval(POLL_INTERVAL);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if !self.target_refuses().await
                        && let Ok(listener) = TcpListener::bind(self.listen).await
                    {
                        return listener;
                    }
                }
                Some(check) = checks.recv() => drop(check),
            }
        }
    }
}

async fn refuses(target: SocketAddr) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    timeout(PROBE_TIMEOUT, TcpStream::connect(target)).await.is_ok_and(|connected| connected.is_err_and(refused))
}

/// Forwards one connection until it ends.
async fn forward(
    inner: TcpStream,
    target: SocketAddr,
    mut to_target: watch::Receiver<LinkState>,
    mut from_target: watch::Receiver<LinkState>,
    request_check: mpsc::Sender<TargetCheck>,
) {
    wait_until_not_cut(&mut to_target).await;
    wait_until_not_cut(&mut from_target).await;
    let Ok(outer) = TcpStream::connect(target).await else {
        check_target(&request_check).await;
        return;
    };
    let _ = (inner.set_nodelay(true), outer.set_nodelay(true));
    let ((mut inner_read, mut inner_write), (mut outer_read, mut outer_write)) =
        (inner.into_split(), outer.into_split());
    // The end of one direction is forwarded; an error ends both.
    let to_target = async {
        pump(&mut inner_read, &mut outer_write, to_target).await?;
        outer_write.shutdown().await
    };
    let from_target = async {
        pump(&mut outer_read, &mut inner_write, from_target).await?;
        check_target(&request_check).await;
        inner_write.shutdown().await
    };
    if tokio::try_join!(to_target, from_target).is_err() {
        check_target(&request_check).await;
    }
}

/// Has the proxy check whether the target is dead, so that its port is closed before this connection ends.
async fn check_target(request_check: &mpsc::Sender<TargetCheck>) {
    let (check, checked) = oneshot::channel();
    if request_check.send(check).await.is_ok() {
        let _ = checked.await;
    }
}

async fn wait_until_not_cut(state: &mut watch::Receiver<LinkState>) {
    // An error means that the network is being dropped.
    let _ = state.wait_for(|state| *state != LinkState::Cut).await;
}

/// Bytes in transit and the time of their arrival.
struct DelayedChunk {
    due: Instant,
    bytes: Vec<u8>,
}

/// Forwards one direction until it ends. The end itself is subject to the link's state too.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut state: watch::Receiver<LinkState>,
) -> io::Result<()> {
    let mut delayed: VecDeque<DelayedChunk> = VecDeque::new();
    let mut ended = false;
    let mut buffer = vec![0; CHUNK_BYTES];
    while !ended || !delayed.is_empty() {
        let now = *state.borrow_and_update();
        let open = now != LinkState::Cut;
        let due = delayed.front().map(|chunk| chunk.due);
        tokio::select! {
            read = from.read(&mut buffer), if !ended && open && delayed.len() < MAX_DELAYED_CHUNKS => match read? {
                0 => ended = true,
                length if delayed.is_empty() && now == LinkState::Healthy => to.write_all(&buffer[..length]).await?,
                length => {
                    // TCP keeps the order: no chunk arrives before an earlier one.
                    let earliest = delayed.back().map_or_else(Instant::now, |last| last.due);
                    let due = earliest.max(Instant::now() + delay(now));
                    delayed.push_back(DelayedChunk { due, bytes: buffer[..length].to_vec() });
                }
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && open => {
                let chunk = delayed.pop_front().expect("something was due");
                to.write_all(&chunk.bytes).await?;
            }
            changed = state.changed() => changed.map_err(|_| io::ErrorKind::ConnectionAborted)?,
        }
    }
    wait_until_not_cut(&mut state).await;
    Ok(())
}

/// Extra delay of a chunk.
fn delay(state: LinkState) -> Duration {
    match state {
        LinkState::Healthy | LinkState::Cut | LinkState::Unconnectable => Duration::ZERO,
        LinkState::Delayed(least) => least.mul_f64(rand::rng().random_range(1.0..2.0)),
        LinkState::Lossy(per_mille) => {
            let lost = rand::rng().random_range(0..1_000) < per_mille;
            if lost { RETRANSMISSION_TIMEOUT } else { Duration::ZERO }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::time::sleep;

    use super::*;

    struct Setup {
        target: TcpListener,
        listen: SocketAddr,
        to_target: watch::Sender<LinkState>,
        from_target: watch::Sender<LinkState>,
        _link: JoinSet<()>,
    }

    async fn set_up() -> Setup {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        let (to_target, from_target) = (watch::Sender::new(LinkState::Healthy), watch::Sender::new(LinkState::Healthy));
        let link = LinkProxy {
            listen,
            target: target.local_addr().unwrap(),
            to_target: to_target.subscribe(),
            from_target: from_target.subscribe(),
        };
        let mut links = JoinSet::new();
        links.spawn(link.serve(listener));
        Setup { target, listen, to_target, from_target, _link: links }
    }

    impl Setup {
        async fn connect(&self) -> (TcpStream, TcpStream) {
            let inner = TcpStream::connect(self.listen).await.unwrap();
            (inner, self.target.accept().await.unwrap().0)
        }
    }

    async fn pass(from: &mut TcpStream, to: &mut TcpStream) -> Duration {
        let began = Instant::now();
        from.write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        to.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
        began.elapsed()
    }

    const A_MOMENT: Duration = Duration::from_millis(80);

    #[tokio::test]
    async fn a_healthy_link_forwards_both_ways() {
        let setup = set_up().await;
        let (mut inner, mut outer) = setup.connect().await;
        pass(&mut inner, &mut outer).await;
        pass(&mut outer, &mut inner).await;
    }

    #[tokio::test]
    async fn a_one_way_cut_blocks_that_way_only_and_delivers_when_it_ends() {
        let setup = set_up().await;
        let (mut inner, mut outer) = setup.connect().await;
        setup.to_target.send_replace(LinkState::Cut);
        pass(&mut outer, &mut inner).await;
        inner.write_all(b"late").await.unwrap();
        let mut bytes = [0; 4];
        assert!(timeout(A_MOMENT, outer.read_exact(&mut bytes)).await.is_err(), "nothing arrives");
        setup.to_target.send_replace(LinkState::Healthy);
        outer.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"late");
    }

    #[tokio::test]
    async fn a_delay_keeps_the_order() {
        let setup = set_up().await;
        let (mut inner, mut outer) = setup.connect().await;
        setup.from_target.send_replace(LinkState::Delayed(Duration::from_millis(30)));
        assert!(pass(&mut outer, &mut inner).await >= Duration::from_millis(30));
        setup.from_target.send_replace(LinkState::Lossy(500));
        for number in 0..20_u8 {
            outer.write_all(&[number]).await.unwrap();
        }
        let mut bytes = [0; 20];
        inner.read_exact(&mut bytes).await.unwrap();
        assert!(bytes.is_sorted(), "{bytes:?}");
    }

    #[tokio::test]
    async fn the_death_of_the_target_is_a_refused_connection_and_its_return_an_accepted_one() {
        let setup = set_up().await;
        let (mut inner, outer) = setup.connect().await;
        let address = setup.target.local_addr().unwrap();
        drop((outer, setup.target));
        assert_eq!(inner.read(&mut [0; 1]).await.unwrap_or(0), 0);
        let refused = TcpStream::connect(setup.listen).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let back = TcpListener::bind(address).await.unwrap();
        let connected = async {
            while TcpStream::connect(setup.listen).await.is_err() {
                sleep(POLL_INTERVAL).await;
            }
        };
        timeout(Duration::from_secs(5), connected).await.unwrap();
        drop(back);
    }

    #[tokio::test]
    async fn every_connection_to_a_dead_target_ends_at_once() {
        let setup = set_up().await;
        let (mut first, outer) = setup.connect().await;
        let (mut second, other) = setup.connect().await;
        drop((outer, setup.target));
        assert_eq!(first.read(&mut [0; 1]).await.unwrap_or(0), 0);
        drop(other);
        let end = timeout(Duration::from_secs(5), second.read(&mut [0; 1])).await;
        assert_eq!(end.expect("not only once the target is back").unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn during_a_cut_a_dead_target_stays_unknown() {
        let setup = set_up().await;
        let (mut inner, outer) = setup.connect().await;
        setup.from_target.send_replace(LinkState::Cut);
        drop((outer, setup.target));
        assert!(timeout(A_MOMENT, inner.read(&mut [0; 1])).await.is_err(), "the end is held back");
        TcpStream::connect(setup.listen).await.unwrap();
        setup.from_target.send_replace(LinkState::Healthy);
        assert_eq!(inner.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}
