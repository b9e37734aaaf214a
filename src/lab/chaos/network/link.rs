//! One link: a small TCP proxy that delays, loses or holds what passes, in each direction by its own weather.
//!
//! A proxy must not hide that a process is dead: its nodes learn of a death from a refused connection. So when the target
//! refuses, the proxy closes its own port, and opens it again when the target is back. During a cut it tells nothing.

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

use crate::chaos::nemesis::Weather;

const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks that one direction of a connection holds; then the sender waits, as it would on a real network.
const MOST_HELD: usize = 64;
/// What a lost packet costs a TCP connection: the shortest retransmission timeout.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// How often a closed entrance looks whether its target is back.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long the target may take to accept or to refuse.
const PROBE: Duration = Duration::from_millis(200);

/// A connection that has ended asks whether the target is gone, and ends once it is known.
type Suspicion = oneshot::Sender<()>;

/// See the module.
pub(super) struct Link {
    pub(super) entrance: SocketAddr,
    pub(super) target: SocketAddr,
    /// What happens to what travels to the target, and to what comes back.
    pub(super) there: watch::Receiver<Weather>,
    pub(super) back: watch::Receiver<Weather>,
}

impl Link {
    /// Serves until it is dropped.
    pub(super) async fn serve(self, mut listener: TcpListener) {
        let (suspect, mut suspicions) = mpsc::channel::<Suspicion>(MOST_HELD);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    // A connection that was given up before it was taken is none.
                    if let Ok((stream, _)) = accepted {
                        let carry = carry(stream, self.target, self.there.clone(), self.back.clone(), suspect.clone());
                        connections.spawn(carry);
                    }
                }
                Some(suspicion) = suspicions.recv() => {
                    if self.target_refuses().await {
                        drop(listener);
                        drop(suspicion);
                        listener = self.reopen(&mut suspicions).await;
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// During a cut nobody learns whether the target is there.
    async fn target_refuses(&self) -> bool {
        let is_cut = |weather: &watch::Receiver<Weather>| *weather.borrow() == Weather::Cut;
        !is_cut(&self.there) && !is_cut(&self.back) && refuses(self.target).await
    }

    /// Waits until the target is back. Meanwhile every other connection to it may end as soon as it asks: each user of
    /// the link learns at once what one of them found.
    async fn reopen(&self, suspicions: &mut mpsc::Receiver<Suspicion>) -> TcpListener {
        let mut look = interval(LOOK_AGAIN);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if !self.target_refuses().await
                        && let Ok(listener) = TcpListener::bind(self.entrance).await
                    {
                        return listener;
                    }
                }
                Some(suspicion) = suspicions.recv() => drop(suspicion),
            }
        }
    }
}

async fn refuses(target: SocketAddr) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    timeout(PROBE, TcpStream::connect(target)).await.is_ok_and(|connected| connected.is_err_and(refused))
}

/// Carries one connection to its end.
async fn carry(
    inner: TcpStream,
    target: SocketAddr,
    mut there: watch::Receiver<Weather>,
    mut back: watch::Receiver<Weather>,
    suspect: mpsc::Sender<Suspicion>,
) {
    wait_for_passage(&mut there).await;
    wait_for_passage(&mut back).await;
    let Ok(outer) = TcpStream::connect(target).await else {
        report(&suspect).await;
        return;
    };
    let _ = (inner.set_nodelay(true), outer.set_nodelay(true));
    let ((mut inner_read, mut inner_write), (mut outer_read, mut outer_write)) =
        (inner.into_split(), outer.into_split());
    // An end in one direction is passed on as such; an error is the end of both.
    let to_target = async {
        pump(&mut inner_read, &mut outer_write, there).await?;
        outer_write.shutdown().await
    };
    let from_target = async {
        pump(&mut outer_read, &mut inner_write, back).await?;
        report(&suspect).await;
        inner_write.shutdown().await
    };
    if tokio::try_join!(to_target, from_target).is_err() {
        report(&suspect).await;
    }
}

/// Has it looked whether the target is gone. Whoever used this connection then finds its port closed as well.
async fn report(suspect: &mpsc::Sender<Suspicion>) {
    let (suspicion, looked) = oneshot::channel();
    if suspect.send(suspicion).await.is_ok() {
        let _ = looked.await;
    }
}

async fn wait_for_passage(weather: &mut watch::Receiver<Weather>) {
    // A network that is gone lets everything end.
    let _ = weather.wait_for(|weather| *weather != Weather::Cut).await;
}

/// What is on its way, and when it arrives.
struct Held {
    due: Instant,
    bytes: Vec<u8>,
}

