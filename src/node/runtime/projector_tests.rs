//! The projector with real files.

#![allow(clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::published::{Publisher, publish};
use crate::stored::{opened, stored};
use quorapay_core::domain::Operation;
use quorapay_core::replication::Entry;
use quorapay_core::replication::sample::{Chain, assert_same_money};

/// How long a test waits for a message.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A projector at work.
struct Running {
    reader: ViewsReader,
    backlog: Backlog,
    messages: mpsc::Receiver<Message>,
    progress: Publisher<NodeProgress>,
    task: JoinHandle<()>,
}

/// Starts a projector on the views in `views` and the ledger in `ledger`, with these entries in memory.
async fn start(views: &TempDir, ledger: &TempDir, kept: &[Arc<Entry>], applied: LogIndex) -> Running {
    let OpenViews { writer, reader, .. } = views::open(views.path(), "test", StoreId(1)).await.unwrap();
    let ledger = opened(ledger, StoreId(2)).await.reader;
    let (progress, watched) = publish(NodeProgress { applied_index: applied, ..NodeProgress::default() });
    let (events, messages) = mpsc::channel(1_024);
    let backlog = Backlog::default();
    backlog.push(kept.iter().cloned());
    let place = ViewsPlace { data_dir: views.path().to_owned(), cluster_id: "test".to_owned(), store_id: StoreId(1) };
    let projector = Projector {
        writer: Some(writer),
        reader: reader.clone(),
        place,
        ledger,
        backlog: backlog.clone(),
        progress: watched,
        limits: Limits::default(),
        events,
        metrics: Arc::default(),
        blocking: Blocking::default(),
    };
    Running { reader, backlog, messages, progress, task: tokio::spawn(projector.run()) }
}

impl Running {
    async fn next(&mut self) -> Message {
        tokio::time::timeout(TIMEOUT, self.messages.recv()).await.unwrap().expect("it runs")
    }

    async fn wait_projected(&mut self, wanted: LogIndex) {
        loop {
            if let Message::Input(Input::Projected { index: reached, .. }) = self.next().await
                && reached == wanted
            {
                return;
            }
        }
    }

    async fn stop(self) {
        drop((self.progress, self.messages));
        self.task.await.unwrap();
    }
}

async fn assert_shows(reader: &ViewsReader, chain: &Chain) {
    let (position, bank) = reader.load_bank().await.unwrap();
    assert_eq!(position, chain.last());
    assert_same_money(&bank, &chain.bank);
    for entry in &chain.entries {
        for key in entry.operation().into_iter().flat_map(Operation::keys) {
            assert_eq!(reader.key(key.digest()).await.unwrap(), Some(entry.index));
        }
    }
}

/// Overwrites everything in the views but the first page, which says what there is.
fn damage(dir: &TempDir) {
    let file = OpenOptions::new().write(true).open(dir.path().join("views.db")).unwrap();
    let rest = usize::try_from(file.metadata().unwrap().len()).unwrap() - 4_096;
    file.write_all_at(&vec![0xff; rest], 4_096).unwrap();
}

#[tokio::test]
async fn what_memory_holds_is_projected_without_a_look_at_the_ledger() {
    let (chain, nothing) = (Chain::of_payments(300), Chain::begun());
    let (views, ledger) = (stored(&chain, 100).await, stored(&nothing, 0).await);
    let mut running = start(&views, &ledger, &chain.entries[100..], chain.last().index).await;
    running.wait_projected(chain.last().index).await;
    assert_shows(&running.reader, &chain).await;
    assert_eq!(running.backlog.first(), None, "what is projected is not kept");
    running.stop().await;
}

#[tokio::test]
async fn what_memory_does_not_hold_is_read_from_the_ledger_first() {
    let chain = Chain::of_payments(300);
    let dir = stored(&chain, 100).await;
    let mut running = start(&dir, &dir, &chain.entries[200..], chain.last().index).await;
    running.wait_projected(chain.last().index).await;
    assert_shows(&running.reader, &chain).await;
    running.stop().await;
}

#[tokio::test]
async fn damage_that_the_projector_finds_is_mended_by_projecting_the_ledger_again() {
    let chain = Chain::of_payments(3_000);
    let dir = stored(&chain, 2_900).await;
    let views = stored(&chain, 2_900).await;
    let mut running = start(&views, &dir, &[], LogIndex(2_900)).await;
    damage(&views);
    running.reader.reconnect().await.unwrap();
    running.progress.replace(NodeProgress { applied_index: chain.last().index, ..NodeProgress::default() });
    let found = running.reader.key(chain.entries[50].operation().unwrap().keys().next().unwrap().digest()).await;
    assert!(found.is_err(), "{found:?}");
    let (mut unfit, mut fit) = (false, false);
    while !fit {
        if let Message::Views { fit: is_fit, rebuilding } = running.next().await {
            assert_eq!(is_fit, rebuilding.is_none());
            unfit |= !is_fit;
            fit = unfit && is_fit;
        }
    }
    running.wait_projected(chain.last().index).await;
    assert_shows(&running.reader, &chain).await;
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_read_from_views_that_are_made_anew() {
    let chain = Chain::of_payments(50);
    let dir = stored(&chain, 50).await;
    let reader = views::open(dir.path(), "test", StoreId(1)).await.unwrap().reader;
    let digest = chain.entries[20].operation().unwrap().keys().next().unwrap().digest();
    assert_eq!(reader.key(digest).await.unwrap(), Some(LogIndex(21)));
    reader.gate().close();
    assert!(reader.key(digest).await.is_err());
    assert!(reader.keys([digest]).await.is_err());
    assert!(reader.load_bank().await.is_err());
    reader.gate().open();
    assert_eq!(reader.key(digest).await.unwrap(), Some(LogIndex(21)));
}
