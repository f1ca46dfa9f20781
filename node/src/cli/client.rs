//! The command line's side of the daemon's HTTP interface.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::Value;

use super::ConfigArg;
use crate::daemon::Ready;

/// Longest wait for an answer: the daemon itself waits for its seed this long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which daemon.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DaemonArg {
    /// Address of the daemon's HTTP interface (default: that of the configuration's data folder)
    #[arg(long, value_name = "URL", global = true)]
    http: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
}

/// A daemon to talk to.
pub(crate) struct Daemon {
    base: String,
    agent: ureq::Agent,
}

impl Daemon {
    /// Finds the daemon: where it was said, or where it said it is when it started.
    pub fn find(arg: &DaemonArg) -> anyhow::Result<Self> {
        let base = match &arg.http {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let config = arg.config.load()?;
                Ready::read(&config.data_dir).map_or_else(|| format!("http://{}", config.http), |ready| ready.http)
            }
        };
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        Ok(Self { base, agent: ureq::Agent::new_with_config(config) })
    }

    /// Its address.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.answer(self.agent.get(self.url(path)).call())
    }

    pub fn post(&self, path: &str, body: impl Serialize) -> anyhow::Result<Value> {
        let body = serde_json::to_vec(&body)?;
        self.answer(self.agent.post(self.url(path)).content_type("application/json").send(body))
    }

    pub fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.answer(self.agent.delete(self.url(path)).call())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn answer(&self, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
        let mut response =
            sent.with_context(|| format!("no daemon answers at {}; start it with: aftercast run", self.base))?;
        let text = response.body_mut().read_to_string().context("the daemon's answer broke off")?;
        let value: Value =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::Null) };
        if !response.status().is_success() {
            bail!("{}", value["error"].as_str().unwrap_or(response.status().as_str()));
        }
        Ok(value)
    }
}
