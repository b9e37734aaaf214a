//! Helper containers: they enter the network or the process namespace of a container of the stack and need no tool in it.

use std::time::{Duration, Instant};

use super::Mark;
use super::docker::{FAULT_AT_LABEL, FAULT_LABEL, FAULT_PROJECT_LABEL, docker};
use crate::fault::error::FaultError;
use crate::local::run;

/// The image with the tools.
const IMAGE: &str = "quorapay-faults";

/// What every packet filter of a fault is marked with, before the fault itself.
const FILTER_PREFIX: &str = "quorapay-fault";

/// How long strace may take to attach to a process.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Follows a node's process: the one that runs `quorapay node`, whatever else runs in its container.
const ATTACH: &str = r#"for process in /proc/[0-9]*; do
    if tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -q '^[^ ]*quorapay node '; then
        exec strace -f -o /dev/null -p "${process#/proc/}" -e "trace=$1" -e "inject=$1:$2"
    fi
done
echo 'no node runs in this container'"#;

/// Deletes the filters whose comment begins with a text.
const REMOVE_FILTERS: &str = r#"iptables -w -S INPUT | sed -n "s/^-A \(.*--comment \"\{0,1\}$1.*\)/-D \1/p" | while read -r rule; do
    echo "$rule"
    eval iptables -w "$rule"
done"#;

impl Mark {
    /// The comment of its packet filters. Names of faults and ids of nodes have no character that a shell minds.
    fn comment(&self) -> String {
        format!("{FILTER_PREFIX}:{}:{}", self.name, self.at)
    }

    fn from_comment(comment: &str) -> Option<Self> {
        let mut parts = comment.split(':');
        (parts.next() == Some(FILTER_PREFIX)).then_some(())?;
        Some(Self { name: parts.next()?.to_owned(), at: parts.next()?.to_owned() })
    }
}

/// Refuses to begin what could not be finished.
pub(super) async fn require_image() -> Result<(), FaultError> {
    let missing = || {
        let make = format!("docker build --tag {IMAGE} runbooks/faults");
        FaultError::Impossible(format!("there is no image {IMAGE}, which this fault needs; make it: {make}"))
    };
    docker(["image", "inspect", "--format", "{{.Id}}", IMAGE]).await.map(drop).map_err(|_| missing())
}

