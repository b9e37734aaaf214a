//! The znodes: a tree with versions, owners of ephemeral znodes and sequential names. Access lists are ignored.
//!
//! It applies one operation after another, like the leader of an ensemble, and knows nothing of connections or time.

use std::collections::BTreeMap;

use quorapay_node::coordination::Lifetime;
use zookeeper_client::{Error, Stat};

/// What a client asks for.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Read { path: String, watch: bool },
    Children { path: String },
    Sync,
    Create { path: String, data: Vec<u8>, lifetime: Lifetime },
    CreateSequential { prefix: String, data: Vec<u8> },
    Delete { path: String, version: Option<i32> },
    Replace { path: String, data: Vec<u8>, version: i32 },
    DeleteIf { guard: String, version: i32, path: String },
    StoreIf { guard: (String, i32), path: String, data: Vec<u8>, replaced: Option<i32> },
}

impl Operation {
    pub(super) const fn is_write(&self) -> bool {
        !matches!(self, Self::Read { .. } | Self::Children { .. } | Self::Sync)
    }

    /// For the trace: without data, which may hold process ids and random numbers.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Read { path, watch: false } => format!("read {path}"),
            Self::Read { path, watch: true } => format!("watch {path}"),
            Self::Children { path } => format!("list {path}"),
            Self::Sync => "sync".to_owned(),
            Self::Create { path, lifetime, .. } => format!("create {path} {lifetime:?}"),
            Self::CreateSequential { prefix, .. } => format!("create {prefix}<next>"),
            Self::Delete { path, version } => format!("delete {path} {version:?}"),
            Self::Replace { path, version, .. } => format!("replace {path} {version}"),
            Self::DeleteIf { guard, version, path } => format!("delete {path} if {guard} {version}"),
            Self::StoreIf { guard, path, replaced, .. } => format!("store {path} {replaced:?} if {guard:?}"),
        }
    }
}

/// What the servers answer.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Data(Vec<u8>, Stat),
    Children(Vec<String>),
    Sequence(String),
    Done,
}

struct Znode {
    data: Vec<u8>,
    version: i32,
    /// The session whose end removes it; zero for a persistent one.
    owner: i64,
    created: i64,
    modified: i64,
    /// How many children were ever created: the next sequence number.
    children_created: i32,
}

/// See the module.
pub(super) struct Tree {
    znodes: BTreeMap<String, Znode>,
    /// The number of the last change.
    zxid: i64,
    /// The znodes that changed or disappeared since this was taken.
    changed: Vec<String>,
}

impl Tree {
    /// A tree with nothing but its root. Its changes are numbered from `zxid`.
    pub(super) fn new(zxid: i64) -> Self {
        let mut tree = Self { znodes: BTreeMap::new(), zxid, changed: Vec::new() };
        tree.insert("/", Vec::new(), 0);
        tree
    }

    pub(super) const fn zxid(&self) -> i64 {
        self.zxid
    }

    /// The paths whose watches have to fire.
    pub(super) fn take_changed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn apply(&mut self, session: i64, operation: &Operation) -> Result<Answer, Error> {
        match operation {
            Operation::Read { path, .. } => self.read(path),
            Operation::Children { path } => {
                self.znode(path)?;
                Ok(Answer::Children(self.children(path)))
            }
            Operation::Sync => Ok(Answer::Done),
            Operation::Create { path, data, lifetime } => {
                let owner = if *lifetime == Lifetime::Ephemeral { session } else { 0 };
                self.create(path, data, owner).map(|()| Answer::Done)
            }
            Operation::CreateSequential { prefix, data } => {
                let sequence = format!("{:010}", self.znode(parent(prefix))?.children_created);
                self.create(&format!("{prefix}{sequence}"), data, session).map(|()| Answer::Sequence(sequence))
            }
            Operation::Delete { path, version } => self.delete(path, *version).map(|()| Answer::Done),
            Operation::Replace { path, data, version } => self.replace(path, data, *version).map(|()| Answer::Done),
            Operation::DeleteIf { guard, version, path } => {
                // What the client library makes of a check that fails.
                self.check(guard, *version).map_err(|_| Error::RuntimeInconsistent)?;
                self.delete(path, None).map(|()| Answer::Done)
            }
            Operation::StoreIf { guard: (guard, guard_version), path, data, replaced } => {
                self.check(guard, *guard_version)?;
                match replaced {
                    Some(version) => self.replace(path, data, *version),
                    None => self.create(path, data, 0),
                }
                .map(|()| Answer::Done)
            }
        }
    }

