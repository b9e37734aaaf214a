//! What a person types in a session of `quorapay dev`: one line, one command.

use std::time::Duration;

use clap::{Args, Command, FromArgMatches};

use crate::cli::duration::parse_duration;
use crate::cli::fault::FaultArguments;
use quorapay_lab::fault::{FaultName, FaultRequest, HealRequest};

/// The keys, for the announcement and for `--help`.
pub(super) const HELP: &str = "\
Keys, each followed by Enter; N is a node's number, and without it the leader is meant:
  p       pay once                          s       stress with payments for 5 s; s 30s for longer
  k N     kill a node (kill -9)             z N     pause it (SIGSTOP)
  c N     cut it off from the others and from ZooKeeper
  f ...   any fault, with the options of quorapay fault: f delay --node node2 --by 80ms
  h       heal everything and start what died; h N only at one node
  t       the live table, until Enter       l       the live logs, on and off
  q       quit";

/// How long the key `s` pays.
const STRESS: Duration = Duration::from_secs(5);

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Nothing,
    Pay,
    Stress(Duration),
    Break(FaultRequest),
    Heal(HealRequest),
    Table,
    Logs,
    Quit,
}

impl Key {
    /// Reads a line.
    ///
    /// # Errors
    /// A line that says what can be typed instead.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let (key, rest) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
        let words: Vec<&str> = rest.split_whitespace().collect();
        let fault = |name| Ok(Self::Break(FaultRequest::new(name, one_node(&words)?)));
        match key {
            "" => Ok(Self::Nothing),
            "p" => none(&words, Self::Pay),
            "s" => match words[..] {
                [] => Ok(Self::Stress(STRESS)),
                [time] => parse_duration(time).map(Self::Stress),
                _ => Err("s takes a time, such as s 30s".to_owned()),
            },
            "k" => fault(FaultName::Kill),
            "z" => fault(FaultName::Pause),
            "c" => fault(FaultName::Partition),
            "f" => parse_fault(&words).map(Self::Break),
            "h" => Ok(Self::Heal(HealRequest { name: None, node: one_node(&words)? })),
            "t" => none(&words, Self::Table),
            "l" => none(&words, Self::Logs),
            "q" => none(&words, Self::Quit),
            _ => Err(format!("there is no key {key}\n{HELP}")),
        }
    }
}

fn none(words: &[&str], key: Key) -> Result<Key, String> {
    if words.is_empty() { Ok(key) } else { Err(format!("nothing follows this key; {:?} does", words.join(" "))) }
}

/// A node by its number or its name.
fn one_node(words: &[&str]) -> Result<Option<String>, String> {
    match words {
        [] => Ok(None),
        [number] if number.chars().all(|c| c.is_ascii_digit()) => Ok(Some(format!("node{number}"))),
        [name] => Ok(Some((*name).to_owned())),
        _ => Err("one node is named, by its number".to_owned()),
    }
}

fn parse_fault(words: &[&str]) -> Result<FaultRequest, String> {
    let command = FaultArguments::augment_args(Command::new("f").no_binary_name(true).disable_help_flag(true));
    let matches = command.try_get_matches_from(words).map_err(|error| first_line(&error))?;
    let arguments = FaultArguments::from_arg_matches(&matches).map_err(|error| first_line(&error))?;
    Ok(arguments.request())
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_followed_by_a_node_or_by_nothing() {
        let kill = |node: Option<&str>| Ok(Key::Break(FaultRequest::new(FaultName::Kill, node.map(str::to_owned))));
        assert_eq!(Key::parse("k"), kill(None));
        assert_eq!(Key::parse("k 2"), kill(Some("node2")));
        assert_eq!(Key::parse(" k2 "), kill(Some("node2")));
        assert_eq!(Key::parse("k follower"), kill(Some("follower")));
        assert_eq!(Key::parse("h"), Ok(Key::Heal(HealRequest::default())));
        assert_eq!(Key::parse("s 30s"), Ok(Key::Stress(Duration::from_secs(30))));
        assert_eq!(Key::parse(""), Ok(Key::Nothing));
        assert!(Key::parse("x").is_err_and(|why| why.contains("there is no key x")));
        assert!(Key::parse("k 1 2").is_err());
        assert!(Key::parse("q now").is_err());
    }

    #[test]
    fn any_fault_can_be_typed_with_its_options() {
        let partition = Key::parse("f partition --node node1 --from zookeeper --one-way in");
        assert!(matches!(partition, Ok(Key::Break(FaultRequest { name: FaultName::Partition, .. }))), "{partition:?}");
        assert!(Key::parse("f love").is_err_and(|why| why.contains("love")));
        assert!(Key::parse("f").is_err());
    }
}
