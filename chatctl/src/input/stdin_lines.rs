//! Standard input as lines, for `send --stdin-lines` and `chat`.
//!
//! One final LF or CRLF is stripped of each line; a last line without one counts. Blank lines are counted and passed over:
//! an empty text is no message. Input is read as it comes, by a thread of its own, and handed over through a bounded channel: a slow daemon
//! slows the reader, and nothing is ever held but a few chunks.

use std::io::{self, Read};

use proto::wire::MAX_TEXT_BYTES;
use tokio::sync::mpsc;

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that may wait; with their bytes this bounds the memory of the whole pipeline.
const CHUNKS_WAITING: usize = 4;

/// A line that cannot be sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not text.
    #[error("line {number} is not UTF-8 (at byte {at})")]
    NotUtf8 {
        /// Counted from 1.
        number: u64,
        /// Offset of the first wrong byte, from 0.
        at: usize,
    },
    /// Too much text.
    #[error("line {number} is too long: a message has at most {MAX_TEXT_BYTES} bytes")]
    TooLong {
        /// Counted from 1.
        number: u64,
    },
    /// Standard input broke.
    #[error("cannot read standard input: {0}")]
    Read(String),
}

/// A line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1, blank ones too.
    pub number: u64,
    /// Without its end.
    pub text: String,
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
    done: u64,
}

impl Splitter {
    /// Takes the next bytes and appends the lines that they complete.
    ///
    /// # Errors
    /// At the first line that cannot be sent; the lines before it are in `lines`. The splitter is of no use afterwards.
    pub fn push(&mut self, mut chunk: &[u8], lines: &mut Vec<Line>) -> Result<(), LineError> {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            self.partial.extend_from_slice(line);
            let mut line = std::mem::take(&mut self.partial);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            lines.extend(self.line(line)?);
            chunk = rest;
        }
        self.partial.extend_from_slice(chunk);
        // Checked here, too, so that input without any LF cannot grow without bound. The CR of a CRLF is not text.
        if self.partial.len() > MAX_TEXT_BYTES + usize::from(self.partial.last() == Some(&b'\r')) {
            return Err(LineError::TooLong { number: self.done + 1 });
        }
        Ok(())
    }

    /// The end of the input: a last line without LF.
    ///
    /// # Errors
    /// When that line cannot be sent.
    pub fn finish(&mut self, lines: &mut Vec<Line>) -> Result<(), LineError> {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            lines.extend(self.line(line)?);
        }
        Ok(())
    }

    /// `None` for a blank one.
    fn line(&mut self, line: Vec<u8>) -> Result<Option<Line>, LineError> {
        let number = self.done + 1;
        if line.len() > MAX_TEXT_BYTES {
            return Err(LineError::TooLong { number });
        }
        let text = String::from_utf8(line)
            .map_err(|error| LineError::NotUtf8 { number, at: error.utf8_error().valid_up_to() })?;
        self.done = number;
        Ok((!text.is_empty()).then_some(Line { number, text }))
    }
}

/// Lines of standard input in batches, as they come; an error is the last item. The channel closes at the end.
pub fn stdin() -> mpsc::Receiver<Result<Vec<Line>, LineError>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    // A thread, because reading a terminal or a pipe blocks; it ends with the process or when nobody listens any more.
    std::thread::spawn(move || read(io::stdin().lock(), &sender));
    receiver
}

fn read(mut input: impl Read, sender: &mpsc::Sender<Result<Vec<Line>, LineError>>) {
    let mut splitter = Splitter::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let mut lines = Vec::new();
        let (result, end) = match input.read(&mut chunk) {
            Ok(0) => (splitter.finish(&mut lines), true),
            Ok(count) => (splitter.push(&chunk[..count], &mut lines), false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => (Err(LineError::Read(error.to_string())), true),
        };
        let gone = !lines.is_empty() && sender.blocking_send(Ok(lines)).is_err();
        if let Err(error) = result {
            let _ = sender.blocking_send(Err(error));
            return;
        }
        if gone || end {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(input: &[u8], chunk: usize) -> (Vec<String>, Result<(), LineError>) {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        let pushed = input.chunks(chunk).try_for_each(|part| splitter.push(part, &mut lines));
        let result = pushed.and_then(|()| splitter.finish(&mut lines));
        assert!(lines.windows(2).all(|pair| pair[0].number < pair[1].number));
        (lines.into_iter().map(|line| line.text).collect(), result)
    }

    #[test]
    fn table() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("\n", &[]),
            ("a\nb\n", &["a", "b"]),
            ("a\nb", &["a", "b"]),
            ("a\r\nb\r\n", &["a", "b"]),
            ("a\r\r\n\r\nb\rc\n", &["a\r", "b\rc"]),
            ("\n\na\n\n \n", &["a", " "]),
            ("\r", &["\r"]),
            ("é\u{2028}x\n", &["é\u{2028}x"]),
        ];
        for (input, lines) in cases {
            for chunk in [1, 2, 3, 1000] {
                let (got, result) = split(input.as_bytes(), chunk);
                assert_eq!((got, result), (lines.iter().map(|l| (*l).to_owned()).collect(), Ok(())), "{input:?}");
            }
        }
    }

    #[test]
    fn a_bad_line_is_named_and_nothing_after_it_comes() {
        for chunk in [1, 4, 1000] {
            let (lines, result) = split(b"a\n\nx\xffy\nb\n", chunk);
            assert_eq!(lines, ["a"]);
            assert_eq!(result, Err(LineError::NotUtf8 { number: 3, at: 1 }), "blank lines are counted");
        }
        assert_eq!(split(b"a\n\xc3", 1000).1, Err(LineError::NotUtf8 { number: 2, at: 0 }), "cut at the end");
    }

    #[test]
    fn the_limit_is_exact() {
        let fits = "x".repeat(MAX_TEXT_BYTES);
        for chunk in [1000, 1_000_000] {
            assert_eq!(split(format!("{fits}\r\n{fits}").as_bytes(), chunk).0.len(), 2);
            for input in [format!("a\n{fits}x\nb\n"), format!("a\n{fits}x")] {
                let (lines, result) = split(input.as_bytes(), chunk);
                assert_eq!((lines.len(), result), (1, Err(LineError::TooLong { number: 2 })));
            }
        }
    }

    #[test]
    fn input_without_end_of_line_is_refused_early() {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        let endless = [b'x'; 1000];
        let pushed = (0..1000).take_while(|_| splitter.push(&endless, &mut lines).is_ok()).count();
        assert_eq!(pushed, MAX_TEXT_BYTES / 1000);
    }

    #[tokio::test]
    async fn the_reader_hands_over_batches_then_the_error() {
        let (sender, mut receiver) = mpsc::channel(4);
        std::thread::spawn(move || read(&b"a\nb\n\xff\nc\n"[..], &sender));
        let line = |number, text: &str| Line { number, text: text.to_owned() };
        assert_eq!(receiver.recv().await, Some(Ok(vec![line(1, "a"), line(2, "b")])));
        assert_eq!(receiver.recv().await, Some(Err(LineError::NotUtf8 { number: 3, at: 0 })));
        assert_eq!(receiver.recv().await, None);
    }

    proptest! {
        #[test]
        fn however_it_is_cut(lines in prop::collection::vec("[^\n]{0,12}", 0..12), chunk in 1usize..16) {
            let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let text = |line: String| Some(line.strip_suffix('\r').unwrap_or(&line).to_owned()).filter(|l| !l.is_empty());
            prop_assert_eq!(split(input.as_bytes(), chunk), (lines.into_iter().filter_map(text).collect(), Ok(())));
        }
    }
}
