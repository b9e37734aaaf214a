//! How a task waits for work on other threads: SQLite's, and system calls that block.
//!
//! Normally the task yields, and other tasks run meanwhile. In a simulation no thread may decide what happens first: the
//! work is run to its end before anything else goes on, and takes as long as the simulation says.

use std::fmt::Debug;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};

/// Runs work of other threads within one step of a simulation.
pub trait Steps: Debug + Send + Sync {
    /// Runs the work to its end. Nothing else of the process goes on meanwhile.
    fn run(&self, work: Pin<&mut (dyn Future<Output = ()> + Send)>);

    /// Waits for as long as a write takes.
    fn write_takes(&self) -> BoxFuture<'_, ()>;
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub enum Blocking {
    /// Other tasks run meanwhile.
    #[default]
    Yields,
    /// Nothing else goes on meanwhile.
    Steps(Arc<dyn Steps>),
}

impl Blocking {
    /// Waits for work of other threads.
    pub(crate) async fn settle<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        match self {
            Self::Yields => work.await,
            Self::Steps(steps) => run(&**steps, work),
        }
    }

    /// Waits for a write to the disk.
    pub(crate) async fn write<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        match self {
            Self::Yields => work.await,
            Self::Steps(steps) => {
                let done = run(&**steps, work);
                steps.write_takes().await;
                done
            }
        }
    }

    /// Runs something that blocks its thread.
    ///
    /// # Panics
    /// If it panics.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Yields => tokio::task::spawn_blocking(work).await.expect("it does not panic, and nobody aborts it"),
            Self::Steps(_) => work(),
        }
    }

    /// The items that other threads produce.
    pub(crate) fn settle_stream<'a, T: Send + 'a>(&self, items: BoxStream<'a, T>) -> BoxStream<'a, T> {
        match self {
            Self::Yields => items,
            Self::Steps(steps) => {
                let steps = Arc::clone(steps);
                let all = async move { stream::iter(run(&*steps, items.collect::<Vec<_>>())) };
                stream::once(all).flatten().boxed()
            }
        }
    }
}

fn run<T: Send>(steps: &dyn Steps, work: impl Future<Output = T> + Send) -> T {
    let mut result = None;
    steps.run(pin!(async { result = Some(work.await) }));
    result.expect("the work was run to its end")
}
