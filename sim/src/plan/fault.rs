//! What is wrong with a scenario: where, what, and what to write instead.

use std::fmt;

/// One fault. Its author can mend it; nothing else can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The scenario's file; empty for a value that came from elsewhere, such as a command line.
    pub file: String,
    /// Line in the file, from 1; none where the fault is in no line of it.
    pub line: Option<usize>,
    /// The field or section at fault; empty where it is the file.
    pub path: String,
    /// What is wrong, as the end of a sentence that begins with the path.
    pub what: String,
    /// What to write instead.
    pub write: String,
}

impl Fault {
    pub(super) fn new(path: &str, what: impl Into<String>, write: impl Into<String>) -> Self {
        Self { file: String::new(), line: None, path: path.to_owned(), what: what.into(), write: write.into() }
    }

    pub(super) fn at(mut self, line: Option<usize>) -> Self {
        self.line = line;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => {}
            (file, None) => write!(f, "{file}: ")?,
            (file, Some(line)) => write!(f, "{file}:{line}: ")?,
        }
        if !self.path.is_empty() {
            write!(f, "{} ", self.path)?;
        }
        write!(f, "{}; {}", self.what, self.write)
    }
}

impl std::error::Error for Fault {}

/// All that is wrong with a scenario, in the order of its lines. Shown one fault a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFaults(pub Vec<Fault>);

impl fmt::Display for PlanFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanFaults {}
