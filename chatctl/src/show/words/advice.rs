//! What can be done about an error, as the end of its sentence: the daemon names the step, and here it becomes a command.

use proto::advice::{Advice, Step};

use super::argument;

/// What is wrong, and what can be done about it.
pub fn told(text: &str, advice: Option<&Advice>) -> String {
    format!("{text}{}", advice.map(words).unwrap_or_default())
}

/// What follows the text of an error.
pub fn words(advice: &Advice) -> String {
    let name = advice.name.as_deref().map(argument);
    let who = name.as_deref().unwrap_or("NAME");
    match advice.step {
        Step::Register => ": chatctl register NAME makes one".to_owned(),
        Step::OwnAccounts => match &name {
            Some(name) => format!("; chatctl status shows yours, chatctl register {name} makes it"),
            None => "; chatctl status shows yours".to_owned(),
        },
        Step::ChooseAccount => {
            ": name one with --account or CHATD_ACCOUNT, or choose one with chatctl use NAME".to_owned()
        }
        Step::LogIn => ": run chatctl login first".to_owned(),
        Step::Reclaim => format!(": chatctl register {who} --reclaim FILE"),
        Step::Unregister => "; chatctl unregister one of them".to_owned(),
        Step::Unblock => format!(": chatctl unblock {who} first"),
        Step::Verify => format!(
            ", then: chatctl verify {who} NUMBER (or, without comparing: chatctl verify {who} --accept-unverified)"
        ),
        Step::AnswerRequest => format!(": chatctl accept {who} first, or chatctl reject {who}"),
        Step::ListRequests => "; chatctl requests shows those that wait".to_owned(),
        Step::ListAskers => "; chatctl requests shows who has".to_owned(),
        Step::Ask => format!("; to ask somebody of that name in the directory: chatctl add {who}"),
        Step::AskAnother => " To ask somebody else to be a contact: chatctl add NAME".to_owned(),
        Step::ListUsers => format!("; chatctl users {who} lists who is there"),
        Step::NameMoved => format!(
            ". To keep the old one, give it a label: chatctl rename {who} LABEL; else: chatctl remove {who}. Then chatctl add \
             {who} asks the new one"
        ),
        Step::Unmute => "; chatctl unmute ends it".to_owned(),
        Step::ListInvites => "; chatctl invite list shows those that there are".to_owned(),
        Step::UseInvite => ": chatctl add chat:... first".to_owned(),
        Step::ListConsumers => "; chatctl consumers shows those that there are".to_owned(),
        Step::RemoveConsumer if advice.name.is_some() => format!(": chatctl consumers remove {who}"),
        Step::RemoveConsumer => ": chatctl consumers shows them, and removes them".to_owned(),
        Step::OwnCopy => ", or make it one of its own with chatctl backup and chatctl restore".to_owned(),
        Step::GoOnHere => ". To go on here instead, with what is here: chatctl login, which stops the other one. To be rid of this copy: stop \
                           chatd and delete the account's folder (not chatctl unregister, which would give up the name of both)"
            .to_owned(),
        Step::Restore => format!(
            ". Stop chatd, move {} away and keep it, look at the disk, start chatd, and put a backup of `chatctl backup` back with \
             `chatctl restore`",
            name.as_ref().map_or_else(|| "the account's folder".to_owned(), |folder| format!("the folder {folder}"))
        ),
        Step::PutKeyBack => {
            ": put the key back from a backup of its folder, or the whole account with `chatctl restore`".to_owned()
        }
        Step::RecoverKey => ": chatctl key recover --recovery-file FILE takes the name back".to_owned(),
        Step::AcceptDirectoryKey => format!(
            ". If its operator says that the key was made anew: chatctl key directory --accept {}; else somebody else answers there",
            name.as_deref().unwrap_or("KEY")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_a_command() {
        let mut all = std::collections::HashSet::new();
        for &step in Step::ALL {
            let (alone, of) = (words(&step.alone()), words(&step.of("bob")));
            assert!(alone.starts_with([':', ';', ',', '.', ' ']), "{step:?} goes on from a text: {alone}");
            assert!(alone.contains("chatctl "), "{step:?}: {alone}");
            assert_eq!(of.contains("bob"), of != alone, "{step:?}: {of}");
            assert!(all.insert(of), "{step:?} is said of two");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_helps() {
        let text = "/a b/messages.db is damaged: page 3. The account is read-only";
        assert_eq!(told(text, None), text);
        let told = told(text, Some(&Step::Restore.of("/a b")));
        assert!(told.starts_with(text) && told.contains(". Stop chatd, move the folder '/a b' away"), "{told}");
    }

    #[test]
    fn a_name_is_one_argument() {
        assert_eq!(words(&Step::Unblock.of("x; rm -rf ~")), ": chatctl unblock 'x; rm -rf ~' first");
        assert_eq!(
            words(&Step::OwnAccounts.of("work")),
            "; chatctl status shows yours, chatctl register work makes it"
        );
        assert_eq!(words(&Step::OwnAccounts.alone()), "; chatctl status shows yours");
    }
}
