//! From text to tokens. The whole text is cut up before any of it is parsed, so that of two
//! faults the one that Calico names is named.

use std::fmt;

use super::SelectorError;

/// The longest label name, in bytes.
pub const MAX_LABEL_BYTES: usize = 512;

/// A token, with its text where it has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Label,
    String,
    LeftBrace,
    RightBrace,
    Comma,
    Equal,
    NotEqual,
    In,
    NotIn,
    Contains,
    StartsWith,
    EndsWith,
    Not,
    And,
    Or,
    All,
    Global,
    Has,
    LeftParenthesis,
    RightParenthesis,
    End,
}

/// Whether a text can stand as a label's name in a selector.
pub fn is_label_name(text: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&text.len()) && text.bytes().all(is_label_byte)
}

/// All tokens of a text, [`Kind::End`] last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, SelectorError> {
    let mut tokens = Vec::with_capacity(text.len() / 4 + 4);
    let mut rest = skip_blanks(text);
    let mut after_label = None;
    while !rest.is_empty() {
        let (token, remainder) = next(rest, after_label)?;
        after_label = (token.kind == Kind::Label).then_some(token.text);
        tokens.push(token);
        rest = skip_blanks(remainder);
    }
    tokens.push(Token { kind: Kind::End, text: "" });
    Ok(tokens)
}

/// The first token of a text that doesn't start with a blank, and what follows it.
fn next<'a>(text: &'a str, after_label: Option<&str>) -> Result<(Token<'a>, &'a str), SelectorError> {
    let symbol = |kind, length: usize| {
        let (_, remainder) = text.split_at(length);
        Ok((Token { kind, text: "" }, remainder))
    };
    let double = |kind, expected: &'static str| match text.strip_prefix(expected) {
        Some(remainder) => Ok((Token { kind, text: "" }, remainder)),
        None => Err(SelectorError::HalfOperator { expected }),
    };
    match text.as_bytes().first() {
        Some(b'(') => symbol(Kind::LeftParenthesis, 1),
        Some(b')') => symbol(Kind::RightParenthesis, 1),
        Some(b'{') => symbol(Kind::LeftBrace, 1),
        Some(b'}') => symbol(Kind::RightBrace, 1),
        Some(b',') => symbol(Kind::Comma, 1),
        Some(b'!') if text.as_bytes().get(1) == Some(&b'=') => symbol(Kind::NotEqual, 2),
        Some(b'!') => symbol(Kind::Not, 1),
        Some(b'=') => double(Kind::Equal, "=="),
        Some(b'&') => double(Kind::And, "&&"),
        Some(b'|') => double(Kind::Or, "||"),
        Some(b'"') => quoted(text, '"'),
        Some(b'\'') => quoted(text, '\''),
        _ => match after_label {
            Some(label) => {
                word_operator(text).ok_or_else(|| SelectorError::ExpectedOperator { label: label.into() })
            }
            None => word(text),
        },
    }
}

fn quoted(text: &str, quote: char) -> Result<(Token<'_>, &str), SelectorError> {
    text.strip_prefix(quote)
        .and_then(|rest| rest.split_once(quote))
        .map(|(value, remainder)| (Token { kind: Kind::String, text: value }, remainder))
        .ok_or(SelectorError::UnterminatedString)
}

/// An operator of letters, which stands only after a label: elsewhere the same letters are one.
fn word_operator(text: &str) -> Option<(Token<'_>, &str)> {
    const OPERATORS: [(Kind, &str, &str); 5] = [
        (Kind::Contains, "contains", ""),
        (Kind::StartsWith, "starts", "with"),
        (Kind::EndsWith, "ends", "with"),
        (Kind::NotIn, "not", "in"),
        (Kind::In, "in", ""),
    ];
    OPERATORS.iter().find_map(|(kind, first, second)| {
        let mut rest = text.strip_prefix(first)?;
        if !second.is_empty() {
            // `not in` and `notin` are the same; but after the two words a blank is no end,
            // so that `not in x` is no operator. Calico's tokenizer reads it so.
            rest = skip_blanks(skip_blanks(rest).strip_prefix(second)?);
        }
        let ends = !rest.bytes().next().is_some_and(is_label_byte);
        ends.then_some((Token { kind: *kind, text: "" }, rest))
    })
}

/// `has(label)`, `all()`, `global()` or a label. A label may have one of these names; what
/// tells them apart is the parenthesis right behind.
fn word(text: &str) -> Result<(Token<'_>, &str), SelectorError> {
    if let Some(rest) = text.strip_prefix("has(") {
        let (label, rest) = label(skip_blanks(rest))?;
        return close(rest, Kind::Has, label, "has(");
    }
    if let Some(rest) = text.strip_prefix("all(") {
        return close(rest, Kind::All, "", "all(");
    }
    if let Some(rest) = text.strip_prefix("global(") {
        return close(rest, Kind::Global, "", "global(");
    }
    label(text).map(|(label, rest)| (Token { kind: Kind::Label, text: label }, rest))
}

fn close<'a>(
    rest: &'a str,
    kind: Kind,
    text: &'a str,
    call: &'static str,
) -> Result<(Token<'a>, &'a str), SelectorError> {
    skip_blanks(rest)
        .strip_prefix(')')
        .map(|rest| (Token { kind, text }, rest))
        .ok_or(SelectorError::Unclosed { call })
}

fn label(text: &str) -> Result<(&str, &str), SelectorError> {
    let length = text.bytes().take_while(|byte| is_label_byte(*byte)).count();
    let (label, rest) = text.split_at(length);
    match length {
        0 => Err(SelectorError::ExpectedIdentifier),
        1..=MAX_LABEL_BYTES => Ok((label, rest)),
        _ => Err(SelectorError::LabelTooLong { label: label.into() }),
    }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-')
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// As Calico prints a token in its messages.
impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::Label => "TokLabel",
            Kind::String => "TokStringLiteral",
            Kind::LeftBrace => "TokLBrace",
            Kind::RightBrace => "TokRBrace",
            Kind::Comma => "TokComma",
            Kind::Equal => "TokEq",
            Kind::NotEqual => "TokNe",
            Kind::In => "TokIn",
            Kind::NotIn => "TokNotIn",
            Kind::Contains => "TokContains",
            Kind::StartsWith => "TokStartsWith",
            Kind::EndsWith => "TokEndsWith",
            Kind::Not => "TokNot",
            Kind::And => "TokAnd",
            Kind::Or => "TokOr",
            Kind::All => "TokAll",
            Kind::Global => "TokGlobal",
            Kind::Has => "TokHas",
            Kind::LeftParenthesis => "TokLParen",
            Kind::RightParenthesis => "TokRParen",
            Kind::End => "TokEOF",
        };
        write!(f, "{name}({})", self.text)
    }
}
