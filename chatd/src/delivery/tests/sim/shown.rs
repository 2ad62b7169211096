//! What is told of a seed that is run alone.

use proto::wire::envelope::AckEntry;
use proto::wire::frame::Frame;

pub fn shown(frame: &Frame) -> String {
    match frame {
        Frame::Ack { entries, .. } | Frame::Resume { entries, .. } => {
            format!("{} {}", frame.name(), shown_of(entries))
        }
        Frame::Refuse { code, .. } => format!("refuse {}", code.as_str()),
        _ => frame.name().to_owned(),
    }
}

pub fn shown_of(entries: &[AckEntry]) -> String {
    let one = |e: &AckEntry| format!("{:02x}{:02x}:{}{:?}", e.epoch.0[0], e.epoch.0[1], e.contiguous, e.ranges);
    entries.iter().map(one).collect::<Vec<_>>().join(" ")
}
