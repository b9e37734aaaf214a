//! Sessions with real ZooKeeper servers, through the client library.
//!
//! It only translates: `session.rs` has the timeouts and decides when an operation may be issued.

use std::time::Duration;

use futures_util::future::BoxFuture;
use zookeeper_client::{Acl, Acls, Client, CreateMode, Error, SessionState, StateWatcher};

use super::config::CoordinationConfig;
use super::layout;
use super::outside::{Lifetime, Watch, Znode, ZooKeeper, ZooKeeperSession};

/// The servers that the configuration names.
pub(super) struct Ensemble;

impl ZooKeeper for Ensemble {
    fn connect<'a>(
        &'a self,
        config: &'a CoordinationConfig,
    ) -> BoxFuture<'a, Result<Box<dyn ZooKeeperSession>, Error>> {
        Box::pin(async move {
            let mut connector = Client::connector().with_session_timeout(config.session_timeout).with_fail_eagerly();
            if let Some(credential) = &config.credential {
                let secret = format!("{}:{}", credential.user, credential.password);
                connector = connector.with_auth("digest", secret.as_bytes());
            }
            let client = connector.connect(&config.servers).await?;
            let states = client.state_watcher();
            let session = ClientSession { client, states, access: layout::access(config.credential.is_some()) };
            Ok(Box::new(session) as Box<dyn ZooKeeperSession>)
        })
    }
}

struct ClientSession {
    client: Client,
    states: StateWatcher,
    access: Vec<Acl>,
}

impl ZooKeeperSession for ClientSession {
    fn id(&self) -> i64 {
        self.client.session_id().0
    }

    fn timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    fn state(&self) -> SessionState {
        self.client.state()
    }

    fn changed(&mut self) -> BoxFuture<'_, SessionState> {
        Box::pin(self.states.changed())
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Znode, Error>> {
        Box::pin(self.client.get_data(path))
    }

    fn read_and_watch<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(Znode, Watch), Error>> {
        let reading = self.client.get_and_watch_data(path);
        Box::pin(async move {
            let (data, stat, watcher) = reading.await?;
            let watch: Watch = Box::pin(async move { drop(watcher.changed().await) });
            Ok(((data, stat), watch))
        })
    }

    fn children<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(self.client.list_children(path))
    }

    fn sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.client.sync(path))
    }

    fn create<'a>(&'a self, path: &'a str, data: &'a [u8], lifetime: Lifetime) -> BoxFuture<'a, Result<(), Error>> {
        let mode = match lifetime {
            Lifetime::Persistent => CreateMode::Persistent,
            Lifetime::Ephemeral => CreateMode::Ephemeral,
        };
        let creation = self.client.create(path, data, &mode.with_acls(Acls::new(&self.access)));
        Box::pin(async move { creation.await.map(drop) })
    }

    fn create_sequential<'a>(&'a self, prefix: &'a str, data: &'a [u8]) -> BoxFuture<'a, Result<String, Error>> {
        let options = CreateMode::EphemeralSequential.with_acls(Acls::new(&self.access));
        let creation = self.client.create(prefix, data, &options);
        Box::pin(async move { creation.await.map(|(_, sequence)| sequence.to_string()) })
    }

    fn delete<'a>(&'a self, path: &'a str, version: i32) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.client.delete(path, Some(version)))
    }

    fn replace<'a>(&'a self, path: &'a str, data: &'a [u8], version: i32) -> BoxFuture<'a, Result<(), Error>> {
        let replacing = self.client.set_data(path, data, Some(version));
        Box::pin(async move { replacing.await.map(drop) })
    }

    fn delete_if<'a>(&'a self, guard: &'a str, version: i32, path: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut writer = self.client.new_check_writer(guard, Some(version))?;
            writer.add_delete(path, None)?;
            writer.commit().await?;
            Ok(())
        })
    }

    fn store_if<'a>(
        &'a self,
        (guard, guard_version): (&'a str, i32),
        path: &'a str,
        data: &'a [u8],
        replaced: Option<i32>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut writer = self.client.new_multi_writer();
            writer.add_check_version(guard, guard_version)?;
            match replaced {
                Some(version) => writer.add_set_data(path, data, Some(version))?,
                None => writer.add_create(path, data, &CreateMode::Persistent.with_acls(Acls::new(&self.access)))?,
            }
            writer.commit().await?;
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        let Self { client, mut states, .. } = *self;
        drop(client);
        Box::pin(async move {
            if !states.peek_state().is_terminated() {
                while !states.changed().await.is_terminated() {}
            }
        })
    }
}