    /// Removes what a session leaves behind.
    pub(super) fn remove_ephemerals(&mut self, session: i64) {
        let of_session = self.znodes.iter().filter(|(_, znode)| znode.owner == session);
        let paths: Vec<String> = of_session.map(|(path, _)| path.clone()).collect();
        self.zxid += 1;
        for path in paths {
            self.znodes.remove(&path);
            self.changed.push(path);
        }
    }

    /// Whether a client that saw everything up to `zxid` missed a change of this znode.
    pub(super) fn changed_since(&self, path: &str, zxid: i64) -> bool {
        self.znodes.get(path).is_none_or(|znode| znode.modified > zxid)
    }

    /// The names of the children, in order.
    pub(super) fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let below = self.znodes.range(prefix.clone()..).map(|(path, _)| path);
        let names = below.map_while(|path| path.strip_prefix(&*prefix));
        names.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect()
    }

    pub(super) fn data(&self, path: &str) -> Option<&[u8]> {
        self.znodes.get(path).map(|znode| &*znode.data)
    }

    pub(super) fn owner(&self, path: &str) -> Option<i64> {
        self.znodes.get(path).map(|znode| znode.owner).filter(|owner| *owner != 0)
    }

    fn znode(&self, path: &str) -> Result<&Znode, Error> {
        self.znodes.get(path).ok_or(Error::NoNode)
    }

    fn check(&self, path: &str, version: i32) -> Result<(), Error> {
        if self.znode(path)?.version == version { Ok(()) } else { Err(Error::BadVersion) }
    }

    fn read(&self, path: &str) -> Result<Answer, Error> {
        let znode = self.znode(path)?;
        let stat = Stat {
            czxid: znode.created,
            mzxid: znode.modified,
            pzxid: 0,
            ctime: 0,
            mtime: 0,
            version: znode.version,
            cversion: znode.children_created,
            aversion: 0,
            ephemeral_owner: znode.owner,
            data_length: i32::try_from(znode.data.len()).expect("znodes are small"),
            num_children: i32::try_from(self.children(path).len()).expect("there are few children"),
        };
        Ok(Answer::Data(znode.data.clone(), stat))
    }

    fn create(&mut self, path: &str, data: &[u8], owner: i64) -> Result<(), Error> {
        let exists = self.znodes.contains_key(path);
        let above = self.znodes.get_mut(parent(path)).ok_or(Error::NoNode)?;
        if above.owner != 0 {
            return Err(Error::NoChildrenForEphemerals);
        }
        if exists {
            return Err(Error::NodeExists);
        }
        above.children_created += 1;
        self.zxid += 1;
        self.insert(path, data.to_vec(), owner);
        Ok(())
    }

    fn insert(&mut self, path: &str, data: Vec<u8>, owner: i64) {
        let (created, modified) = (self.zxid, self.zxid);
        let znode = Znode { data, version: 0, owner, created, modified, children_created: 0 };
        self.znodes.insert(path.to_owned(), znode);
    }

    fn delete(&mut self, path: &str, version: Option<i32>) -> Result<(), Error> {
        match version {
            Some(version) => self.check(path, version)?,
            None => drop(self.znode(path)?),
        }
        if !self.children(path).is_empty() {
            return Err(Error::NotEmpty);
        }
        self.zxid += 1;
        self.znodes.remove(path);
        self.changed.push(path.to_owned());
        Ok(())
    }

    fn replace(&mut self, path: &str, data: &[u8], version: i32) -> Result<(), Error> {
        self.check(path, version)?;
        self.zxid += 1;
        let znode = self.znodes.get_mut(path).expect("its version was checked");
        znode.data = data.to_vec();
        znode.version += 1;
        znode.modified = self.zxid;
        self.changed.push(path.to_owned());
        Ok(())
    }
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}
