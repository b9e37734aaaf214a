//! Counts the connections that a port has open.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::serve::Listener;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many connections are open. Clones share the count.
pub(crate) type OpenConnections = Gauge<i64>;

/// A listener whose connections are counted while they are open.
pub(crate) struct Counted<L> {
    listener: L,
    open: OpenConnections,
}

impl<L> Counted<L> {
    pub(crate) fn new(listener: L, open: OpenConnections) -> Self {
        Self { listener, open }
    }
}

impl<L: Listener> Listener for Counted<L>
where
    L::Io: Unpin,
{
    type Io = CountedIo<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        self.open.inc();
        (CountedIo { io, open: self.open.clone() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that counts until it is dropped.
pub(crate) struct CountedIo<I> {
    io: I,
    open: OpenConnections,
}

impl<I> Drop for CountedIo<I> {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for CountedIo<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for CountedIo<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_connection_counts_while_it_is_open() {
        let open = OpenConnections::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut counted = Counted::new(listener, open.clone());
        let (_first, _second) = (TcpStream::connect(address).await, TcpStream::connect(address).await);
        let (one, _) = counted.accept().await;
        let (two, _) = counted.accept().await;
        assert_eq!(open.get(), 2);
        drop(one);
        assert_eq!(open.get(), 1);
        drop(two);
        assert_eq!(open.get(), 0);
    }
}
