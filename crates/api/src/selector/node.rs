//! The tree of a selector: what it matches and how it is written.
//!
//! Nodes are made by the parser and by the combinators, which keep the promises made here
//! (sets sorted, two operands at least, label names in their alphabet).

use std::fmt;

use super::Labels;

/// A part of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// `all()`: matches anything.
    All,
    /// `global()`: matches anything as it stands. It has a meaning only in the
    /// `namespaceSelector` of a rule, see [`super::Selector::in_rule_namespaces`].
    Global,
    /// A test of one label.
    Label(LabelTest),
    /// `!`: what the operand doesn't match.
    Not(Box<Node>),
    /// `&&`: two operands or more, in the order written.
    And(Vec<Node>),
    /// `||`: two operands or more, in the order written.
    Or(Vec<Node>),
}

/// A test of one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelTest {
    /// The label's name: 1 to 512 characters of `A-Za-z0-9_./-`.
    pub label: Box<str>,
    /// What its value is asked for.
    pub test: Test,
}

/// What is asked of a label's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Test {
    /// `has(label)`.
    Present,
    /// `label == "value"`.
    Equal(Box<str>),
    /// `label != "value"`; so is a label that isn't there.
    NotEqual(Box<str>),
    /// `label contains "value"`.
    Contains(Box<str>),
    /// `label starts with "value"`.
    StartsWith(Box<str>),
    /// `label ends with "value"`.
    EndsWith(Box<str>),
    /// `label in {"value", ..}`.
    In(ValueSet),
    /// `label not in {"value", ..}`; so is a label that isn't there.
    NotIn(ValueSet),
}

/// The values of a set: sorted by their bytes, each once. Usually a few.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueSet(Box<[Box<str>]>);

impl Node {
    /// Whether the labels match.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        match self {
            Self::All | Self::Global => true,
            Self::Label(LabelTest { label, test }) => test.matches(labels.label(label)),
            Self::Not(operand) => !operand.matches(labels),
            Self::And(operands) => operands.iter().all(|operand| operand.matches(labels)),
            Self::Or(operands) => operands.iter().any(|operand| operand.matches(labels)),
        }
    }

    /// How many operators stand inside one another, a test or a constant counting none.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::All | Self::Global | Self::Label(_) => 0,
            Self::Not(operand) => 1 + operand.depth(),
            Self::And(operands) | Self::Or(operands) => {
                1 + operands.iter().map(Self::depth).max().unwrap_or(0)
            }
        }
    }
}

impl Test {
    /// Whether a label with that value matches; `None` is a label that isn't there.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::NotEqual(_) | Self::NotIn(_));
        };
        match self {
            Self::Present => true,
            Self::Equal(wanted) => value == &**wanted,
            Self::NotEqual(unwanted) => value != &**unwanted,
            Self::Contains(part) => value.contains(&**part),
            Self::StartsWith(start) => value.starts_with(&**start),
            Self::EndsWith(end) => value.ends_with(&**end),
            Self::In(values) => values.contains(value),
            Self::NotIn(values) => !values.contains(value),
        }
    }
}

impl ValueSet {
    /// Whether the value is in the set.
    pub fn contains(&self, value: &str) -> bool {
        self.0.binary_search_by(|candidate| (**candidate).cmp(value)).is_ok()
    }

    /// The values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// How many values there are; none is allowed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value, so that nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<Box<str>>> FromIterator<S> for ValueSet {
    fn from_iter<I: IntoIterator<Item = S>>(values: I) -> Self {
        let mut values: Vec<Box<str>> = values.into_iter().map(Into::into).collect();
        values.sort_unstable();
        values.dedup();
        Self(values.into())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Label(test) => test.fmt(f),
            Self::Not(operand) => {
                f.write_str("!")?;
                operand.fmt(f)
            }
            Self::And(operands) => write_operands(f, operands, " && "),
            Self::Or(operands) => write_operands(f, operands, " || "),
        }
    }
}

impl fmt::Display for LabelTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, test } = self;
        let (operator, value) = match test {
            Test::Present => {
                f.write_str("has(")?;
                f.write_str(label)?;
                return f.write_str(")");
            }
            Test::In(values) => return write_set(f, label, " in {", values),
            Test::NotIn(values) => return write_set(f, label, " not in {", values),
            Test::Equal(value) => (" == ", value),
            Test::NotEqual(value) => (" != ", value),
            Test::Contains(value) => (" contains ", value),
            Test::StartsWith(value) => (" starts with ", value),
            Test::EndsWith(value) => (" ends with ", value),
        };
        f.write_str(label)?;
        f.write_str(operator)?;
        write_quoted(f, value)
    }
}

fn write_operands(f: &mut fmt::Formatter<'_>, operands: &[Node], between: &str) -> fmt::Result {
    f.write_str("(")?;
    for (index, operand) in operands.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        fmt::Display::fmt(operand, f)?;
    }
    f.write_str(")")
}

fn write_set(f: &mut fmt::Formatter<'_>, label: &str, operator: &str, values: &ValueSet) -> fmt::Result {
    f.write_str(label)?;
    f.write_str(operator)?;
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write_quoted(f, value)?;
    }
    f.write_str("}")
}

/// There are no escapes, so a value that was read holds one kind of quote at most.
fn write_quoted(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    let quote = if value.contains('"') { "'" } else { "\"" };
    f.write_str(quote)?;
    f.write_str(value)?;
    f.write_str(quote)
}
