//! A runbook as a document: its command blocks, and whether an output is what it shows. It knows no shell.

/// Commands with the output that the document shows for them, if it shows any.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The heading above them.
    pub(super) section: String,
    pub(super) commands: String,
    pub(super) shown: Option<String>,
}

/// The command blocks of a document.
pub(super) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut section = "";
    let mut lines = document.lines();
    let mut follows_commands = false;
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            follows_commands &= line.is_empty();
            section = line.strip_prefix("## ").unwrap_or(section);
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = text.join("\n");
        match (language, blocks.last_mut()) {
            ("sh", _) => blocks.push(Block { section: section.to_owned(), commands: text, shown: None }),
            ("", Some(last)) if follows_commands => last.shown = Some(text),
            _ => {}
        }
        follows_commands = language == "sh";
    }
    blocks
}

/// Letters between hyphens that are taken for a part of a UUID though no digit is among them.
const HEX_PART: usize = 4;

/// A line without what may differ: numbers, ids, paths, the name of the cluster, widths of columns, who leads. An exit code
/// stays, and in the line of a metric zero only equals zero, because it means something else than any other number.
fn pattern(line: &str) -> String {
    if line.starts_with("exit code ") {
        return line.to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let is_of_cluster = words.last().is_some_and(|before| before == "cluster") && word.starts_with('"');
        words.push(match word {
            _ if is_of_cluster => word.replace(|c: char| c != '"' && c != ',' && c != ':' && c != ';', ""),
            path if path.starts_with('/') => format!("/{}", &path[path.trim_end_matches([':', ',']).len()..]),
            word => hidden_numbers(word).replace("leader", "role").replace("follower", "role"),
        });
    }
    if line.starts_with("quorapay_") && line.ends_with(" 0") {
        words.push("zero".to_owned());
    }
    words.join(" ")
}

/// A word with `#` in the place of each number, also of a hexadecimal one.
fn hidden_numbers(word: &str) -> String {
    let parts = word.split('-').map(|part| {
        let is_hex = part.len() >= HEX_PART && part.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        if is_hex { "#".to_owned() } else { hidden_digits(part) }
    });
    let mut hidden = parts.collect::<Vec<_>>().join("-");
    for joined in ["#-#", "#.#"] {
        while hidden.contains(joined) {
            hidden = hidden.replace(joined, "#");
        }
    }
    hidden
}

/// A text with `#` in the place of each run of digits and letters from a to f that has a digit.
fn hidden_digits(text: &str) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut hidden = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = rest.find(|c: char| !is_hex(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let has_digit = rest[..run].contains(|c: char| c.is_ascii_digit());
        hidden.push_str(if has_digit { "#" } else { &rest[..run] });
        rest = &rest[run..];
    }
    hidden
}

/// Whether an output is what a document shows. A line `...` of the document stands for any lines.
pub(super) fn matches(shown: &[&str], output: &[&str]) -> bool {
    match shown.split_first() {
        None => output.is_empty(),
        Some((&"...", after)) => (0..=output.len()).any(|skipped| matches(after, &output[skipped..])),
        Some((first, after)) => {
            output.split_first().is_some_and(|(line, rest)| pattern(first) == pattern(line) && matches(after, rest))
        }
    }
}

#[test]
fn an_output_belongs_to_the_commands_right_above_it_and_these_to_the_heading_above_them() {
    let text = "```sh\na\n```\n```\nA\n```\n## Part\ntext\n```\nno output\n```\n```sh\nb\n```\n```json\n{}\n```\n";
    let block = |section: &str, commands: &str, shown: Option<&str>| Block {
        section: section.to_owned(),
        commands: commands.to_owned(),
        shown: shown.map(str::to_owned),
    };
    assert_eq!(blocks(text), [block("", "a", Some("A")), block("Part", "b", None)]);
}

#[test]
fn numbers_and_leaders_may_differ_but_a_metric_of_zero_and_an_exit_code_may_not() {
    assert!(matches(&["...", "end of 5"], &["x", "y", "end of 6"]));
    assert!(!matches(&["...", "end"], &["x", "end", "more"]));
    for (shown, printed, same) in [
        ("id 01a22de4-bd28-7001", "id 01a22de4-beef-7001", true),
        ("node1  leader   7", "node3 follower 12", true),
        ("leader node1", "leader none", false),
        ("cluster \"shop\", added", "cluster \"it-1\", added", true),
        ("wrote /data, up to 7", "wrote /tmp/x/node1, up to 8", true),
        ("quorapay_lag 5", "quorapay_lag 7.25", true),
        ("quorapay_connected 1", "quorapay_connected 0", false),
        ("exit code 1", "exit code 4", false),
    ] {
        assert_eq!(matches(&[shown], &[printed]), same, "{shown}, {printed}");
    }
}