/// Carries one direction to its end, which arrives no earlier than the weather lets it.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let mut held: VecDeque<Held> = VecDeque::new();
    let mut ended = false;
    let mut buffer = vec![0; CHUNK_BYTES];
    while !ended || !held.is_empty() {
        let now = *weather.borrow_and_update();
        let passing = now != Weather::Cut;
        let due = held.front().map(|chunk| chunk.due);
        tokio::select! {
            read = from.read(&mut buffer), if !ended && passing && held.len() < MOST_HELD => match read? {
                0 => ended = true,
                length if held.is_empty() && now == Weather::Clear => to.write_all(&buffer[..length]).await?,
                length => {
                    // Nothing overtakes what was sent before it.
                    let earliest = held.back().map_or_else(Instant::now, |last| last.due);
                    let due = earliest.max(Instant::now() + delay(now));
                    held.push_back(Held { due, bytes: buffer[..length].to_vec() });
                }
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && passing => {
                let chunk = held.pop_front().expect("something was due");
                to.write_all(&chunk.bytes).await?;
            }
            changed = weather.changed() => changed.map_err(|_| io::ErrorKind::ConnectionAborted)?,
        }
    }
    wait_for_passage(&mut weather).await;
    Ok(())
}

/// How much later a chunk arrives.
fn delay(weather: Weather) -> Duration {
    match weather {
        Weather::Clear | Weather::Cut => Duration::ZERO,
        Weather::Delayed(least) => least.mul_f64(rand::rng().random_range(1.0..2.0)),
        Weather::Lossy(per_mille) => {
            let lost = rand::rng().random_range(0..1_000) < per_mille;
            if lost { RETRANSMISSION } else { Duration::ZERO }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::time::sleep;

    use super::*;

    struct Bench {
        target: TcpListener,
        entrance: SocketAddr,
        there: watch::Sender<Weather>,
        back: watch::Sender<Weather>,
        _link: JoinSet<()>,
    }

    async fn bench() -> Bench {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let entrance = listener.local_addr().unwrap();
        let (there, back) = (watch::Sender::new(Weather::Clear), watch::Sender::new(Weather::Clear));
        let link =
            Link { entrance, target: target.local_addr().unwrap(), there: there.subscribe(), back: back.subscribe() };
        let mut links = JoinSet::new();
        links.spawn(link.serve(listener));
        Bench { target, entrance, there, back, _link: links }
    }

    impl Bench {
        async fn connect(&self) -> (TcpStream, TcpStream) {
            let inner = TcpStream::connect(self.entrance).await.unwrap();
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

    const A_WHILE: Duration = Duration::from_millis(80);

    #[tokio::test]
    async fn in_clear_weather_everything_passes_both_ways() {
        let bench = bench().await;
        let (mut inner, mut outer) = bench.connect().await;
        pass(&mut inner, &mut outer).await;
        pass(&mut outer, &mut inner).await;
    }

    #[tokio::test]
    async fn a_cut_one_way_holds_that_way_only_and_lets_go_when_it_ends() {
        let bench = bench().await;
        let (mut inner, mut outer) = bench.connect().await;
        bench.there.send_replace(Weather::Cut);
        pass(&mut outer, &mut inner).await;
        inner.write_all(b"late").await.unwrap();
        let mut bytes = [0; 4];
        assert!(timeout(A_WHILE, outer.read_exact(&mut bytes)).await.is_err(), "nothing arrives");
        bench.there.send_replace(Weather::Clear);
        outer.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"late");
    }

    #[tokio::test]
    async fn a_delay_keeps_the_order() {
        let bench = bench().await;
        let (mut inner, mut outer) = bench.connect().await;
        bench.back.send_replace(Weather::Delayed(Duration::from_millis(30)));
        assert!(pass(&mut outer, &mut inner).await >= Duration::from_millis(30));
        bench.back.send_replace(Weather::Lossy(500));
        for number in 0..20_u8 {
            outer.write_all(&[number]).await.unwrap();
        }
        let mut bytes = [0; 20];
        inner.read_exact(&mut bytes).await.unwrap();
        assert!(bytes.is_sorted(), "{bytes:?}");
    }

    #[tokio::test]
    async fn the_death_of_the_target_is_a_refused_connection_and_its_return_an_accepted_one() {
        let bench = bench().await;
        let (mut inner, outer) = bench.connect().await;
        let address = bench.target.local_addr().unwrap();
        drop((outer, bench.target));
        assert_eq!(inner.read(&mut [0; 1]).await.unwrap_or(0), 0);
        let refused = TcpStream::connect(bench.entrance).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let back = TcpListener::bind(address).await.unwrap();
        let connected = async {
            while TcpStream::connect(bench.entrance).await.is_err() {
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(Duration::from_secs(5), connected).await.unwrap();
        drop(back);
    }

    #[tokio::test]
    async fn every_connection_to_a_dead_target_ends_at_once() {
        let bench = bench().await;
        let (mut first, outer) = bench.connect().await;
        let (mut second, other) = bench.connect().await;
        drop((outer, bench.target));
        assert_eq!(first.read(&mut [0; 1]).await.unwrap_or(0), 0);
        drop(other);
        let end = timeout(Duration::from_secs(5), second.read(&mut [0; 1])).await;
        assert_eq!(end.expect("not only once the target is back").unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn during_a_cut_a_dead_target_stays_unknown() {
        let bench = bench().await;
        let (mut inner, outer) = bench.connect().await;
        bench.back.send_replace(Weather::Cut);
        drop((outer, bench.target));
        assert!(timeout(A_WHILE, inner.read(&mut [0; 1])).await.is_err(), "the end is held back");
        TcpStream::connect(bench.entrance).await.unwrap();
        bench.back.send_replace(Weather::Clear);
        assert_eq!(inner.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}
