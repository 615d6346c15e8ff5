//! Selectors over symbols: what an index evaluates millions of times.
//!
//! Equal selectors are one expression, whoever named them. An expression knows the terms that
//! labels must fulfil to be selected at all; `index` and `postings` look it up by those.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tortie_api::selector::{LabelTest, Node, Selector, Test, ValueSet};

use crate::label::Effective;
use crate::symbol::{Symbol, Symbols};

/// An expression by number, given again when nobody holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ExpressionId(pub(crate) u32);

/// What one label must be for an expression to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Term {
    /// It must be there.
    Present(Symbol),
    /// It must have one of these values.
    OneOf(Symbol, Box<[Box<str>]>),
}

impl Term {
    /// The label's name.
    pub(crate) fn key(&self) -> Symbol {
        match self {
            Self::Present(key) | Self::OneOf(key, _) => *key,
        }
    }
}

/// A selector that is in use.
pub(crate) struct Expression {
    selector: Arc<Selector>,
    program: Program,
    /// All of these must hold. Empty: nothing can be said.
    pub(crate) terms: Box<[Term]>,
    /// Whether it matches nothing at all.
    pub(crate) impossible: bool,
    holders: u32,
}

impl Expression {
    /// Whether the labels match.
    pub(crate) fn matches(&self, labels: &Effective<'_>) -> bool {
        self.program.matches(labels)
    }
}

enum Program {
    All,
    Present(Symbol),
    Equal(Symbol, Box<str>),
    NotEqual(Symbol, Box<str>),
    /// Sorted.
    In(Symbol, Box<[Box<str>]>),
    /// Sorted.
    NotIn(Symbol, Box<[Box<str>]>),
    Contains(Symbol, Box<str>),
    StartsWith(Symbol, Box<str>),
    EndsWith(Symbol, Box<str>),
    Not(Box<Program>),
    And(Box<[Program]>),
    Or(Box<[Program]>),
}

/// All selectors in use.
#[derive(Default)]
pub(crate) struct Expressions {
    by_selector: FxHashMap<Arc<Selector>, ExpressionId>,
    entries: Vec<Option<Expression>>,
    free: Vec<ExpressionId>,
}

impl Expressions {
    /// The selector's expression, held once more.
    pub(crate) fn acquire(&mut self, selector: &Arc<Selector>, symbols: &mut Symbols) -> ExpressionId {
        if let Some(id) = self.by_selector.get(selector) {
            let id = *id;
            self.retain(id);
            return id;
        }
        let program = Program::new(selector.root(), symbols);
        let restrictions = selector.label_restrictions();
        let impossible = restrictions.is_none();
        let mut terms = Vec::new();
        for (label, restriction) in restrictions.unwrap_or_default() {
            // The program holds the symbols of all labels that the selector names.
            let mut key = || {
                let symbol = symbols.acquire(label);
                symbols.release(symbol);
                symbol
            };
            match restriction.must_have_one_of {
                Some(values) => {
                    terms.push(Term::OneOf(key(), values.into_iter().map(Box::from).collect()));
                }
                None if restriction.must_be_present => terms.push(Term::Present(key())),
                None => {}
            }
        }
        let selector = Arc::clone(selector);
        let expression = Expression {
            selector: Arc::clone(&selector),
            program,
            terms: terms.into(),
            impossible,
            holders: 1,
        };
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            ExpressionId(
                u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 selectors fit in memory"),
            )
        });
        self.entries[id.0 as usize] = Some(expression);
        self.by_selector.insert(selector, id);
        id
    }

    /// Holds an expression once more.
    pub(crate) fn retain(&mut self, id: ExpressionId) {
        if let Some(Some(expression)) = self.entries.get_mut(id.0 as usize) {
            expression.holders += 1;
        }
    }

    /// Gives an expression back.
    pub(crate) fn release(&mut self, id: ExpressionId, symbols: &mut Symbols) {
        let Some(slot) = self.entries.get_mut(id.0 as usize) else { return };
        let Some(expression) = slot else { return };
        expression.holders -= 1;
        if expression.holders > 0 {
            return;
        }
        expression.program.release(symbols);
        self.by_selector.remove(&expression.selector);
        *slot = None;
        self.free.push(id);
    }

    /// An expression that is held.
    pub(crate) fn get(&self, id: ExpressionId) -> &Expression {
        self.entries[id.0 as usize].as_ref().expect("an expression is there while somebody holds it")
    }

    /// How many expressions are held.
    pub(crate) fn len(&self) -> usize {
        self.by_selector.len()
    }
}

impl Program {
    fn new(node: &Node, symbols: &mut Symbols) -> Self {
        match node {
            Node::All | Node::Global => Self::All,
            Node::Not(operand) => Self::Not(Box::new(Self::new(operand, symbols))),
            Node::And(operands) => {
                Self::And(operands.iter().map(|operand| Self::new(operand, symbols)).collect())
            }
            Node::Or(operands) => {
                Self::Or(operands.iter().map(|operand| Self::new(operand, symbols)).collect())
            }
            Node::Label(LabelTest { label, test }) => {
                let key = symbols.acquire(label);
                let values = |values: &ValueSet| {
                    let mut list: Vec<Box<str>> = values.iter().map(Box::from).collect();
                    list.sort_unstable();
                    list.into()
                };
                match test {
                    Test::Present => Self::Present(key),
                    Test::Equal(value) => Self::Equal(key, value.clone()),
                    Test::NotEqual(value) => Self::NotEqual(key, value.clone()),
                    Test::Contains(part) => Self::Contains(key, part.clone()),
                    Test::StartsWith(start) => Self::StartsWith(key, start.clone()),
                    Test::EndsWith(end) => Self::EndsWith(key, end.clone()),
                    Test::In(set) => Self::In(key, values(set)),
                    Test::NotIn(set) => Self::NotIn(key, values(set)),
                }
            }
        }
    }

    fn matches(&self, labels: &Effective<'_>) -> bool {
        let text = |key: &Symbol| labels.get(*key);
        let has = |values: &[Box<str>], value: &str| {
            values.binary_search_by(|candidate| (**candidate).cmp(value)).is_ok()
        };
        match self {
            Self::All => true,
            Self::Present(key) => text(key).is_some(),
            Self::Equal(key, value) => text(key) == Some(&**value),
            Self::NotEqual(key, value) => text(key) != Some(&**value),
            Self::In(key, values) => text(key).is_some_and(|value| has(values, value)),
            Self::NotIn(key, values) => text(key).is_none_or(|value| !has(values, value)),
            Self::Contains(key, part) => text(key).is_some_and(|value| value.contains(&**part)),
            Self::StartsWith(key, start) => text(key).is_some_and(|value| value.starts_with(&**start)),
            Self::EndsWith(key, end) => text(key).is_some_and(|value| value.ends_with(&**end)),
            Self::Not(operand) => !operand.matches(labels),
            Self::And(operands) => operands.iter().all(|operand| operand.matches(labels)),
            Self::Or(operands) => operands.iter().any(|operand| operand.matches(labels)),
        }
    }

    fn release(&self, symbols: &mut Symbols) {
        match self {
            Self::All => {}
            Self::Present(key)
            | Self::Equal(key, _)
            | Self::NotEqual(key, _)
            | Self::In(key, _)
            | Self::NotIn(key, _)
            | Self::Contains(key, _)
            | Self::StartsWith(key, _)
            | Self::EndsWith(key, _) => symbols.release(*key),
            Self::Not(operand) => operand.release(symbols),
            Self::And(operands) | Self::Or(operands) => {
                for operand in operands {
                    operand.release(symbols);
                }
            }
        }
    }
}
