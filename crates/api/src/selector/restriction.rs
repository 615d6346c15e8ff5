//! What labels must fulfil to be selected, label by label: what an index looks up by.
//!
//! These are necessary, not sufficient: labels that break one are not selected, labels that
//! keep all may be. So an index files a selector under one of its restrictions, finds it by
//! the labels that change, and then asks [`super::Selector::matches`].

use std::collections::BTreeMap;

use super::node::{LabelTest, Node, Test};

/// What each label must fulfil, by its name. Empty: nothing can be said.
pub type LabelRestrictions<'a> = BTreeMap<&'a str, LabelRestriction<'a>>;

/// What one label must fulfil. Never that it is both there and not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelRestriction<'a> {
    /// The label must be there.
    pub must_be_present: bool,
    /// The label must not be there.
    pub must_be_absent: bool,
    /// The label must be there with one of these values: sorted, one at least.
    pub must_have_one_of: Option<Vec<&'a str>>,
}

impl LabelRestriction<'_> {
    /// Whether a label with that value keeps the restriction; `None` is a label that isn't there.
    pub fn allows(&self, value: Option<&str>) -> bool {
        match value {
            None => !self.must_be_present && self.must_have_one_of.is_none(),
            Some(value) => {
                !self.must_be_absent
                    && self
                        .must_have_one_of
                        .as_ref()
                        .is_none_or(|values| values.binary_search(&value).is_ok())
            }
        }
    }
}

/// The restrictions of a tree; `None` if it matches nothing.
pub(super) fn of(root: &Node) -> Option<LabelRestrictions<'_>> {
    collect(root, false)
}

fn collect(node: &Node, negated: bool) -> Option<LabelRestrictions<'_>> {
    match node {
        Node::All | Node::Global if negated => None,
        Node::All | Node::Global => Some(LabelRestrictions::new()),
        Node::Label(LabelTest { label, test }) => single(label, test, negated),
        Node::Not(operand) => collect(operand, !negated),
        Node::And(operands) if !negated => conjunction(operands, negated),
        Node::Or(operands) if negated => conjunction(operands, negated),
        Node::And(operands) | Node::Or(operands) => disjunction(operands, negated),
    }
}

fn single<'a>(label: &'a str, test: &'a Test, negated: bool) -> Option<LabelRestrictions<'a>> {
    let present = LabelRestriction { must_be_present: true, ..LabelRestriction::default() };
    let restriction = match (test, negated) {
        (Test::Equal(value), false) | (Test::NotEqual(value), true) => {
            LabelRestriction { must_have_one_of: Some(vec![value]), ..present }
        }
        (Test::In(values), false) | (Test::NotIn(values), true) if values.is_empty() => {
            return None;
        }
        (Test::In(values), false) | (Test::NotIn(values), true) => {
            LabelRestriction { must_have_one_of: Some(values.iter().collect()), ..present }
        }
        (Test::Present | Test::Contains(_) | Test::StartsWith(_) | Test::EndsWith(_), false) => present,
        (Test::Present, true) => LabelRestriction { must_be_absent: true, ..LabelRestriction::default() },
        (
            Test::Equal(_) | Test::In(_) | Test::Contains(_) | Test::StartsWith(_) | Test::EndsWith(_),
            true,
        )
        | (Test::NotEqual(_) | Test::NotIn(_), false) => return Some(LabelRestrictions::new()),
    };
    Some(LabelRestrictions::from([(label, restriction)]))
}

/// All operands must match: each label must fulfil what any of them asks of it.
fn conjunction(operands: &[Node], negated: bool) -> Option<LabelRestrictions<'_>> {
    let mut all = LabelRestrictions::new();
    for operand in operands {
        for (label, other) in collect(operand, negated)? {
            let one = all.entry(label).or_default();
            one.must_be_present |= other.must_be_present;
            one.must_be_absent |= other.must_be_absent;
            one.must_have_one_of = match (one.must_have_one_of.take(), other.must_have_one_of) {
                (Some(mut values), Some(others)) => {
                    values.retain(|value| others.binary_search(value).is_ok());
                    Some(values)
                }
                (values, others) => values.or(others),
            };
            let impossible = (one.must_be_present && one.must_be_absent)
                || one.must_have_one_of.as_ref().is_some_and(Vec::is_empty);
            if impossible {
                return None;
            }
        }
    }
    Some(all)
}

/// One operand must match: each label must fulfil what all of them ask of it, those aside
/// that match nothing.
fn disjunction(operands: &[Node], negated: bool) -> Option<LabelRestrictions<'_>> {
    let mut possible = operands.iter().filter_map(|operand| collect(operand, negated));
    let mut all = possible.next()?;
    for others in possible {
        all.retain(|label, one| {
            let Some(other) = others.get(label) else {
                return false;
            };
            one.must_be_present &= other.must_be_present;
            one.must_be_absent &= other.must_be_absent;
            one.must_have_one_of = match (one.must_have_one_of.take(), &other.must_have_one_of) {
                (Some(mut values), Some(others)) => {
                    values.extend(others);
                    values.sort_unstable();
                    values.dedup();
                    Some(values)
                }
                _ => None,
            };
            *one != LabelRestriction::default()
        });
    }
    Some(all)
}
