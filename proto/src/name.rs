//! Names of people: what may be one, how two are compared, and how one is written with its domain.
//!
//! A [`Name`] is kept in its normal form (PRECIS `UsernameCaseMapped`, RFC 8265, section 3.3), so that comparing two is
//! comparing bytes: `Bob` and `bob` are one name. Beyond the profile, a name is of one script (UTS 39, "single script",
//! where Japanese and Korean count as one each), holds only characters that UTS 39 allows in identifiers, and no
//! punctuation that a shell, a URL or this system's own notation would read.
//!
//! Not the job: who holds a name (a directory decides) and whether a name is taken. [`Name::skeleton`] is there for
//! the directory to refuse a name that looks like another one.

use std::fmt;
use std::str::FromStr;

use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript};
use unicode_security::{GeneralSecurityProfile, RestrictionLevel, RestrictionLevelDetection, skeleton};

/// Characters of a name at most, in its normal form: what fits a terminal's column.
pub const MAX_NAME_CHARS: usize = 32;
/// Bytes of a domain name at most (RFC 1035, section 2.3.4).
pub const MAX_DOMAIN_BYTES: usize = 253;
/// Bytes that are looked at before normalisation: several decomposed characters for each one that is kept.
const MAX_INPUT_BYTES: usize = 1_024;
/// Marks stacked on one letter at most. Written languages need three; more is only used to smear over other lines.
const MAX_MARKS_IN_A_ROW: usize = 3;
/// The punctuation that may stand within a name.
const PUNCTUATION: [char; 4] = ['-', '_', '.', '+'];

/// Why a text is no name or no address. Each says which rule was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no name.
    #[error("a name has 1 to {MAX_NAME_CHARS} characters, this one is empty")]
    Empty,
    /// There are too many characters.
    #[error("a name has 1 to {MAX_NAME_CHARS} characters, this one has {0}")]
    TooLong(usize),
    /// A character that no name may hold.
    #[error("{0:?} is not allowed in a name: letters, digits and - _ . + are")]
    Character(char),
    /// It begins with something else.
    #[error("a name begins with a letter or a digit, not with {0:?}")]
    Start(char),
    /// Refused by the PRECIS username profile: compatibility forms, mixed writing directions, unassigned characters.
    #[error("the username profile of RFC 8265 refuses it (mixed directions, or a character whose form is unstable)")]
    Profile,
    /// Letters of several scripts: the usual way to forge a look-alike.
    #[error("a name is written in one script, this one mixes {0} and {1}")]
    MixedScripts(&'static str, &'static str),
    /// A character that the Unicode consortium does not recommend for names: phonetic, historic, invisible, ...
    #[error("{0:?} is not a letter of everyday writing, and is easily taken for another: names do not hold it")]
    Restricted(char),
    /// Something that is written with letters of another script only.
    #[error("a mark or sign of another script stands in the name: leave it out")]
    OtherMark,
    /// A dot above a letter that has one.
    #[error("a dot above i, j or l cannot be seen: leave it out of the name")]
    HiddenDot,
    /// Too many combining marks in a row.
    #[error("a name has at most {MAX_MARKS_IN_A_ROW} combining marks in a row")]
    Marks,
    /// What follows the `@` is no domain.
    #[error("{0:?} is not a domain name such as example.org")]
    Domain(String),
}

