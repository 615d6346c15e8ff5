//! Selectors made of selectors: what one means in its place.
//!
//! A namespace's labels reach its endpoints under `pcns.`, a service account's under `pcsa.`;
//! an endpoint that has a namespace has it in `projectcalico.org/namespace`.

use super::node::{LabelTest, Node, Test};
use super::{Selector, is_label_name};

/// The label that holds an endpoint's or network set's namespace, if it has one.
pub const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

/// The label that holds a workload endpoint's service account, if it has one.
pub const SERVICE_ACCOUNT_LABEL: &str = "projectcalico.org/serviceaccount";

/// What stands before the name of a namespace's label on its endpoints.
pub const NAMESPACE_LABEL_PREFIX: &str = "pcns.";

/// What stands before the name of a service account's label on its endpoints.
pub const SERVICE_ACCOUNT_LABEL_PREFIX: &str = "pcsa.";

impl Selector {
    /// `all()`.
    pub fn all() -> Self {
        Self { root: Node::All }
    }

    /// A test of one label. `None` if it couldn't be written down: that isn't the name of a
    /// label, or a value holds both kinds of quotes.
    pub fn label(label: &str, test: Test) -> Option<Self> {
        let writable = |value: &str| !(value.contains('"') && value.contains('\''));
        let all_writable = match &test {
            Test::Present => true,
            Test::Equal(value)
            | Test::NotEqual(value)
            | Test::Contains(value)
            | Test::StartsWith(value)
            | Test::EndsWith(value) => writable(value),
            Test::In(values) | Test::NotIn(values) => values.iter().all(writable),
        };
        (is_label_name(label) && all_writable).then(|| Self::test(label, test))
    }

    /// `projectcalico.org/namespace == "namespace"`.
    pub fn in_namespace(namespace: &str) -> Self {
        Self::test(NAMESPACE_LABEL, Test::Equal(namespace.into()))
    }

    /// `projectcalico.org/serviceaccount in {names}`.
    pub fn service_account_names<S: Into<Box<str>>>(names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().collect();
        Self::test(SERVICE_ACCOUNT_LABEL, Test::In(names))
    }

    /// Both. `all()` on one side leaves the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.root, other.root) {
            (Node::All, root) | (root, Node::All) => Self { root },
            (left, right) => Self { root: Node::And(vec![left, right]) },
        }
    }

    /// Either. `all()` on one side is `all()`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self.root, other.root) {
            (Node::All, _) | (_, Node::All) => Self::all(),
            (left, right) => Self { root: Node::Or(vec![left, right]) },
        }
    }

    /// What isn't selected.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "beside `and` and `or`, which have no operator either")]
    pub fn not(self) -> Self {
        Self { root: negate(self.root) }
    }

    /// Only what is in that namespace: the selector of a policy of that namespace.
    #[must_use]
    pub fn namespaced(self, namespace: &str) -> Self {
        self.and(Self::in_namespace(namespace))
    }

    /// Each label's name with the prefix before it: `k == "v"` becomes `pcns.k == "v"`.
    #[must_use]
    pub fn with_label_prefix(self, prefix: &str) -> Self {
        Self {
            root: map_leaves(self.root, &|leaf| match leaf {
                Node::Label(LabelTest { label, test }) => {
                    Node::Label(LabelTest { label: [prefix, &*label].concat().into(), test })
                }
                other => other,
            }),
        }
    }

    /// Each `all()` as `has(label)`, and each `global()` as `!has(label)`.
    #[must_use]
    pub fn with_all_as_has(self, label: &str) -> Self {
        let has = || Self::test(label, Test::Present).root;
        Self {
            root: map_leaves(self.root, &|leaf| match leaf {
                Node::All => has(),
                Node::Global => negate(has()),
                other => other,
            }),
        }
    }

    /// What a rule's `namespaceSelector` means to an endpoint or a network set: the namespace's
    /// labels are under `pcns.`; `all()`, wherever it stands, is anything that has a
    /// namespace, and `global()` what has none.
    #[must_use]
    pub fn in_rule_namespaces(self) -> Self {
        self.with_label_prefix(NAMESPACE_LABEL_PREFIX).with_all_as_has(NAMESPACE_LABEL)
    }

    /// What a `serviceAccountSelector`, or the selector in `serviceAccounts`, means to an
    /// endpoint: the account's labels are under `pcsa.`.
    #[must_use]
    pub fn in_service_accounts(self) -> Self {
        self.with_label_prefix(SERVICE_ACCOUNT_LABEL_PREFIX)
    }

    fn test(label: &str, test: Test) -> Self {
        Self { root: Node::Label(LabelTest { label: label.into(), test }) }
    }
}

fn negate(node: Node) -> Node {
    match node {
        Node::Not(operand) => *operand,
        other => Node::Not(Box::new(other)),
    }
}

/// The same tree with other leaves. A leaf that became a negation under a negation leaves none.
fn map_leaves(node: Node, map: &impl Fn(Node) -> Node) -> Node {
    let all = |operands: Vec<Node>| operands.into_iter().map(|operand| map_leaves(operand, map)).collect();
    match node {
        Node::Not(operand) => negate(map_leaves(*operand, map)),
        Node::And(operands) => Node::And(all(operands)),
        Node::Or(operands) => Node::Or(all(operands)),
        leaf @ (Node::All | Node::Global | Node::Label(_)) => map(leaf),
    }
}
