//! `chatctl settings`: shows them, or changes some.

use clap::ValueEnum;
use proto::rpc::methods::AccountSettings;
use proto::rpc::types::SettingsParams;
use proto::time::parse_duration;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whether contacts are told what you have read
    #[arg(long, value_enum, value_name = "ON/OFF")]
    read_receipts: Option<Switch>,
    /// How long messages of yours live that cannot be delivered, such as 7d, or never to let them wait
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    lifetime: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Seconds; 0 for `never`.
pub fn lifetime(text: &str) -> Result<u64, String> {
    if text == "never" {
        return Ok(0);
    }
    parse_duration(text).map(|time| time.as_secs()).map_err(|error| format!("{error}, or never"))
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let read_receipts = args.read_receipts.map(|switch| switch == Switch::On);
    let params = SettingsParams { account: session.account(), read_receipts, lifetime: args.lifetime };
    let settings = session.call::<AccountSettings>(&params).await?;
    session.out.either(&settings, |out, settings| out.show(&show::account::settings(settings)))?;
    Ok(Exit::Ok)
}
