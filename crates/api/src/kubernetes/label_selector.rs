//! Kubernetes' label selectors, and the text that Calico makes of them.
//!
//! The text is what stands in the converted policy, in Calico's spelling and not in canonical
//! form; whoever needs the meaning parses it. It always parses: what couldn't be quoted is an
//! error, so that no value can be read as an operator.

use super::LabelSelectorError;
use crate::go_struct;
use crate::meta::StringMap;
use crate::selector::is_label_name;

go_struct! {
    /// Labels that must hold, all of them; none for everything.
    LabelSelector {
        /// Labels with exactly these values.
        match_labels: StringMap = "matchLabels",
        /// Other conditions.
        match_expressions: Vec<LabelSelectorRequirement> = "matchExpressions",
    }

    /// A condition on one label.
    LabelSelectorRequirement {
        /// The label's name.
        key: String = "key" always,
        /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
        operator: String = "operator" always,
        /// For `In` and `NotIn`.
        values: Vec<String> = "values",
    }
}

/// What every pod of Kubernetes has, and no host endpoint.
const IS_POD: &str = "projectcalico.org/orchestrator == 'k8s'";

impl LabelSelector {
    /// Calico's text for a selector of pods.
    ///
    /// # Errors
    /// If a label's name, a value or an operator is none.
    pub fn pods(&self) -> Result<String, LabelSelectorError> {
        self.text(vec![IS_POD.to_owned()])
    }

    /// Calico's text for a selector of namespaces: `all()` if nothing is asked of them.
    ///
    /// # Errors
    /// If a label's name, a value or an operator is none.
    pub fn namespaces(&self) -> Result<String, LabelSelectorError> {
        let Self { match_labels, match_expressions } = self;
        if match_labels.is_empty() && match_expressions.is_empty() {
            return Ok("all()".to_owned());
        }
        self.text(Vec::new())
    }

    /// Calico's text for any pod.
    pub(super) fn any_pod() -> String {
        IS_POD.to_owned()
    }

    fn text(&self, mut terms: Vec<String>) -> Result<String, LabelSelectorError> {
        let Self { match_labels, match_expressions } = self;
        for (key, value) in match_labels {
            terms.push(format!("{} == {}", name(key)?, quoted(value)?));
        }
        for requirement in match_expressions {
            terms.push(requirement.text()?);
        }
        Ok(terms.join(" && "))
    }
}

impl LabelSelectorRequirement {
    fn text(&self) -> Result<String, LabelSelectorError> {
        let Self { key, operator, values } = self;
        let key = name(key)?;
        match operator.as_str() {
            "In" => Ok(format!("{key} in {{ {} }}", list(values)?)),
            "NotIn" => Ok(format!("{key} not in {{ {} }}", list(values)?)),
            "Exists" => Ok(format!("has({key})")),
            "DoesNotExist" => Ok(format!("! has({key})")),
            _ => Err(LabelSelectorError::Operator { found: operator.clone() }),
        }
    }
}

/// No values at all are one empty value, as in Calico; the API wants one at least.
fn list(values: &[String]) -> Result<String, LabelSelectorError> {
    if values.is_empty() {
        return quoted("");
    }
    let quoted: Result<Vec<String>, _> = values.iter().map(|value| quoted(value)).collect();
    Ok(quoted?.join(", "))
}

fn name(key: &str) -> Result<&str, LabelSelectorError> {
    if is_label_name(key) {
        return Ok(key);
    }
    Err(LabelSelectorError::Key { found: key.to_owned() })
}

fn quoted(value: &str) -> Result<String, LabelSelectorError> {
    match (value.contains('\''), value.contains('"')) {
        (false, _) => Ok(format!("'{value}'")),
        (true, false) => Ok(format!("\"{value}\"")),
        (true, true) => Err(LabelSelectorError::Value { found: value.to_owned() }),
    }
}
