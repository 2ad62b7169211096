//! `chatctl verify`: safety numbers.

use proto::rpc::methods::ContactVerify;
use proto::rpc::types::{Trust, VerifyParams, VerifyResult};

use crate::failure::{Exit, Failure};
use crate::output::{Out, note};
use crate::session::Session;
use crate::{show, terminal};

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// The sixty digits that the other side sees; spaces do not matter
    #[arg(value_name = "SAFETY-NUMBER")]
    safety_number: Vec<String>,
    /// Take a changed key without comparing
    #[arg(long, conflicts_with = "safety_number")]
    accept_unverified: bool,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let given = args.safety_number.join(" ");
    let params = VerifyParams {
        account: session.account(),
        who: args.who,
        safety_number: (!given.is_empty()).then_some(given),
        accept_unverified: args.accept_unverified,
    };
    let result = session.call::<ContactVerify>(&params).await?;
    let only_shown = params.safety_number.is_none() && !params.accept_unverified;
    session.out.either(&result, |out, result| print(out, result, only_shown))?;
    Ok(Exit::Ok)
}

fn print(out: &mut Out, result: &VerifyResult, only_shown: bool) -> Result<(), Failure> {
    let contact = &result.contact;
    let who = &contact.address;
    if only_shown {
        out.line(&terminal::line(&result.safety_number))?;
    }
    note(&match (contact.trust, only_shown) {
        (Trust::Verified, false) => format!("{who} is verified"),
        (trust, false) => format!("the key of {who} is accepted ({})", show::trust(trust)),
        (Trust::Verified, true) => format!("{who} is verified"),
        (Trust::Changed, true) => format!(
            "THE KEY OF {who} CHANGED and nothing is sent to it. Compare the number above with {who}, in person or by \
             phone, then: chatctl verify {} NUMBER",
            show::argument(&contact.address)
        ),
        (trust, true) => format!(
            "{who} is {}. {who} sees the same number; if it is the same, in person or by phone: chatctl verify {} NUMBER",
            show::trust(trust),
            show::argument(&contact.address)
        ),
    });
    Ok(())
}
