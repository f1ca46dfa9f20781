//! `aftercast id` and `aftercast join`: who this device is, and whose.

use std::process::ExitCode;
use std::time::Duration;

use aftercast_net::{Net, NetConfig, NetEvent};
use aftercast_protocol::grant::JoinCode;
use aftercast_protocol::wire::ctl::{CTL_VERSION, CtlMsg, Hello, ReqId, Role};
use anyhow::{Context as _, bail};

use super::{ConfigArg, EXIT_USAGE, runtime};
use crate::config::Config;
use crate::identity::{self, Enrolment};

/// Longest wait for the seed's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Enrol this device with the code that the broadcaster gave.
#[derive(Debug, clap::Args)]
pub struct JoinArgs {
    /// The code: one word that begins with aftercast-join-
    code: String,
    #[command(flatten)]
    config: ConfigArg,
}

/// Prints the device's id, making its key where there is none.
pub fn id(config: &ConfigArg) -> anyhow::Result<ExitCode> {
    let config = config.load()?;
    println!("{}", identity::device_key(&config.data_dir)?.device());
    Ok(ExitCode::SUCCESS)
}

/// Redeems a code.
pub fn join(args: &JoinArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let code: JoinCode = match args.code.parse() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let enrolment = runtime()?.block_on(redeem(&config, &code))?;
    identity::save_enrolment(&config.data_dir, &enrolment)?;
    if let Some(subscriber) = enrolment.subscriber() {
        println!("enrolled as a device of {subscriber}; start it with: aftercast run");
    }
    Ok(ExitCode::SUCCESS)
}

async fn redeem(config: &Config, code: &JoinCode) -> anyhow::Result<Enrolment> {
    let key = identity::device_key(&config.data_dir)?;
    let device = key.device();
    let addrs: Vec<_> = code.addrs.iter().filter_map(|addr| addr.parse().ok()).collect();
    let (net, mut events) = Net::start(NetConfig::new(key)).await?;
    net.dial(code.seed, addrs.clone()).await.context("the seed is not reached; is this device online?")?;
    let hello = Hello {
        version: CTL_VERSION,
        role: Role::Node,
        certificate: None,
        capability: None,
        grants: Vec::new(),
        addrs: Vec::new(),
        agent: concat!("aftercast/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let ask = CtlMsg::Enrol { req: ReqId(1), code: code.code.clone() };
    for msg in [CtlMsg::Hello(hello), ask] {
        net.send(code.seed, msg.to_frame()?).await?;
    }
    let answer = async {
        while let Some(event) = events.recv().await {
            match event {
                NetEvent::Ctl { from, frame } if from == code.seed => match CtlMsg::from_frame(&frame) {
                    Ok(CtlMsg::Enrolled { certificate, .. }) => return Ok(certificate),
                    Ok(CtlMsg::Refused { req: ReqId(1), reason }) => bail!("the seed refuses: {reason}"),
                    _ => {}
                },
                NetEvent::Disconnected(gone) if gone == code.seed => bail!("the seed closed the connection"),
                _ => {}
            }
        }
        bail!("the network ended")
    };
    let certificate =
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.context("the seed did not answer in time")??;
    let certificate = certificate.verify(&code.seed).context("the seed's certificate")?;
    if certificate.device != device {
        bail!("the seed's certificate is for another device");
    }
    Ok(Enrolment { seed: code.seed, addrs, certificate: Some(certificate) })
}
