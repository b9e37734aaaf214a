//! Files that fit, files that do not, and files that change.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use tempfile::TempDir;

use super::samples::{Authority, Issued, write};
use super::{Keeper, Purpose, node_name};
use quorapay_core::replication::NodeId;

const NAME: &str = "node1.shop.quorapay";

fn peers() -> Purpose {
    Purpose::Peers { own_name: NAME.to_owned() }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn why_not(own: &Issued, authorities: Option<&str>, purpose: Purpose) -> String {
    let folder = folder();
    let files = write(folder.path(), own, authorities);
    Keeper::open("peers", files, purpose).err().expect("it is refused").to_string()
}

#[test]
fn a_node_is_named_in_its_certificate_together_with_its_cluster() {
    let node = NodeId::parse("Node_1").expect("an id");
    assert_eq!(node_name(&node, "shop"), "Node_1.shop.quorapay");
    let (authority, name) = (Authority::new("ca"), "Node_1.shop.quorapay");
    let folder = folder();
    let files = write(folder.path(), &authority.issue(&[name]), Some(&authority.pem()));
    let purpose = Purpose::Peers { own_name: name.to_owned() };
    assert!(Keeper::open("peers", files, purpose).is_ok(), "ids may have capitals and underscores");
}

#[test]
fn files_that_do_not_fit_are_refused_by_name() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let (good, pem) = (authority.issue(&[NAME]), authority.pem());
    let refused = |own: &Issued| why_not(own, Some(&pem), peers());
    let with = |certificate: &str, key: &str| Issued { certificate: certificate.to_owned(), key: key.to_owned() };

    assert!(refused(&with("no PEM", &good.key)).contains("certificate.pem cannot be used: it contains no certificate"));
    assert!(refused(&with(&good.certificate, "no PEM")).contains("key.pem cannot be used: it contains no private key"));
    let foreign_key = refused(&with(&good.certificate, &other.issue(&[NAME]).key));
    assert!(foreign_key.contains("it does not fit"), "{foreign_key}");
    let expired = refused(&authority.issue_expired(&[NAME]));
    assert!(expired.ends_with("it has expired"), "{expired}");
    let wrong_name = refused(&authority.issue(&["node2.shop.quorapay"]));
    assert!(wrong_name.contains("node2.shop.quorapay") && wrong_name.contains(NAME), "{wrong_name}");
    let wildcard = refused(&authority.issue(&["*.shop.quorapay"]));
    assert!(wildcard.contains("it is not this node's"), "{wildcard}");
    let unknown = refused(&other.issue(&[NAME]));
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    assert!(why_not(&good, Some("nothing"), peers()).contains("ca.pem cannot be used: it contains no certificate"));
    assert!(why_not(&authority.issue_expired(&["a"]), None, Purpose::Clients).ends_with("it has expired"));
}

#[test]
fn changed_files_are_used_and_broken_ones_change_nothing() {
    let (old, new, folder) = (Authority::new("old"), Authority::new("new"), folder());
    let files = write(folder.path(), &old.issue(&[NAME]), Some(&old.pem()));
    let mut keeper = Keeper::open("peers", files.clone(), peers()).expect("they fit");
    let sealing = keeper.sealing();
    let first = sealing.server();
    keeper.look();
    assert_eq!((sealing.reloads(), std::sync::Arc::ptr_eq(&first, &sealing.server())), ((0, 0), true));

    // Its authority is not known yet: the order of a rotation is checked.
    write(folder.path(), &new.issue(&[NAME]), Some(&old.pem()));
    keeper.look();
    keeper.look();
    assert_eq!(sealing.reloads(), (0, 1), "one state of the files counts once");
    assert!(std::sync::Arc::ptr_eq(&first, &sealing.server()), "the one from before is in use");

    // Two authorities in one file.
    write(folder.path(), &new.issue(&[NAME]), Some(&(old.pem() + &new.pem())));
    keeper.look();
    assert_eq!(sealing.reloads(), (1, 1));
    assert!(!std::sync::Arc::ptr_eq(&first, &sealing.server()));

    fs::remove_file(&files.key).expect("removed");
    keeper.look();
    keeper.look();
    assert_eq!(sealing.reloads(), (1, 2), "a missing file is reported once");
}

#[test]
fn a_certificate_that_was_not_valid_yet_is_taken_when_it_is() {
    let (authority, folder) = (Authority::new("ca"), folder());
    let pem = authority.pem();
    let files = write(folder.path(), &authority.issue(&[NAME]), Some(&pem));
    let mut keeper = Keeper::open("peers", files, peers()).expect("they fit");
    // As after a clock that is behind: the files do not change any more.
    let now = UnixTime::now().as_secs();
    write(folder.path(), &authority.issue_between(&[NAME], now + 2, now + 3_600), Some(&pem));
    keeper.look();
    keeper.look();
    let sealing = keeper.sealing();
    assert_eq!(sealing.reloads(), (0, 1), "it is refused, and counted once");
    let by = Instant::now() + Duration::from_secs(20);
    while sealing.reloads() != (1, 1) {
        assert!(Instant::now() < by, "it is in use: {:?}", sealing.reloads());
        sleep(Duration::from_millis(50));
        keeper.look();
    }
}
