//! Results, where they are wanted.

use std::io::{ErrorKind, Write as _};

use aftercast_sim::outcome::Report;
use anyhow::Context as _;

use crate::{How, Trouble};

/// Prints a result, and writes all its forms where that is asked for.
pub fn all(report: &Report, how: &How) -> Result<(), Trouble> {
    let json = serde_json::to_string_pretty(report).context("cannot write the result as JSON")? + "\n";
    if let Some(folder) = &how.out {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let forms = [("report.html", report.page()), ("report.csv", report.csv()), ("report.txt", report.to_string())];
        for (name, content) in forms.iter().map(|(name, content)| (*name, content)).chain([("report.json", &json)]) {
            let path = folder.join(name);
            std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    print(&if how.json { json } else { report.to_string() })
}

/// Prints text; a reader who has seen enough is no failure.
pub fn print(text: &str) -> Result<(), Trouble> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot print").into())
        }
        _ => Ok(()),
    }
}
