//! The selector language: which labelled things a policy, a rule, a pool or a peer speaks of.
//!
//! ```text
//! text -> token -> parse -> Node (a tree) -> matches(labels) | canonical text | id | restrictions
//! ```
//! The language, its messages, its canonical form and its ids are Calico's. What a selector
//! means in its place (the namespace of a policy, `pcns.` and `pcsa.` labels) is put together
//! here from trees, in `combine`, and never from text. This module doesn't know which labels
//! an endpoint has: see [`Labels`]. Next hops: the label index of `calc`, and `analysis`.

mod combine;
mod labels;
mod node;
mod parse;
mod restriction;
mod token;

use std::fmt::{self, Write as _};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha224};

pub use combine::{
    NAMESPACE_LABEL, NAMESPACE_LABEL_PREFIX, SERVICE_ACCOUNT_LABEL, SERVICE_ACCOUNT_LABEL_PREFIX,
};
pub use labels::Labels;
pub use node::{LabelTest, Node, Test, ValueSet};
pub use parse::{MAX_DEPTH, MAX_PARENTHESES};
pub use restriction::{LabelRestriction, LabelRestrictions};
pub use token::{MAX_LABEL_BYTES, is_label_name};

/// The most characters that the API takes in one selector field. [`Selector::parse`] takes
/// more, since a selector converted from Kubernetes has no such limit.
pub const MAX_CHARACTERS: usize = 1024;

/// A selector that was read: a tree of tests on labels.
///
/// Two selectors are equal if their trees are, which is finer than meaning the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    root: Node,
}

impl Selector {
    /// Reads a selector. Nothing but spaces and tabs means `all()`.
    ///
    /// # Errors
    /// A [`SelectorError`], whose text is Calico's. What it is wrong about is the user's to fix.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::parse(text).map(|root| Self { root })
    }

    /// Whether the labels are selected. Allocates nothing.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        self.root.matches(labels)
    }

    /// The tree, for those who compile or index it.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The canonical text: operators and quotes in one spelling, sets sorted, each `&&` and
    /// `||` in parentheses. Reads back as a selector that matches the same labels.
    pub fn canonical(&self) -> String {
        self.to_string()
    }

    /// The name that the selector has wherever Calico shows one: equal for equal canonical text.
    pub fn id(&self) -> SelectorId {
        let mut hasher = IdHasher(Sha224::new());
        write!(hasher, "s:{}", self.root).expect("writing into a hash cannot fail");
        let mut id = String::with_capacity(2 + 38);
        id.push_str("s:");
        URL_SAFE_NO_PAD.encode_string(hasher.0.finalize(), &mut id);
        SelectorId(id.into())
    }

    /// What labels must fulfil to be selected: see [`LabelRestrictions`]. `None` if the
    /// selector matches nothing at all.
    pub fn label_restrictions(&self) -> Option<LabelRestrictions<'_>> {
        restriction::of(&self.root)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A selector's id, 40 characters: `s:` and the unpadded base64url of the SHA-224 of `s:` and
/// the canonical text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SelectorId(Box<str>);

impl SelectorId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SelectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a selector. The messages are the ones that Calico gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// A quote that is never closed. There are no escapes.
    #[error("unterminated string")]
    UnterminatedString,
    /// Half an operator.
    #[error("expected {expected}")]
    HalfOperator {
        /// The whole one: `==`, `&&` or `||`.
        expected: &'static str,
    },
    /// Something else than an operator after a label.
    #[error("expected operator after label \"{label}\"")]
    ExpectedOperator {
        /// The label before it.
        label: Box<str>,
    },
    /// `has(`, `all(` or `global(` without its end.
    #[error("no closing ')' after {call}")]
    Unclosed {
        /// What was opened, with its parenthesis.
        call: &'static str,
    },
    /// A character that nothing begins with, or `has()` without a label.
    #[error("expected identifier")]
    ExpectedIdentifier,
    /// A label of more than [`MAX_LABEL_BYTES`].
    #[error("label too long: {label}")]
    LabelTooLong {
        /// The label.
        label: Box<str>,
    },
    /// The text ends after a label.
    #[error("unexpected end of string looking for op")]
    UnexpectedEnd,
    /// An operator without a quoted value.
    #[error("expected string")]
    ExpectedString,
    /// `in` or `not in` without a set.
    #[error("expected set literal")]
    ExpectedSet,
    /// A set that isn't closed, or holds something else than quoted values.
    #[error("expected }}")]
    ExpectedBrace,
    /// A parenthesis that isn't closed.
    #[error("expected )")]
    ExpectedParenthesis,
    /// A label and then a token that is no comparison.
    #[error("expected == or != not: {found}")]
    ExpectedComparison {
        /// The token as Calico prints it, as `TokRParen()`.
        found: Box<str>,
    },
    /// A token that no term begins with.
    #[error("unexpected token: {found}")]
    UnexpectedToken {
        /// The token as Calico prints it, as `TokEOF()`.
        found: Box<str>,
    },
    /// A whole selector, and then more.
    #[error("unexpected content at end of selector [{found}]")]
    TrailingContent {
        /// The tokens as Calico prints them, between spaces.
        found: Box<str>,
    },
    /// Deeper than a selector of [`MAX_CHARACTERS`] can be. Ours: Calico has no such limit.
    #[error("nested {found} deep, expected at most {expected}")]
    TooDeep {
        /// The depth at which reading stopped.
        found: usize,
        /// [`MAX_PARENTHESES`] or [`MAX_DEPTH`].
        expected: usize,
    },
}

struct IdHasher(Sha224);

impl fmt::Write for IdHasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}
