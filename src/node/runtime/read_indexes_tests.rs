//! Which reads share a request, and which must not.

#![allow(clippy::unwrap_used)]

use futures_util::future::join_all;

use super::*;

/// The next request of the event loop's queue.
async fn next(requests: &mut mpsc::Receiver<Message>) -> oneshot::Sender<Option<LogIndex>> {
    match requests.recv().await {
        Some(Message::Read { reply, .. }) => reply,
        _ => panic!("it asks for a read index"),
    }
}

#[tokio::test]
async fn reads_share_a_request_only_if_they_asked_before_it_was_sent() {
    let (sender, mut requests) = mpsc::channel(4);
    let indexes = ReadIndexes::new(sender);
    let ask = |count: usize| {
        let indexes = indexes.clone();
        tokio::spawn(async move { join_all((0..count).map(|_| indexes.ask(None))).await })
    };
    let first = ask(3);
    let reply = next(&mut requests).await;
    let second = ask(5);
    tokio::task::yield_now().await;
    assert!(requests.try_recv().is_err(), "one request at a time");
    reply.send(Some(LogIndex(7))).unwrap();
    assert_eq!(first.await.unwrap(), [Ok(Some(LogIndex(7))); 3]);
    next(&mut requests).await.send(Some(LogIndex(9))).unwrap();
    assert_eq!(second.await.unwrap(), [Ok(Some(LogIndex(9))); 5]);
    tokio::task::yield_now().await;
    assert!(requests.try_recv().is_err(), "nobody waits");
}

#[tokio::test]
async fn a_request_that_takes_long_keeps_no_later_read_waiting() {
    let (sender, mut requests) = mpsc::channel(4);
    let indexes = ReadIndexes::new(sender);
    let ask = || {
        let indexes = indexes.clone();
        tokio::spawn(async move { indexes.ask(None).await })
    };
    let slow = ask();
    let slow_reply = next(&mut requests).await;
    let quick = ask();
    next(&mut requests).await.send(Some(LogIndex(9))).unwrap();
    assert_eq!(quick.await.unwrap(), Ok(Some(LogIndex(9))));
    slow_reply.send(Some(LogIndex(7))).unwrap();
    assert_eq!(slow.await.unwrap(), Ok(Some(LogIndex(7))));
    drop(requests);
    assert_eq!(indexes.ask(None).await, Err(ReadError::Overloaded));
}
