//! The way of a message, for `message.trace`.

use proto::rpc::types::{MessageState, TraceStep};

use crate::model::{self, Step};

impl From<model::TraceStep> for TraceStep {
    fn from(step: model::TraceStep) -> Self {
        let model::TraceStep { at, step, detail } = step;
        let (what, path, others) = match step {
            Step::State(state) => (MessageState::from(state).as_str(), None, None),
            Step::Received => ("received", None, None),
            Step::Attempt { path, others } => ("attempt", Some(path), Some(others).filter(|others| *others > 0)),
        };
        Self { at, what: what.to_owned(), path, detail, others }
    }
}
