//! From text as people write it to the tokens by which it is found, the same on both sides of the index.
//!
//! The job: fold case and accents, and cut. Not the job: what FTS5 makes of the tokens (see [`crate::store::history::search::words`]).
//!
//! - Case is folded fully (`Straße` is found by `STRASSE`), compatibility forms count as what they stand for (`ﬁ` as `fi`), and
//!   accents of Latin, Greek, Cyrillic, Hebrew and Arabic do not count.
//! - A word is a run of letters, digits and the marks that belong to them. Punctuation and spaces separate.
//! - Scripts that write no spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese, ...) are cut into overlapping pairs of
//!   characters, and the last character of a run stands for itself: so every part of a run is found, without a dictionary that
//!   would cut `会议` and `会议室` differently and hide one from the other. This is what Lucene's CJK analyser does; the
//!   choice is argued in `docs/decisions/0001-search-tokens.md`.
//! - A symbol (an emoji, `€`) is a token of its own. Joiners, variation selectors and skin tones do not count.
//!
//! Sources: Unicode's default caseless matching (The Unicode Standard, 3.13), UAX 15, UAX 24, and line break class SA of UAX 14.

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_normalizer::{
    ComposingNormalizer, ComposingNormalizerBorrowed, DecomposingNormalizer, DecomposingNormalizerBorrowed,
};
use icu_properties::props::{GeneralCategory, LineBreak, Script};
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed};

/// What cut and folded the text of an index. Another value: the index is made anew. Names the data behind the three
/// libraries (a test holds it against Cargo.lock) and, before it, the version of the rules in this file.
pub(in crate::store) const VERSION: &str =
    "1 icu_casemap_data 2.4.0 icu_normalizer_data 2.4.0 icu_properties_data 2.4.0";

/// A piece of text by which it can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub text: String,
    pub kind: Kind,
}

/// What a token is, which says how a query may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word of a script with spaces.
    Word,
    /// Two neighbours in a run without spaces.
    Pair,
    /// The last character of such a run.
    Last,
    /// A symbol.
    Symbol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Word,
    /// Of a script without spaces.
    Unspaced,
    Symbol,
    /// Belongs to what stands before it.
    Extends,
    /// Is as if it were not there.
    Ignored,
    Separator,
}

/// The data behind the rules: references to static tables.
#[derive(Debug)]
pub(super) struct Folder {
    case: CaseMapperBorrowed<'static>,
    decompose: DecomposingNormalizerBorrowed<'static>,
    compose: ComposingNormalizerBorrowed<'static>,
    category: CodePointMapDataBorrowed<'static, GeneralCategory>,
    script: CodePointMapDataBorrowed<'static, Script>,
    lines: CodePointMapDataBorrowed<'static, LineBreak>,
}

impl Folder {
    pub const fn new() -> Self {
        Self {
            case: CaseMapper::new(),
            decompose: DecomposingNormalizer::new_nfkd(),
            compose: ComposingNormalizer::new_nfc(),
            category: CodePointMapData::<GeneralCategory>::new(),
            script: CodePointMapData::<Script>::new(),
            lines: CodePointMapData::<LineBreak>::new(),
        }
    }

    /// Gives the tokens of `text` to `each`, in order.
    pub fn tokens(&self, text: &str, mut each: impl FnMut(Kind, &str)) {
        let folded = self.fold(text);
        let mut word = String::new();
        let mut run = String::new();
        for c in folded.chars() {
            let class = match self.class(c) {
                // A mark or a long vowel sign goes with what it follows.
                Class::Extends if run.is_empty() && (!word.is_empty() || !is_kana_mark(c)) => Class::Word,
                Class::Extends => Class::Unspaced,
                class => class,
            };
            if class == Class::Ignored {
                continue;
            }
            if class != Class::Word && !word.is_empty() {
                each(Kind::Word, &word);
                word.clear();
            }
            if class != Class::Unspaced && !run.is_empty() {
                pairs(&run, &mut each);
                run.clear();
            }
            match class {
                Class::Word => word.push(c),
                Class::Unspaced => run.push(c),
                Class::Symbol => each(Kind::Symbol, c.encode_utf8(&mut [0; 4])),
                Class::Separator | Class::Extends | Class::Ignored => {}
            }
        }
        if !word.is_empty() {
            each(Kind::Word, &word);
        }
        if !run.is_empty() {
            pairs(&run, &mut each);
        }
    }

    /// Caseless, without compatibility forms and accents, composed again (so that a Hangul syllable is one character).
    fn fold(&self, text: &str) -> String {
        let decomposed = self.decompose.normalize(text);
        let folded = self.case.fold_string(&decomposed);
        // Folding may bring up what can be decomposed further.
        let decomposed = self.decompose.normalize(&folded);
        let bare: String = decomposed.chars().filter(|c| !self.is_accent(*c)).collect();
        self.compose.normalize(&bare).into_owned()
    }

