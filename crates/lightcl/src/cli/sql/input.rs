//! Lines of standard input and interrupts, to be waited for together.

use lightcl_core::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, BufRead};
use std::thread;
use tokio::sync::mpsc;

/// Lines that may wait to be run.
const MOST_LINES: usize = 64;

/// Reads standard input on a thread of its own, since a read cannot be given up.
pub(super) fn lines() -> mpsc::Receiver<Result<String>> {
    let (out, lines) = mpsc::channel(MOST_LINES);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|error| Error::external("cannot read standard input").caused_by(error));
            let is_last = line.is_err();
            if out.blocking_send(line).is_err() || is_last {
                break;
            }
        }
    });
    lines
}

/// Who asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Ctrl-C: stop what is going on.
    Statement,
    /// SIGTERM: stop altogether.
    Program,
}

/// Signals that from now on do not end the process by themselves.
pub(super) struct Interrupts(mpsc::UnboundedReceiver<Interrupt>);

impl Interrupts {
    pub fn new() -> Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])
            .map_err(|error| Error::external("cannot wait for signals").caused_by(error))?;
        let (out, interrupts) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for signal in signals.forever() {
                let interrupt = if signal == SIGINT { Interrupt::Statement } else { Interrupt::Program };
                if out.send(interrupt).is_err() {
                    break;
                }
            }
        });
        Ok(Interrupts(interrupts))
    }

    pub async fn next(&mut self) -> Interrupt {
        // Were the thread gone, nobody could ask any more.
        match self.0.recv().await {
            Some(interrupt) => interrupt,
            None => std::future::pending().await,
        }
    }
}
