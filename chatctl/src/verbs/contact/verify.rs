//! `chatctl verify`: safety numbers.

use proto::rpc::methods::ContactVerify;
use proto::rpc::types::{Trust, VerifyParams, VerifyResult};

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::words;
use crate::term::output::{Out, OutputError};

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

/// Digits of a safety number.
const DIGITS: usize = 60;

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = VerifyParams {
        account: session.account(),
        safety_number: digits(&args.safety_number)?,
        who: args.who,
        accept_unverified: args.accept_unverified,
    };
    let result = session.call::<ContactVerify>(&params).await?;
    let only_shown = params.safety_number.is_none() && !params.accept_unverified;
    if session.out.json {
        session.out.object(&result)?;
    } else {
        print(&mut session.out, &result, &result.contact.who, only_shown)?;
    }
    Ok(Exit::Ok)
}

/// The number as one word, however it was pasted. One with digits lost is a slip; only a whole one can tell of another
/// key.
fn digits(given: &[String]) -> Result<Option<String>, Failure> {
    if given.is_empty() {
        return Ok(None);
    }
    let number: String = given.iter().flat_map(|part| part.chars()).filter(|c| !c.is_whitespace()).collect();
    if number.len() == DIGITS && number.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Some(number));
    }
    let has = match number.chars().find(|c| !c.is_ascii_digit()) {
        Some(other) => format!("this has {other:?}"),
        None => format!("this has {}", number.len()),
    };
    Err(Failure::Usage(format!("a safety number has sixty digits, and {has}; nothing was compared")))
}

fn print(out: &mut Out, result: &VerifyResult, who: &str, only_shown: bool) -> Result<(), OutputError> {
    if only_shown {
        out.line(result.safety_number.as_str())?;
    }
    let command = format!("chatctl verify {} NUMBER", words::argument(who));
    out.note(&match (result.contact.trust, only_shown) {
        (Trust::Verified, _) => format!("{who} is verified"),
        (trust, false) => format!("the key of {who} is accepted ({})", words::trust(trust)),
        (Trust::Changed, true) => format!(
            "THE KEY OF {who} CHANGED and nothing is sent to it. Compare the number above with {who}, in person or by \
             phone, then: {command}"
        ),
        (Trust::Rotated, true) => format!(
            "{who} was verified and has a new key since. Ask {who} again, in person or by phone, for the number seen \
             there; then: {command}"
        ),
        (Trust::Unverified, true) => {
            format!("{who} is unverified. Ask {who}, in person or by phone, for the number seen there; then: {command}")
        }
    })?;
    out.note(&match &result.contact.encryption {
        Some(how) => format!("what goes to {who} is sealed with {}", words::encryption(how)),
        None => format!("nothing can be sealed to {who}: no encryption that both sides take is offered"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_taken_however_it_was_pasted() {
        let whole = "12345".repeat(12);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(digits(&[]).unwrap(), None);
        for pasted in [whole.clone(), "12345 ".repeat(12), "12345\n".repeat(12), "12345\r\n\t".repeat(12)] {
            assert_eq!(digits(&words(&pasted)).unwrap().as_ref(), Some(&whole), "{pasted:?}");
        }
        for (slip, says) in
            [("12345", "this has 5"), ("", "this has 0"), (&whole[1..], "this has 59"), ("12345x", "this has 'x'")]
        {
            let failure = digits(&words(slip)).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.to_string().contains("sixty digits") && failure.to_string().contains(says), "{failure}");
        }
    }
}
