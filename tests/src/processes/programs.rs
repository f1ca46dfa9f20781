//! Where the programs under test are, and running them to their end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The programs under test.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `aftercast`.
    pub node: PathBuf,
    /// `aftercast-seed`.
    pub seed: PathBuf,
}

impl Programs {
    /// Finds them beside the program that runs (a test lies one folder deeper), or in `CARGO_TARGET_DIR`.
    ///
    /// # Errors
    /// They are not built; the message says how.
    pub fn find() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("where this program is")?;
        let named = std::env::var_os("CARGO_TARGET_DIR").map(|folder| Path::new(&folder).join("debug"));
        let beside = own.ancestors().skip(1).take(2).map(Path::to_owned);
        for folder in beside.chain(named) {
            let (node, seed) = (folder.join("aftercast"), folder.join("aftercast-seed"));
            if node.is_file() && seed.is_file() {
                return Ok(Self { node, seed });
            }
        }
        bail!(
            "`aftercast` and `aftercast-seed` are not built (looked beside {}); run: cargo build --workspace --bins",
            own.display()
        )
    }
}

/// Runs a program to its end and gives what it wrote on standard output.
///
/// # Errors
/// It cannot be started, or ended with an error; with its last words.
pub(super) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("{command:?} ended with {}: {}", output.status, last.join("; "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
