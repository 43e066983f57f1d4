//! A running script of `tests/kafka`: lines it prints, commands it takes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longer than the scripts themselves wait for what they start.
const PATIENCE: Duration = Duration::from_secs(120);

/// The script of that name, yet to be run.
pub(super) fn command(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka").join(name))
}

#[derive(Debug)]
pub(super) struct Script(Mutex<Running>);

#[derive(Debug)]
struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What the script has said of itself: the latest line of each first word.
    said: Vec<(String, String)>,
}

impl Script {
    /// Starts the script and waits until what it runs answers.
    #[track_caller]
    pub(super) fn start(name: &str, args: &[&str]) -> Self {
        let mut command = command(name);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("tests/kafka/{name} does not run: {error}"));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut running = Running { name: name.to_owned(), child, stdin, lines, said: Vec::new() };
        running.await_word("ready");
        Self(Mutex::new(running))
    }

    /// Gives the script a command and waits for the line that says that it is done.
    #[track_caller]
    pub(super) fn obey(&self, command: &str, answer: &str) {
        // A test that fails while it holds the lock has said why; the script itself is as good as before.
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = running.stdin.as_mut().map(|stdin| writeln!(stdin, "{command}"));
        assert!(matches!(written, Some(Ok(()))), "tests/kafka/{} has ended before '{command}'", running.name);
        running.await_word(answer);
    }

    /// The rest of the latest line that began with this word.
    #[track_caller]
    pub(super) fn said(&self, word: &str) -> String {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = running.said.iter().find(|(known, _)| known == word);
        said.map(|(_, rest)| rest.clone()).unwrap_or_else(|| panic!("tests/kafka/{} never said {word}", running.name))
    }
}

impl Running {
    #[track_caller]
    fn await_word(&mut self, awaited: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => panic!("tests/kafka/{} does not say '{awaited}'", self.name),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("tests/kafka/{} ended instead of saying '{awaited}'", self.name)
                }
            };
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            self.said.retain(|(known, _)| known != word);
            self.said.push((word.to_owned(), rest.to_owned()));
            if word == awaited {
                return;
            }
        }
    }
}

impl Drop for Running {
    /// The end of its input ends the script; waits until it has cleaned up.
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
