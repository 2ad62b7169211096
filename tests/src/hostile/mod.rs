//! Text that has broken programs before. Every string is one line of legal UTF-8 and must arrive as it is.

pub mod directory;

/// Characters that a terminal must never be given raw, although they are stored and sent as they are.
pub const ESCAPES: [&str; 12] = [
    "\u{1b}[31mred\u{1b}[0m",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]8;;https://example.org\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "\u{1b}]52;c;cm0gLXJmIC8=\u{7}",
    "\u{1b}[2J\u{1b}[1;1H",
    "\u{1b}P+q544e\u{1b}\\",
    "\u{9b}31mC1 control\u{9b}0m",
    "bell\u{7} backspace\u{8} delete\u{7f} vertical\u{b} form\u{c}",
    "carriage\rreturn overwrites",
    "nul\0inside",
    "\u{1b}[6n asks for the cursor",
    "\u{1b}[?1049h alternate screen",
];

/// Everything else: directions, invisible characters, combining marks, emoji, other scripts, and what looks like code.
pub const STRINGS: [&str; 34] = [
    "",
    " ",
    "\t\ttabs\tand trailing space ",
    "\u{202e}right to left override\u{202c}",
    "\u{2066}isolate\u{2069} \u{200f}mark",
    "שלום עולם, مرحبا بالعالم",
    "zero\u{200b}width\u{200c}non\u{200d}joiner\u{feff}bom",
    "\u{feff}bom first",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301} zalgo o\u{336}\u{321}\u{322}",
    "👩‍👩‍👧‍👦 👨🏿‍🚀 🏳️‍🌈 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🇩🇪🇫🇷",
    "日本語 漢字 ｶﾀｶﾅ 한국어 ไทย हिन्दी ಕನ್ನಡ",
    "Ṱ̺̺̕o͞ ̷i̲̬͇̪͙n̝̗͕v̟̜̘̦͟o̶̙̰̠kè͚̮̺̪̹̱̤ ",
    "\u{fffd}\u{fffe}\u{10ffff}\u{e000} noncharacters",
    "\u{2028}line separator\u{2029}paragraph separator\u{85}next line",
    "'; DROP TABLE messages; --",
    "\"quoted\" AND OR NOT NEAR(a b) col:term * ^",
    "<script>alert(1)</script>",
    "$(reboot) `reboot` ${HOME} %s%n%x",
    "../../../../etc/passwd",
    "-rf --help -- -",
    "# not a heading\\n",
    "**bold** *italic* [link](javascript:alert(1)) ![image](http://127.0.0.1/)",
    "{\"json\": [1, 2, null]}",
    "NaN undefined null true 0x0 1e999 -0",
    "İstanbul ıIiİ ß ẞ ﬁ ǅ",
    "ﷺﷺﷺ wide 𒐫𒈙⸻꧅",
    "\u{ad}soft\u{ad}hyphen\u{34f}joiner\u{115f}filler\u{3164}",
    "tag \u{e0041}\u{e0042}\u{e007f}",
    "variation ☺\u{fe0e} ☺\u{fe0f} ☺\u{fe0f}\u{fe0f}",
    "a\u{a0}b\u{2003}c\u{3000}d",
    "ends with a backslash \\",
    "\\u0000 \\x1b[31m \\n as text",
    "CON PRN AUX NUL COM1",
    "one line, then nothing more",
];

/// All lines, long ones included: 60 KiB of one letter, of a wide character, and of combining marks.
pub fn lines() -> Vec<String> {
    let long = 60 * 1024;
    let mut lines: Vec<String> = STRINGS.iter().chain(&ESCAPES).map(|text| (*text).to_owned()).collect();
    lines.push("x".repeat(long));
    lines.push("漢".repeat(long / 3));
    lines.push(format!("a{}", "\u{301}".repeat((long - 1) / 2)));
    lines.push("👩‍👩‍👧‍👦".repeat(long / "👩‍👩‍👧‍👦".len()));
    lines
}
