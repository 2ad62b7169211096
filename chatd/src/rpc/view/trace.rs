//! The way of a message, for `message.trace`.

use proto::rpc::types::{MessageState, Outcome, TraceResult, TraceStep};

use crate::model::{self, Step};

impl From<model::Way> for TraceResult {
    fn from(way: model::Way) -> Self {
        let model::Way { id, own, who, peer, state, reason, steps } = way;
        let steps = steps.into_iter().map(Into::into).collect();
        Self { id, who, peer, state: state.into(), reason, steps, own }
    }
}

impl From<model::TraceStep> for TraceStep {
    fn from(step: model::TraceStep) -> Self {
        let model::TraceStep { at, step } = step;
        let told =
            |what: &str| Self { at, what: what.to_owned(), path: None, outcome: None, reason: None, others: None };
        match step {
            Step::State { state, reason } => Self { reason, ..told(MessageState::from(state).as_str()) },
            Step::Received => told("received"),
            Step::Attempt { path, outcome, others } => {
                let (outcome, reason) = match outcome {
                    model::Outcome::Sent => (Outcome::Sent, None),
                    model::Outcome::Deposited => (Outcome::Deposited, None),
                    model::Outcome::Failed(failure) => (Outcome::Failed, Some(failure.to_string())),
                };
                let others = Some(others).filter(|others| *others > 0);
                Self { path: Some(path), outcome: Some(outcome), reason, others, ..told("attempt") }
            }
        }
    }
}
