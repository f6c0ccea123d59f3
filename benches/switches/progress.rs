//! What is being measured right now, on standard error: one line that changes if that is a terminal,
//! else a line for each scenario.

use std::cell::RefCell;
use std::io::{IsTerminal, stderr};

/// Tells how far the run is.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    scenarios: usize,
    /// The scenario that runs, with its number.
    current: RefCell<String>,
    /// What the changing line shows.
    line: RefCell<String>,
}

impl Progress {
    /// Of a run of so many scenarios.
    pub fn new(scenarios: usize) -> Self {
        let terminal = stderr().is_terminal();
        Progress { terminal, scenarios, current: RefCell::default(), line: RefCell::default() }
    }

    /// The scenario numbered `number`, from 1 on, begins.
    pub fn begin(&self, number: usize, name: &str) {
        let current = format!("[{number}/{}] {name}", self.scenarios);
        if self.terminal {
            self.show(&current);
        } else {
            eprintln!("{current}");
        }
        *self.current.borrow_mut() = current;
    }

    /// A round of it begins.
    pub fn round(&self, queue_length: u32, round: usize, of: u32) {
        if self.terminal {
            let current = self.current.borrow();
            self.show(&format!("{current}, qlen {queue_length}, round {round} of {of}"));
        }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        if self.terminal {
            eprintln!("{TO_START}{text}");
            eprint!("{}", self.line.borrow());
        } else {
            eprintln!("{text}");
        }
    }

    /// Takes the changing line away, before something else is written to the same terminal.
    pub fn clear(&self) {
        if self.terminal {
            eprint!("{TO_START}");
            self.line.borrow_mut().clear();
        }
    }

    fn show(&self, text: &str) {
        let text: String = text.chars().take(WIDTH).collect();
        eprint!("{TO_START}{text}");
        *self.line.borrow_mut() = text;
    }
}

/// A line that wraps could not be taken back.
const WIDTH: usize = 79;

/// To the line's start, and away with what is there.
const TO_START: &str = "\r\x1b[K";
