//! `chatctl profile show` and `chatctl profile set`.

use proto::rpc::methods::{ProfileSet, ProfileShow};
use proto::rpc::types::{ProfileSetParams, ProfileShowParams};

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show;
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show your profile, or a contact's
    Show {
        /// A contact: a name, name@domain or label
        who: Option<String>,
    },
    /// Change your profile; contacts are told
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        /// The name to show
        #[arg(long, value_name = "NAME", group = "what")]
        display_name: Option<String>,
        /// What you are up to
        #[arg(long, value_name = "TEXT", group = "what")]
        status: Option<String>,
        /// About you
        #[arg(long, value_name = "TEXT", group = "what")]
        bio: Option<String>,
    },
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let account = session.account();
    match args.action {
        Action::Show { who } => {
            let params = ProfileShowParams { account, who };
            let profile = session.call::<ProfileShow>(&params).await?;
            session.out.either(&profile, |out, profile| out.show(&show::account::profile(profile)))?;
        }
        Action::Set { display_name, status, bio } => {
            let params = ProfileSetParams { account, display_name, status, bio };
            let profile = session.call::<ProfileSet>(&params).await?;
            session.out.either(&profile, |_, _| {
                note("the profile is changed");
                Ok(())
            })?;
        }
    }
    Ok(Exit::Ok)
}