    /// A mark that readers of the script can do without. Voicing marks of kana and the vowel signs of Indic scripts are letters.
    fn is_accent(&self, c: char) -> bool {
        if c.is_ascii() || is_kana_mark(c) {
            return false;
        }
        self.category.get(c) == GeneralCategory::NonspacingMark
            && matches!(
                self.script.get(c),
                Script::Inherited
                    | Script::Common
                    | Script::Latin
                    | Script::Greek
                    | Script::Cyrillic
                    | Script::Hebrew
                    | Script::Arabic
            )
    }

    fn class(&self, c: char) -> Class {
        if c.is_ascii() {
            return if c.is_ascii_alphanumeric() { Class::Word } else { Class::Separator };
        }
        if is_kana_mark(c) {
            return Class::Extends;
        }
        let category = self.category.get(c);
        match category {
            // Joiners, variation selectors (which are marks), soft hyphens, bidi controls, and tags.
            GeneralCategory::Format | GeneralCategory::EnclosingMark => return Class::Ignored,
            // Skin tones.
            GeneralCategory::ModifierSymbol if ('\u{1f3fb}'..='\u{1f3ff}').contains(&c) => return Class::Ignored,
            GeneralCategory::OtherSymbol | GeneralCategory::MathSymbol | GeneralCategory::CurrencySymbol => {
                return Class::Symbol;
            }
            _ => {}
        }
        if matches!(self.script.get(c), Script::Han | Script::Hiragana | Script::Katakana | Script::Bopomofo)
            || self.lines.get(c) == LineBreak::ComplexContext
        {
            return Class::Unspaced;
        }
        match category {
            GeneralCategory::NonspacingMark | GeneralCategory::SpacingMark => Class::Extends,
            GeneralCategory::UppercaseLetter
            | GeneralCategory::LowercaseLetter
            | GeneralCategory::TitlecaseLetter
            | GeneralCategory::ModifierLetter
            | GeneralCategory::OtherLetter
            | GeneralCategory::DecimalNumber
            | GeneralCategory::LetterNumber
            | GeneralCategory::OtherNumber
            | GeneralCategory::PrivateUse => Class::Word,
            _ => Class::Separator,
        }
    }
}

/// The long vowel sign and the voicing marks, which Unicode counts to no script.
fn is_kana_mark(c: char) -> bool {
    matches!(c, '\u{30fc}' | '\u{3099}' | '\u{309a}')
}

/// The tokens of a run that is not empty.
fn pairs(run: &str, each: &mut impl FnMut(Kind, &str)) {
    let starts: Vec<usize> = run.char_indices().map(|(i, _)| i).collect();
    for (i, start) in starts.iter().enumerate() {
        match starts.get(i + 1) {
            Some(_) => each(Kind::Pair, &run[*start..starts.get(i + 2).copied().unwrap_or(run.len())]),
            None => each(Kind::Last, &run[*start..]),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        Folder::new().tokens(text, |_, token| out.push(token.to_owned()));
        out
    }

    #[test]
    fn text_is_cut_and_folded() {
        for (text, want) in [
            ("Hello, Bob! It's 12:30", &["hello", "bob", "it", "s", "12", "30"][..]),
            ("Straße STRASSE", &["strasse", "strasse"]),
            ("déjà vu de\u{301}ja\u{300}", &["deja", "vu", "deja"]),
            ("ﬁne ｆｕｌｌ №", &["fine", "full", "no"]),
            ("ΟΔΥΣΣΕΎΣ οδυσσεύς", &["οδυσσευσ", "οδυσσευσ"]),
            ("Ёлка", &["елка"]),
            ("明天的会议室", &["明天", "天的", "的会", "会议", "议室", "室"]),
            ("サーバー", &["サー", "ーバ", "バー", "ー"]),
            ("がｶﾞカ\u{3099}", &["がガ", "ガガ", "ガ"]),
            ("ประชุม", &["ปร", "ระ", "ะช", "ชุ", "ุม", "ม"]),
            ("iPhone手机", &["iphone", "手机", "机"]),
            ("회의는 내일", &["회의는", "내일"]),
            ("मीटिंग", &["मीटिंग"]),
            ("שָׁלוֹם", &["שלום"]),
            ("مُحَمَّد", &["محمد"]),
            ("🎉 👍🏽 ❤\u{fe0f}", &["🎉", "👍", "❤"]),
            ("👨\u{200d}👩\u{200d}👧", &["👨", "👩", "👧"]),
            ("co\u{ad}operate don’t", &["cooperate", "don", "t"]),
            ("5€", &["5", "€"]),
            ("\u{1}7", &["7"]),
            ("… — 「」、。", &[]),
        ] {
            assert_eq!(cut(text), want, "{text}");
        }
    }

    #[test]
    fn the_version_names_the_data_in_use() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
        let words: Vec<&str> = VERSION.split(' ').collect();
        assert_eq!(words.len(), 7);
        for pair in words[1..].chunks(2) {
            let entry = format!("name = \"{}\"\nversion = \"{}\"\n", pair[0], pair[1]);
            assert!(lock.contains(&entry), "{} is not {} any more: name the new one in VERSION", pair[0], pair[1]);
        }
    }
}