/// Runs a command in the network of a container.
async fn in_network_of(container: &str, command: &[&str]) -> Result<String, FaultError> {
    let network = format!("container:{container}");
    let start =
        ["run", "--rm", "--network", &network, "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];
    docker(start.into_iter().chain([IMAGE]).chain(command.iter().copied())).await
}

/// Drops what comes from these addresses and matches.
pub(super) async fn add_filters(
    container: &str,
    sources: &[String],
    matching: &str,
    mark: &Mark,
) -> Result<(), FaultError> {
    let comment = mark.comment();
    let filter =
        |source: &String| format!("iptables -w -A INPUT -s {source} {matching} -m comment --comment {comment} -j DROP");
    let script = sources.iter().map(filter).collect::<Vec<_>>().join(" && ");
    in_network_of(container, &["sh", "-c", &script]).await.map(drop)
}

/// Removes the filters of one fault.
pub(super) async fn remove_filters(container: &str, mark: &Mark) -> Result<(), FaultError> {
    in_network_of(container, &["sh", "-c", REMOVE_FILTERS, "sh", &mark.comment()]).await.map(drop)
}

/// The faults whose filters are in a container, each once.
pub(super) async fn filters_in(container: &str) -> Result<Vec<Mark>, FaultError> {
    let rules = in_network_of(container, &["iptables", "-w", "-S", "INPUT"]).await?;
    let words = rules.split_whitespace().map(|word| word.trim_matches('"'));
    let mut marks: Vec<Mark> = words.filter_map(Mark::from_comment).collect();
    marks.dedup();
    Ok(marks)
}

/// Tampers with system calls of a node, in a container of its own. Returns its name once it has begun.
pub(super) async fn tamper(
    container: &str,
    calls: &str,
    how: &str,
    project: &str,
    mark: &Mark,
) -> Result<String, FaultError> {
    let name = format!("quorapay-fault-{}-{}", mark.name, container);
    let labels = [format!("{FAULT_LABEL}={}", mark.name), format!("{FAULT_AT_LABEL}={}", mark.at)];
    let (project, pid) = (format!("{FAULT_PROJECT_LABEL}={project}"), format!("container:{container}"));
    // One that ended by itself, because its node did.
    remove(&name).await?;
    let start = ["run", "--detach", "--name", &name, "--label", &labels[0], "--label", &labels[1], "--label", &project];
    let rights = ["--pid", &pid, "--network", "none", "--cap-drop", "ALL", "--cap-add", "SYS_PTRACE"];
    let rights = rights.into_iter().chain(["--cap-add", "DAC_READ_SEARCH", IMAGE]);
    docker(start.into_iter().chain(rights).chain(["sh", "-c", ATTACH, "sh", calls, how])).await?;
    let deadline = Instant::now() + ATTACH_TIMEOUT;
    loop {
        let (said, runs) = said_by(&name).await?;
        if has_attached(&said) {
            return Ok(name);
        }
        if !runs || Instant::now() >= deadline {
            remove(&name).await?;
            let said = said.lines().last().unwrap_or("nothing").to_owned();
            return Err(FaultError::Impossible(format!("strace does not attach to {container}: it says {said}")));
        }
        // What a container says has to be polled.
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Whether strace has told that it is attached to all threads. It may have ended since, because the node did: under load the next
/// call fails at once.
fn has_attached(said: &str) -> bool {
    said.lines().any(|line| line.starts_with("strace: Process ") && line.contains(" attached"))
}

/// What a container has written, and whether it runs.
async fn said_by(name: &str) -> Result<(String, bool), FaultError> {
    let runs = docker(["inspect", "--format", "{{.State.Running}}", name]).await?.trim() == "true";
    Ok((said_since(name, "0").await?, runs))
}

/// What a container has written since a moment, to either of its outputs, which `docker logs` keeps apart.
pub(super) async fn said_since(name: &str, since: &str) -> Result<String, FaultError> {
    let command = ["-c", "docker logs --since \"$2\" \"$1\" 2>&1", "sh", name, since];
    Ok(run("sh", command).await?)
}

/// Removes a container, whatever it does. It is no error if there is none.
pub(super) async fn remove(name: &str) -> Result<(), FaultError> {
    let found = docker(["ps", "--all", "--quiet", "--filter", &format!("name=^{name}$")]).await?;
    if found.trim().is_empty() {
        return Ok(());
    }
    docker(["rm", "--force", name]).await.map(drop)
}

/// Deletes everything in these folders of a container that does not run.
pub(super) async fn wipe(container: String, folders: &[&str]) -> Result<(), FaultError> {
    let start = ["run", "--rm", "--volumes-from", &container, "--user", "0", IMAGE, "find"];
    docker(start.into_iter().chain(folders.iter().copied()).chain(["-mindepth", "1", "-delete"])).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_made_once_strace_is_attached_though_the_node_may_have_ended_for_it() {
        assert!(has_attached("strace: Process 6 attached with 20 threads\nstrace: Process 41 attached"));
        assert!(!has_attached("strace: attach: ptrace(PTRACE_SEIZE, 6): Operation not permitted"));
        assert!(!has_attached("no node runs in this container"));
    }

    #[test]
    fn a_fault_is_known_by_the_comment_of_its_filters() {
        let mark = Mark { name: "partition".to_owned(), at: "node1".to_owned() };
        assert_eq!(Mark::from_comment(&mark.comment()), Some(mark));
        assert_eq!(Mark::from_comment("docker:partition:node1"), None);
    }
}