/// A valid name in its normal form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks and normalises what somebody typed.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_INPUT_BYTES {
            return Err(NameError::TooLong(text.chars().count()));
        }
        // Before the profile, whose answer names a code point and not a rule.
        if let Some(bad) = text.chars().find(|&c| forbidden(c)) {
            return Err(NameError::Character(bad));
        }
        let name = UsernameCaseMapped::enforce(text).map_err(|error| profile_error(text, &error))?;
        // Applying a profile once need not be enough (RFC 8264, section 7): a form that still moves is refused.
        match UsernameCaseMapped::enforce(name.as_ref()) {
            Ok(again) if again == name => {}
            _ => return Err(NameError::Profile),
        }
        let chars = name.chars().count();
        if chars > MAX_NAME_CHARS {
            return Err(NameError::TooLong(chars));
        }
        // Width mapping turns full-width punctuation into the ASCII kind, so this is asked again.
        if let Some(bad) = name.chars().find(|&c| forbidden(c)) {
            return Err(NameError::Character(bad));
        }
        match name.chars().next() {
            Some(first) if !first.is_alphanumeric() => return Err(NameError::Start(first)),
            None => return Err(NameError::Empty),
            Some(_) => {}
        }
        if name.split(|c| !is_combining_mark(c)).any(|marks| marks.chars().count() > MAX_MARKS_IN_A_ROW) {
            return Err(NameError::Marks);
        }
        one_script(&name)?;
        // After the scripts: "two of them" says more than the first letter of the second.
        if let Some(bad) = name.chars().find(|c| !PUNCTUATION.contains(c) && (!c.identifier_allowed() || is_joiner(*c)))
        {
            return Err(NameError::Restricted(bad));
        }
        // By the scripts that a character is used with, too: the marks of Arabic are of no script by themselves.
        let letters: String = name.chars().filter(|c| !PUNCTUATION.contains(c)).collect();
        if !letters.check_restriction_level(RestrictionLevel::HighlyRestrictive) {
            return Err(NameError::OtherMark);
        }
        if has_hidden_dot(&name) {
            return Err(NameError::HiddenDot);
        }
        Ok(Self(name.into_owned()))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What remains when letters that look alike are made one (UTS 39, section 4, with the data of the Unicode
    /// consortium): two names with one skeleton are easily taken for each other. Case is folded before, since both sigmas
    /// have one capital, and after, since a zero's prototype is a capital; what is not ASCII then also counts as what its
    /// capital looks like, as `ь` does. For comparison only, never for display.
    pub fn skeleton(&self) -> String {
        let folded: String = self.0.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
        let small: String = skeleton(&folded).flat_map(char::to_lowercase).filter(|c| !is_joiner(*c)).collect();
        let mut same = String::with_capacity(small.len());
        for c in small.chars() {
            if c.is_ascii() {
                same.push(c);
            } else {
                let capital: String = c.to_uppercase().collect();
                same.extend(skeleton(&capital).flat_map(char::to_lowercase));
            }
        }
        // The consortium's data know of m and rn, and not of this pair.
        same.replace("vv", "w")
    }
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Lower case and composed, as names are: what a substring is searched by.
pub fn fold_query(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).nfc().collect()
}

fn forbidden(c: char) -> bool {
    c.is_control() || c.is_whitespace() || (c.is_ascii_punctuation() && !PUNCTUATION.contains(&c))
}

fn profile_error(text: &str, error: &precis_profiles::precis_core::Error) -> NameError {
    use precis_profiles::precis_core::Error;
    match error {
        Error::BadCodepoint(info) => char::from_u32(info.cp).map_or(NameError::Profile, NameError::Character),
        Error::Invalid if text.chars().next().is_some_and(is_combining_mark) => {
            NameError::Start(text.chars().next().unwrap_or_default())
        }
        _ => NameError::Profile,
    }
}

/// Scripts that one language writes together count as one.
fn one_script(name: &str) -> Result<(), NameError> {
    const TOGETHER: [&[Script]; 3] = [
        &[Script::Han, Script::Hiragana, Script::Katakana],
        &[Script::Han, Script::Hangul],
        &[Script::Han, Script::Bopomofo],
    ];
    let mut found: Vec<Script> = Vec::new();
    for script in name.chars().map(|c| c.script()).filter(|s| !matches!(s, Script::Common | Script::Inherited)) {
        if !found.contains(&script) {
            found.push(script);
        }
    }
    match found[..] {
        [a, b, ..] if !TOGETHER.iter().any(|set| found.iter().all(|s| set.contains(s))) => {
            Err(NameError::MixedScripts(a.full_name(), b.full_name()))
        }
        _ => Ok(()),
    }
}

/// A dot above a letter that has one, or that looks the same with one: `ali\u{307}ce`. UTS 39, section 5.4, forbids it.
fn has_hidden_dot(name: &str) -> bool {
    const DOT_ABOVE: char = '\u{307}';
    let mut base = ' ';
    name.nfd().any(|c| {
        if !is_combining_mark(c) {
            base = c;
        }
        c == DOT_ABOVE && matches!(base, 'i' | 'ı' | 'j' | 'ȷ' | 'l' | 'ɨ' | 'ɉ' | 'і' | 'ј' | 'ϳ')
    })
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({:?})", self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(d)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// A name and, unless it is of the home directory, its domain: `bob` or `bob@example.org`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Who.
    pub name: Name,
    /// In which domain's directory; `None` for one's own.
    pub domain: Option<String>,
}

impl FromStr for Address {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, domain) = match text.split_once('@') {
            Some((name, domain)) => (name, Some(parse_domain(domain)?)),
            None => (text, None),
        };
        Ok(Self { name: Name::parse(name)?, domain })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.domain {
            Some(domain) => write!(f, "{}@{domain}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// A domain name in lower case: labels of letters, digits and hyphens (RFC 1123, section 2.1), without a final dot.
/// A single label such as `localhost` is one. Names beyond ASCII are given in their `xn--` form.
///
/// # Errors
/// [`NameError::Domain`].
pub fn parse_domain(text: &str) -> Result<String, NameError> {
    const MAX_LABEL_BYTES: usize = 63;
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let domain = text.strip_suffix('.').unwrap_or(text);
    if domain.len() <= MAX_DOMAIN_BYTES && domain.split('.').all(label) {
        Ok(domain.to_ascii_lowercase())
    } else {
        Err(NameError::Domain(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
