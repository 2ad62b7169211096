//! Manual pages (roff) of the daemons, from the definition of their flags and from what no flag says.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// Title of a section, and what stands in it: a path, a variable, a command line, each with what it is.
pub type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// The page of a program in section 8 (system administration).
///
/// # Errors
/// None in practice: it is written to memory.
pub fn page(command: Command, sections: &[Section]) -> std::io::Result<String> {
    let mut page = Vec::new();
    Man::new(command).section("8").render(&mut page)?;
    for (title, entries) in sections {
        let mut roff = Roff::new();
        roff.control("SH", [*title]);
        for (what, text) in *entries {
            roff.control("TP", []).text([bold(*what)]).text([roman(*text)]);
        }
        page.extend_from_slice(roff.to_roff().as_bytes());
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_an_order_to_roff() {
        let sections: [Section; 1] = [("FILES", &[(".hidden-file", "'tis \\fBnot\\fR bold")])];
        let page = page(Command::new("chatd").about("About"), &sections).unwrap();
        assert!(page.contains(".TH chatd 8") && page.contains(".SH FILES"), "{page}");
        let order = |line: &str| line.starts_with(".hidden") || line.starts_with('\'') || line.contains("s \\fBnot");
        assert!(page.contains("hidden") && !page.lines().any(order), "{page}");
    }
}
