//! The socket at which a development cluster takes faults and healings from other programs: one order and one answer for each
//! connection, each a line of JSON.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::DevError;
use super::layout;
use crate::fault::{FaultReply, FaultRequest, HealRequest};
use crate::local::LocalError;

/// Longest order or answer.
const MAX_LINE_BYTES: u64 = 64 * 1024;
/// How long another program may take to send its order.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an order may take. A ZooKeeper server takes some seconds to start.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// Orders that wait for their turn.
const MAX_ORDERS: usize = 16;
/// The longest path that the address of a socket has room for.
const MAX_SOCKET_PATH: usize = 107;

/// What another program asks of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Make a fault.
    Fault(FaultRequest),
    /// Heal faults.
    Heal(HealRequest),
    /// Say which faults last.
    List,
}

/// What the cluster answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// Done.
    Done(FaultReply),
    /// Not done; one line that says why.
    Refused(String),
}

/// An order that waits for its answer.
#[derive(Debug)]
pub struct PendingOrder {
    /// The order.
    pub order: Order,
    answer: oneshot::Sender<Answer>,
}

impl PendingOrder {
    /// Answers it. The program that asked may be gone.
    pub fn answer(self, result: &Result<FaultReply, DevError>) {
        let answer = match result {
            Ok(reply) => Answer::Done(reply.clone()),
            Err(error) => Answer::Refused(error.to_string()),
        };
        let _ = self.answer.send(answer);
    }
}

/// The listening side. Dropping it removes the socket.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    orders: mpsc::Receiver<PendingOrder>,
    _connections: JoinSet<()>,
}

impl Control {
    /// Opens the socket of a cluster whose directory is locked.
    pub(super) fn open(data_dir: &Path) -> Result<Self, LocalError> {
        let mut path = data_dir.join("dev.sock");
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            path = std::env::temp_dir().join(format!("quorapay-dev-{}.sock", uuid::Uuid::new_v4()));
        }
        // One that a killed program has left behind.
        let _ = std::fs::remove_file(&path);
        let failed = || LocalError::io(path.display().to_string());
        let listener = UnixListener::bind(&path).map_err(failed())?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(failed())?;
        let (sender, orders) = mpsc::channel(MAX_ORDERS);
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, sender));
        Ok(Self { path, orders, _connections: connections })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next order.
    pub async fn next(&mut self) -> PendingOrder {
        match self.orders.recv().await {
            Some(order) => order,
            // The task that accepts has ended, so nobody asks any more.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, orders: mpsc::Sender<PendingOrder>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, orders.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One order and its answer. Whatever goes wrong ends the connection, and the other program says so.
async fn serve(mut stream: UnixStream, orders: mpsc::Sender<PendingOrder>) {
    let Ok(Ok(line)) = timeout(ORDER_TIMEOUT, read_line(&mut stream)).await else { return };
    let answer = match serde_json::from_str(&line) {
        Ok(order) => {
            let (answer, answered) = oneshot::channel();
            if orders.send(PendingOrder { order, answer }).await.is_err() {
                return;
            }
            match answered.await {
                Ok(answer) => answer,
                Err(_) => return,
            }
        }
        Err(error) => Answer::Refused(format!("this is no order of this version: {error}")),
    };
    let _ = write_line(&mut stream, &answer).await;
}

async fn read_line(stream: &mut UnixStream) -> std::io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE_BYTES)).read_line(&mut line).await?;
    Ok(line)
}

async fn write_line(stream: &mut UnixStream, value: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_string(value).expect("orders and answers are plain values");
    line.push('\n');
    stream.write_all(line.as_bytes()).await
}

/// Gives an order to the cluster that runs in a directory.
///
/// # Errors
/// [`DevError::NotRunning`], [`DevError::OrderRefused`] with the cluster's reason, [`DevError::NoAnswer`].
pub async fn order(data_dir: &Path, order: &Order) -> Result<FaultReply, DevError> {
    let control = layout::read_dev_file(data_dir)?.control;
    let not_running = |_| DevError::NotRunning { data_dir: data_dir.to_owned() };
    let mut stream = UnixStream::connect(&control).await.map_err(not_running)?;
    let exchange = async {
        write_line(&mut stream, order).await?;
        read_line(&mut stream).await
    };
    let line = timeout(ANSWER_TIMEOUT, exchange).await.ok().and_then(Result::ok);
    match line.and_then(|line| serde_json::from_str(&line).ok()) {
        Some(Answer::Done(reply)) => Ok(reply),
        Some(Answer::Refused(why)) => Err(DevError::OrderRefused(why)),
        None => Err(DevError::NoAnswer),
    }
}
